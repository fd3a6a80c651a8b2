//! Many experiments in one table: rows times seeds, which share steps.

mod cells;
mod figures;
mod file;
mod fill;
mod raw;
mod render;

pub use cells::{Cell, cells};
pub use file::{Comparison, Method, Row, TableFile};
pub use fill::{Filled, fill};
pub use raw::{CurvePoint, RawRow, Results};
pub use render::render;
