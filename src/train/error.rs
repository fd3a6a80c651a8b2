//! Why a training can't begin or go on.

use std::path::PathBuf;

use thiserror::Error;

use super::StateError;
use crate::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::eval::EvalError;
use crate::model::ModelError;
use crate::parallel::ParallelError;
use crate::report::ReportError;

#[derive(Debug, Error)]
pub enum TrainError {
    #[error(transparent)]
    Data(#[from] DataError),

    #[error(transparent)]
    Model(#[from] ModelError),

    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    #[error(transparent)]
    Eval(#[from] EvalError),

    #[error(transparent)]
    Report(#[from] ReportError),

    #[error(transparent)]
    State(#[from] StateError),

    #[error(transparent)]
    Parallel(#[from] ParallelError),

    #[error(
        "{what} is {value} in epoch {epoch}, batch {batch} (step {step}). The weights are those before this batch; the last checkpoint is untouched. Its rows: {rows}. Look at these referents, lower train.lr or train.clip, or start from other weights"
    )]
    NonFinite { what: &'static str, value: f64, epoch: usize, batch: usize, step: usize, rows: String },

    #[error(
        "the word vectors beside the annotations are {found_rows} x {found_dim}, the network needs {rows} x {dim} (words of the vocabulary x model.language.word_dim); convert them again, or set model.language.word_dim"
    )]
    WordVectors { found_rows: usize, found_dim: usize, rows: usize, dim: usize },

    #[error(
        "model.auxiliary.pretext_classes = {expected:?}, but the fields data.labels = {fields:?} have {found:?} values in {path}; set them as they are found"
    )]
    Labels { path: PathBuf, fields: Vec<String>, found: Vec<usize>, expected: Vec<usize> },

    #[error("train.backbone = {path}: {problem}; `cargo convert darknet FILE` makes one")]
    Backbone { path: PathBuf, problem: String },

    #[error("split `train` of {path} has no referent to learn from")]
    Empty { path: PathBuf },

    #[error(
        "split `{split}` of {path} has no referent to evaluate the training with; name another split in data.val_split"
    )]
    EmptyVal { path: PathBuf, split: String },

    #[error("another process could not read its batch: {reason}")]
    Elsewhere { reason: String },

    #[error("{failed}; the training could not be saved either: {save}")]
    Unsaved { failed: Box<TrainError>, save: Box<TrainError> },

    #[error(
        "{lacking} of {of} records of split `train` of {path} have no mask, and outlines are learnt from masks; draw a sample of those that have one (`sample --ratio`) and name it in data.train_annotations, or learn boxes alone (rec/…)"
    )]
    NoMasks { path: PathBuf, lacking: usize, of: usize },

    #[error(
        "checkpoint {path} belongs to no run (RUN/checkpoints/step-N), so that none can go on; give it to --finetune-from"
    )]
    NoRun { path: PathBuf },

    #[error("{path} is being trained by another process; wait for it, or stop it with Ctrl-C, which saves")]
    Busy { path: PathBuf },

    #[error("cannot use the run folder {path}: {source}")]
    Run { path: PathBuf, source: std::io::Error },
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}
