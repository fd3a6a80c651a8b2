//! What can be wrong with a folder of golden data.

use std::path::PathBuf;

use thiserror::Error;

use crate::model::ModelError;
use crate::train::StateError;

#[derive(Debug, Error)]
pub enum GoldenError {
    #[error("there is no folder {0}; the golden data are in tests/golden of the program's repository")]
    NoFolder(PathBuf),
    #[error(
        "{folder} has no {missing}, so it holds no golden data: expected the folder tests/golden of the \
         program's repository or one like it (its README.md says what belongs there)"
    )]
    Foreign { folder: PathBuf, missing: String },
    #[error("{path} can't be read: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is no JSON: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path} is no safetensors file: {source}")]
    Tensors { path: PathBuf, source: candle_core::Error },
    #[error("{path}: `{field}` is missing or is not {expected}; copy the golden data anew")]
    Field { path: PathBuf, field: String, expected: &'static str },
    #[error(
        "the network has no {what} `{name}`, which {case} expects: the golden data belong to another version"
    )]
    Unknown { case: String, what: &'static str, name: String },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
