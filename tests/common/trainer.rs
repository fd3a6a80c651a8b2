//! A training begun, and gone on with.

use std::path::{Path, PathBuf};

use candle_core::Device;
use partial_res::checkpoint::Checkpoint;
use partial_res::config::Config;
use partial_res::report::{Log, Weights};
use partial_res::train::{RunFolder, Trainer};

/// With `folder` as the run.
pub fn begin(config: Config, folder: PathBuf) -> Trainer {
    let run = RunFolder::at(folder, &config).unwrap();
    Trainer::begin(config, run, Weights::Raw, &Device::Cpu, Log::quiet()).unwrap()
}

/// From the newest checkpoint of `run`.
pub fn resume(run: &Path) -> Trainer {
    Trainer::resume(&Checkpoint::open(run).unwrap(), &Device::Cpu, Log::quiet()).unwrap()
}
