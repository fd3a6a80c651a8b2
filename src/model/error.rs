//! What can be wrong with a network's configuration or input.

use crate::config::ConfigError;

/// An error of the network.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    #[error("the batch has {found} {what}, expected {expected}")]
    Batch { what: &'static str, found: String, expected: String },
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
