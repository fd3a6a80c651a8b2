//! Annotations, the dataset, transforms, batches, the loader.
//!
//! An annotation file becomes [`Annotations`]; with images and vocabulary, one of its splits is a
//! [`Dataset`], which trainer, evaluator and picker share. A [`Plan`] says which expressions a
//! pass visits, a [`Preparation`] what is made of them, a [`Loader`] turns both into batches.

mod annotations;
mod batch;
pub mod check;
mod close_up;
mod dataset;
mod decode;
mod error;
mod field;
mod frame;
mod images;
mod labels;
mod loader;
mod plan;
mod records;
pub mod resize;
mod sample;
mod scaled;
mod shuffle;
mod words;

pub use annotations::{Annotations, BadRecord, ImageId, Referent};
pub use batch::{Batch, Row, Skipped};
pub use close_up::CloseUp;
pub use dataset::{Dataset, INSTANCES, annotation_file};
pub use decode::{decode, read_image};
pub use error::DataError;
pub use field::with_field;
pub use frame::Frame;
pub use images::ImageFiles;
pub use labels::NO_LABEL;
pub use loader::Loader;
pub use plan::{Entry, ExpressionChoice, Plan, Visit};
pub use sample::{Preparation, Sample};
pub use scaled::Scaled;
pub use shuffle::shuffle_vertices;
pub use words::{vectors as vectors_beside, vocabulary as vocabulary_beside};
