//! Arguments and steps that several commands share.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use clap::Args;
use partial_res::checkpoint::Checkpoint;
use partial_res::config::{Config, ConfigError, DEFAULT};
use partial_res::data::Dataset;
use partial_res::device::DeviceChoice;
use partial_res::eval::Look;
use partial_res::hub::{Hub, RepositoryId};
use partial_res::model::Network;
use partial_res::nn::Arithmetic;
use partial_res::parallel::{ParallelError, world};
use partial_res::report::Log;
use partial_res::shapes::{self, ShapesError};
use partial_res::text::Vocabulary;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

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
    /// auto, cpu, cuda or cuda:N; of several processes on a machine cuda gives each its own
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

impl DeviceArgs {
    /// Opens it and says what it is.
    pub fn open(&self, log: &Log) -> Result<Device> {
        let (device, name) = self.device.open(world().local_rank())?;
        log.line(format!("device: {name}"))?;
        #[cfg(feature = "nccl")]
        world().compute_on(&device)?;
        Ok(device)
    }
}

/// `--arithmetic`.
#[derive(Args, Debug)]
pub struct ArithmeticArgs {
    /// What products are computed in: f32, or rounded for a GPU's tensor cores to tf32 or, in convolutions, to bf16
    /// (which the CPU imitates, slowly; it has no tf32)
    #[arg(long = "arithmetic", value_name = "f32|tf32|bf16", default_value = "f32")]
    pub name: Arithmetic,
}

/// A line on standard output. Who listens may leave early (`| head`): then the rest is said to nobody.
pub fn say(line: impl Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Says so where the vocabulary of a network (`who`) knows little of what is asked about a split.
pub fn warn_of_unknown_words(dataset: &Dataset, words: &Vocabulary, who: &str, log: &Log) -> Result<()> {
    let coverage = dataset.coverage_by(words);
    if coverage.is_poor() {
        let split = dataset.split_name();
        log.line(format!("WARNING: {split}: {coverage}; {who} reads them all as one unknown word"))?;
    }
    Ok(())
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

/// Who takes a second look.
pub struct Labeller {
    checkpoint: Checkpoint,
    network: Network,
}

impl Labeller {
    /// With the averaged weights if it has any.
    pub fn open(name: &str, device: &Device, arithmetic: Arithmetic, log: &Log) -> Result<Self> {
        let checkpoint = open_checkpoint(name, log).context("--second-look")?;
        let network = checkpoint.network(checkpoint.best_weights(), device)?.in_arithmetic(arithmetic);
        Ok(Self { checkpoint, network })
    }

    /// Says so where it knows little of what is asked about a split.
    pub fn warn_of_unknown_words(&self, dataset: &Dataset, log: &Log) -> Result<()> {
        warn_of_unknown_words(dataset, &self.checkpoint.vocabulary, "the labeller", log)
    }

    /// Identifies the weights.
    pub fn hash(&self) -> Option<&str> {
        self.checkpoint.hash(self.checkpoint.best_weights())
    }

    pub fn look(&self) -> Result<Look<'_>> {
        let Checkpoint { vocabulary, config, .. } = &self.checkpoint;
        Look::closer(&self.network, vocabulary, config).context("--second-look")
    }
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
             (runs/…/checkpoints/segm_best), or OWNER/NAME on the Hub; `partial-res train` makes one, \
             `cargo convert checkpoint` one of a PyTorch file"
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

/// Several processes must answer with the same networks, and the same questions: `weights` identifies the first
/// ([`Checkpoint::hash`]), `options` says what the command line decides about the second.
pub fn check_alike(
    weights: &[Option<&str>],
    config: &Config,
    dataset: &Dataset,
    options: &str,
) -> Result<(), ParallelError> {
    world().check_same_weights(format!("{weights:?}").as_bytes())?;
    world().check_same("another configuration", config.without_places().to_toml().as_bytes())?;
    world().check_same("other options", options.as_bytes())?;
    let annotations = dataset.annotations();
    let what = format!("other annotations in {}", annotations.path().display());
    world().check_same(&what, annotations.text().as_bytes())
}

/// RefShapes is made when it is wanted and not there.
pub fn make_shapes(config: &Config, log: &Log) -> Result<()> {
    let Some(wanted) = shapes::ShapesConfig::of_dataset(&config.data.dataset) else { return Ok(()) };
    let root = &config.data.root;
    let annotations = root.join("annotations").join(&config.data.dataset).is_dir();
    let elsewhere = config.data.images.contains_key(shapes::DATA_SOURCE);
    if annotations && (elsewhere || root.join("images").join(shapes::DATA_SOURCE).is_dir()) {
        return Ok(());
    }
    let wanted = match shapes::made_from(&wanted, root) {
        Ok(wanted) => wanted,
        // The user's own annotations of that name.
        Err(ShapesError::Foreign { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    log.line(format!("making {} under {}", config.data.dataset, root.display()))?;
    let summary = shapes::generate(&wanted, root, &|_, _| {})?;
    log.line(summary.to_string())?;
    Ok(())
}

/// Signals that come together are one: `timeout` tells a command, and then all of its group.
const TOGETHER: Duration = Duration::from_secs(1);

/// SIGINT, SIGTERM and SIGHUP (a terminal that was closed) ask for a stop after the step; a later one ends at once.
pub fn signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut first: Option<Instant> = None;
        for _ in signals.forever() {
            if first.get_or_insert_with(Instant::now).elapsed() > TOGETHER {
                // Exit handlers could wait for a GPU that the main thread is waiting for.
                signal_hook::low_level::exit(130);
            }
            asked.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(stop)
}

/// Whether whoever started this program wants it to go on in spite of a signal, as `nohup` does.
fn is_ignored(signal: libc::c_int) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is set, and what is written to `now` is read only if it was.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
