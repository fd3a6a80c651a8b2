//! Arguments and steps that several commands share.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use clap::Args;
use partial_res::checkpoint::Checkpoint;
use partial_res::config::{Config, ConfigError, DEFAULT};
use partial_res::device::DeviceChoice;
use partial_res::hub::{Hub, RepositoryId};
use partial_res::model::Network;
use partial_res::nn::Parameters;
use partial_res::report::{Log, Weights};

/// CONFIG and `--set`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// A file, or a built-in name such as res/refcoco-unc; default: the quick start, res/refshapes
    pub config: Option<String>,
    /// Change a key, as often as needed: --set train.epochs=3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

impl ConfigArgs {
    /// The name given, or the default's.
    pub fn name(&self) -> &str {
        self.config.as_deref().unwrap_or(DEFAULT)
    }

    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.name(), &self.sets)
    }
}

/// `--device`.
#[derive(Args, Debug)]
pub struct DeviceArgs {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

impl DeviceArgs {
    /// Opens it and says what it is.
    pub fn open(&self, log: &Log) -> Result<Device> {
        let (device, name) = self.device.open()?;
        log.line(format!("device: {name}"))?;
        Ok(device)
    }
}

/// A line on standard output. Who listens may leave early (`| head`): then the rest is said to nobody.
pub fn say(line: impl Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A checkpoint by path, or by OWNER/NAME from the Hub.
pub fn open_checkpoint(name: &str, log: &Log) -> Result<Checkpoint> {
    let path = checkpoint_path(name, log)?;
    let checkpoint = Checkpoint::open(&path)?;
    for warning in &checkpoint.warnings {
        log.line(format!("WARNING: {warning}"))?;
    }
    Ok(checkpoint)
}

/// What exists on disk is a path, and so is what should lie in a folder that exists (`runs/…`); else
/// OWNER/NAME is asked for on the Hub.
pub fn checkpoint_path(name: &str, log: &Log) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.exists() {
        return Ok(path.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match name.parse::<RepositoryId>() {
        Ok(repository) if !folder.is_some_and(Path::is_dir) => {
            let folder = super::download::snapshot(&Hub::from_env(), &repository, "main", None, log);
            folder
                .with_context(|| format!("there is no checkpoint {name} here, and the Hub did not give one"))
        }
        _ => bail!(
            "there is no checkpoint at {name}; expected a run (runs/…), one of its checkpoints \
             (runs/…/checkpoints/segm_best), or OWNER/NAME on the Hub"
        ),
    }
}

/// The checkpoint's configuration with `--set` applied; what the network is can't be changed.
pub fn changed(config: &Config, sets: &[String]) -> Result<Config> {
    let changed = config.with(sets)?;
    ensure!(
        changed.model == config.model,
        "--set model.…: the network of a checkpoint is what it is; only data.* and train.* can be changed here"
    );
    Ok(changed)
}

/// The network of a checkpoint with one set of its weights, for inference.
pub fn network(checkpoint: &Checkpoint, which: Weights, device: &Device) -> Result<Network> {
    let words = checkpoint.vocabulary.len();
    let (_, parameters) = Network::create(&checkpoint.config.model, words, 0, device)?;
    load(&parameters, checkpoint, which)?;
    Ok(Network::new(&checkpoint.config.model, words, parameters.inference())?)
}

fn load(parameters: &Parameters, checkpoint: &Checkpoint, which: Weights) -> Result<()> {
    partial_res::checkpoint::load_all(parameters, checkpoint, which, &checkpoint.config.model)?;
    Ok(())
}
