//! Configuration: typed, read from TOML, every key documented where it is declared.

mod data;
mod describe;
mod error;
mod explain;
mod keys;
mod load;
mod model;
mod train;
mod validate;

use serde::{Deserialize, Serialize};

use describe::described;

pub use error::ConfigError;
pub use load::DEFAULT;

pub use describe::{Choice, Described, Holds, Key};

pub use data::{BUILT_IN_IMAGES, CloseUpConfig, DataConfig, Transform};
pub use model::{
    AuxiliaryConfig, CoContentAxes, DarknetConfig, LanguageConfig, LossConfig, ModelConfig, Task,
};
pub use train::{BatchStatistics, Precision, Schedule, TrainConfig};

described! {
    /// Everything a run depends on.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// What the network is.
        pub model: ModelConfig,
        /// Where the data is and how it is prepared.
        pub data: DataConfig,
        /// How it learns.
        pub train: TrainConfig,
    }
}
