//! What can go wrong while evaluating.

use std::path::PathBuf;

use thiserror::Error;

use crate::data::DataError;
use crate::mask::MaskError;
use crate::model::ModelError;
use crate::report::ReportError;

/// An evaluation or a prediction that can't be made.
#[derive(Debug, Error)]
pub enum EvalError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("the network failed on a batch of split {split} that begins with referent {referent}: {source}")]
    Batch { split: String, referent: usize, source: ModelError },
    #[error("referent {referent} of split {split}: {source}; correct its mask in the annotations")]
    Mask { split: String, referent: usize, source: MaskError },
    #[error("the image is {height} x {width} pixels, which no mask can have: {source}")]
    ImageSize { height: usize, width: usize, source: MaskError },
    #[error(
        "process {rank} gave {found} answers to a batch of {expected} rows: all must run the same command on the same files"
    )]
    Answers { rank: usize, found: usize, expected: usize },
    #[error("the evaluation was stopped")]
    Stopped,
    #[error("split {split} has no referent to evaluate")]
    Empty { split: String },
    #[error(
        "the expression `{expression}` has no word; say what to look for, such as \"red ball on the left\""
    )]
    NoWords { expression: String },
    #[error(
        "this network looks at close-ups of referents whose boxes are known; it can `label`, but not find what an expression means. Ask one trained on whole images"
    )]
    NeedsBox,
    #[error(
        "this network does not outline close-ups, so it can't take a second look; expected one of data.train_transform = \"close-up\", such as `train label/refshapes` makes"
    )]
    NotCloser,
    #[error("{path} can't be written: {source}; name a file in a folder that can be written to")]
    NoPlace { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
}

impl From<candle_core::Error> for EvalError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(ModelError::Tensor(error))
    }
}
