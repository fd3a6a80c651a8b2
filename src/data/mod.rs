//! Annotations, the dataset, transforms, batches, the loader.

mod batch;
mod error;
mod plan;

pub use batch::{Batch, Row, Skipped};
pub use error::DataError;
pub use plan::{Entry, ExpressionChoice};
