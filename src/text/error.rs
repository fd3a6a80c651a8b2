use std::path::PathBuf;

use thiserror::Error;

/// What can be wrong with a vocabulary or its vectors.
#[derive(Debug, Error)]
pub enum TextError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is no vocabulary: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path}: {source}")]
    Safetensors { path: PathBuf, source: safetensors::SafeTensorError },
    #[error("{path} holds {found}; expected one float32 matrix named \"{expected}\", a row per token")]
    Matrix { path: PathBuf, expected: &'static str, found: String },
    #[error("token \"{token}\" has index {index}; indices must be 0 to {} without gaps, each once", tokens - 1)]
    Index { token: String, index: i64, tokens: usize },
    #[error("token \"{token}\" has two indices")]
    Twice { token: String },
    #[error("index {index} is \"{found}\", expected \"{expected}\"; is this a token_to_ix file?")]
    Reserved { index: usize, found: String, expected: &'static str },
    #[error("{rows} word vectors of {dim} numbers, but {found} numbers")]
    Shape { rows: usize, dim: usize, found: usize },
}
