//! Why a conversion did not happen.

use std::path::PathBuf;

use thiserror::Error;

use super::checkpoint::Mismatch;
use crate::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::formats::darknet::DarknetError;
use crate::formats::spacy::SpacyError;
use crate::formats::torch::TorchError;
use crate::model::ModelError;
use crate::train::TrainError;

/// Every message names the file and what to do. Nothing was written when one is returned.
#[derive(Debug, Error)]
pub enum ConvertError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write {path}: {source}; nothing is left there")]
    Write { path: PathBuf, source: std::io::Error },

    #[error("{path} exists; name another --out, or give --force to replace it")]
    Exists { path: PathBuf },

    #[error("{path}: {source}")]
    Darknet { path: PathBuf, source: DarknetError },

    #[error("{path}: {source}")]
    Torch { path: PathBuf, source: Box<TorchError> },

    /// A file that can be read but holds something else.
    #[error("{path}: {problem}")]
    Content { path: PathBuf, problem: String },

    #[error("{path} does not fit the network: {mismatch}")]
    Mismatch { path: PathBuf, mismatch: Box<Mismatch> },

    #[error("{path} is no run folder, so --force does not replace it; name another --out")]
    NoRun { path: PathBuf },

    #[error(transparent)]
    Spacy(#[from] SpacyError),

    #[error(transparent)]
    Model(#[from] ModelError),

    #[error(transparent)]
    Data(Box<DataError>),

    #[error(transparent)]
    Run(Box<TrainError>),

    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),

    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl From<TrainError> for ConvertError {
    fn from(error: TrainError) -> Self {
        Self::Run(Box::new(error))
    }
}

impl From<CheckpointError> for ConvertError {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(Box::new(error))
    }
}

impl From<DataError> for ConvertError {
    fn from(error: DataError) -> Self {
        Self::Data(Box::new(error))
    }
}
