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

impl Config {
    /// The same without what may differ from machine to machine, for processes that must have all else alike: where
    /// things lie (what lies there is to be compared by content), and threads.
    pub fn without_places(&self) -> Self {
        let neutral = Self::default();
        let mut config = self.clone();
        config.data.root = neutral.data.root;
        config.data.train_annotations = neutral.data.train_annotations;
        config.data.images = neutral.data.images;
        config.data.workers = neutral.data.workers;
        config.train.finetune_from = neutral.train.finetune_from;
        config.train.backbone = neutral.train.backbone;
        config
    }
}
