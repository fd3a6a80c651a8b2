//! What can be wrong with a configuration.

use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("no configuration `{name}`: no such file, and the built-in ones are {}", known.join(", "))]
    NotFound { name: String, known: Vec<String> },
    #[error("cannot read the configuration {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{place} is not TOML: {message}")]
    Syntax { place: String, message: String },
    #[error("{place}: `base` must be a list of configuration names, found {found}")]
    Base { place: String, found: String },
    #[error("{place} includes itself through `base`: {}", chain.join(" -> "))]
    Circle { place: String, chain: Vec<String> },
    #[error("{place}: unknown key `{key}`; {advice}")]
    UnknownKey { place: String, key: String, advice: String },
    #[error("{place}: `{key}`: {message}")]
    Type { place: String, key: String, message: String },
    #[error("--set {argument}: expected KEY=VALUE, such as --set train.epochs=3")]
    Set { argument: String },
    #[error("`{key}` = {found}: {expected}")]
    Value { key: &'static str, found: String, expected: String },
}
