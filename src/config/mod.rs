//! Configuration: typed, read from TOML, every key documented where it is declared.

mod data;
mod error;
mod keys;
mod load;
mod model;
mod train;
mod validate;

use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use load::DEFAULT;

pub use data::{CloseUpConfig, DataConfig, Transform};
pub use model::{
    AuxiliaryConfig, CoContentAxes, DarknetConfig, LanguageConfig, LossConfig, ModelConfig, Task,
};
pub use train::{BatchStatistics, Precision, Schedule, TrainConfig};

/// Everything a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub model: ModelConfig,
    pub data: DataConfig,
    pub train: TrainConfig,
}
