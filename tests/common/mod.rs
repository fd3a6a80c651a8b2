pub mod fill_rule;
pub mod golden;
