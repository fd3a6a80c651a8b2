//! What can be wrong with a checkpoint.

use std::path::PathBuf;

use thiserror::Error;

use super::manifest::PROGRAM;
use crate::config::ConfigError;
use crate::model::ModelError;

/// The current folder, where it can be told.
fn here() -> String {
    std::env::current_dir().map_or_else(|_| String::new(), |folder| format!(", {}", folder.display()))
}

/// Every message names the file and what to do.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error(
        "no checkpoint at {path}; expected a run (runs/…), a checkpoint folder (…/checkpoints/step-N), or latest, det_best or segm_best beside it. A relative path begins in the current folder{}",
        here()
    )]
    NotFound { path: PathBuf },

    #[error(
        "{path} holds no checkpoint: it has no {missing}; name a folder that training or `convert` wrote"
    )]
    NotACheckpoint { path: PathBuf, missing: &'static str },

    #[error("checkpoint {folder} is damaged: {problem}; {advice}")]
    Damaged { folder: PathBuf, problem: String, advice: String },

    #[error("no checkpoint in {folder} is whole: {problems}; start the training anew")]
    NoneWhole { folder: PathBuf, problems: String },

    #[error(
        "{path} is no checkpoint but a file of {bytes} bytes; a PyTorch file becomes a checkpoint, which is a folder, by `cargo convert checkpoint`"
    )]
    File { path: PathBuf, bytes: u64 },

    #[error(
        "{path} says `{found}`, but a pointer has the name of a checkpoint folder beside it, such as step-100; name that folder itself"
    )]
    Pointer { path: PathBuf, found: String },

    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write {path}: {source}; earlier checkpoints are untouched")]
    Write { path: PathBuf, source: std::io::Error },

    #[error("{path}: {source}; the checkpoint was written by {by}, this is {PROGRAM}")]
    Json { path: PathBuf, by: String, source: serde_json::Error },

    #[error("{path} has format {found}, this program reads up to {known}; use a newer partial-res")]
    TooNew { path: PathBuf, found: u32, known: u32 },

    #[error(
        "{path}: {field} is {found}, which no training reaches; the checkpoint was changed after it was written"
    )]
    Counter { path: PathBuf, field: &'static str, found: u64 },

    #[error(
        "{path} has {bytes} bytes, but config.toml and vocabulary.json beside it tell of a network of {parameters} parameters; they don't belong together"
    )]
    Size { path: PathBuf, parameters: usize, bytes: u64 },

    #[error(transparent)]
    Config(#[from] ConfigError),

    #[error("cannot read the tensors of {path}: {source}")]
    Tensors { path: PathBuf, source: candle_core::Error },

    #[error(
        "checkpoint {folder} has no averaged weights (trained with train.ema = false, or packaged with --raw-only); use the raw weights"
    )]
    NoAverage { folder: PathBuf },

    #[error(
        "checkpoint {folder} can't be resumed: it has no optimizer state (only the newest ones of a run have); give it to --finetune-from instead"
    )]
    NoOptimizer { folder: PathBuf },

    #[error(transparent)]
    Mismatch(#[from] Box<super::Mismatch>),

    #[error(transparent)]
    Model(#[from] ModelError),

    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
