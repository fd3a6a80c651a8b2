pub mod fill_rule;
pub mod filled;
pub mod golden;
