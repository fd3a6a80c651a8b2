//! What can be wrong with a network's configuration or input.

/// An error of the network.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("model.{key} is {found}: {expected}")]
    Config { key: &'static str, found: String, expected: String },
    #[error("the batch has {found} {what}, expected {expected}")]
    Batch { what: &'static str, found: String, expected: String },
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
