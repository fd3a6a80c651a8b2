//! Why a conversion did not happen.

use std::path::PathBuf;

use thiserror::Error;

use crate::formats::darknet::DarknetError;

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

    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
