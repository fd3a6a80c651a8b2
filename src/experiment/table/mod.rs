//! Many experiments in one table: rows times seeds, which share steps.

mod cells;
mod csv;
mod current;
mod figures;
mod file;
mod fill;
mod labels;
mod raw;
mod render;
mod tables;

pub use cells::{Cell, cells};
pub use file::{Comparison, Method, Row, TableFile};
pub use fill::{Filled, fill};
pub use labels::{LabelRow, judge_labels};
pub use raw::{CurvePoint, RawRow, Results};
pub use render::render;
