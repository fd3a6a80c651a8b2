//! `partial-res train`: the main job.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use clap::Args;
use partial_res::checkpoint::{CheckpointError, TrainState};
use partial_res::parallel::world;
use partial_res::report::{Log, Weights};
use partial_res::train::{Outcome, RunFolder, Trainer};

use super::shared::{
    ConfigArgs, DeviceArgs, changed, checkpoint_path, make_shapes, open_checkpoint, say, signals,
};

/// Train a network; without arguments: RES on RefShapes, from a shipped REC checkpoint
///
/// A run folder under runs/ gets the resolved configuration, log.txt, results.csv, results.png,
/// overlays of validation samples and checkpoints. Ctrl-C finishes the step and saves; so does a
/// terminal that is closed, unless the command was started with nohup.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  partial-res train\n  partial-res train rec/refshapes --set train.epochs=20\n  partial-res train res/refcoco-unc --finetune-from runs/det_best --set data.train_annotations=instances_sample_5.json\n  partial-res train --resume"
)]
pub struct TrainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Begin from the weights of a checkpoint: a path, or OWNER/NAME on the Hub
    #[arg(long, value_name = "CHECKPOINT")]
    finetune_from: Option<String>,
    /// Which weights of it: raw (as the reference does) or ema
    #[arg(long, default_value = "raw")]
    finetune_weights: Weights,
    /// Go on with a run, exactly where it was saved; without a value: the newest one
    #[arg(long, value_name = "RUN")]
    resume: Option<Option<PathBuf>>,
    /// Where run folders are made
    #[arg(long, default_value = "runs")]
    runs: PathBuf,
    /// Print the configuration as TOML, every key with its value and what it means, and stop
    #[arg(long, conflicts_with = "resume")]
    print_config: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: TrainArgs) -> Result<()> {
    let log = Log::stdout();
    let mut trainer = match &args.resume {
        Some(run) => resume(&args, run.as_deref(), log)?,
        None => {
            let mut config = args.config.load()?;
            if args.print_config {
                return Ok(say(config.to_explained_toml().trim_end())?);
            }
            let device = args.device.open(&log)?;
            if let Some(checkpoint) = &args.finetune_from {
                config.train.finetune_from = Some(checkpoint_path(checkpoint, &log)?);
            }
            // Before anything is made.
            if let Some(path) = config.train.finetune_from.as_ref().filter(|path| !path.exists()) {
                return Err(CheckpointError::NotFound { path: path.clone() }.into());
            }
            if world().is_root() {
                make_shapes(&config, &log)?;
            }
            // Which the others wait for.
            let run = RunFolder::create_together(&args.runs, args.config.name(), &config)?;
            let folder = run.path().to_owned();
            let begun = Trainer::begin(config, run, args.finetune_weights, &device, log);
            // What never began leaves no folder; the error that stopped it matters more than this one.
            begun.inspect_err(|_| {
                if world().is_root() {
                    drop(std::fs::remove_dir_all(folder));
                }
            })?
        }
    };
    let stop = signals()?;
    let stop = |_: &TrainState| stop.load(Ordering::Relaxed);
    match trainer.run(&stop)? {
        Outcome::Finished => trainer.conclude(&stop)?,
        Outcome::Stopped => {}
    }
    Ok(())
}

fn resume(args: &TrainArgs, run: Option<&Path>, log: Log) -> Result<Trainer> {
    if args.config.config.is_some() || args.finetune_from.is_some() {
        bail!("--resume goes on with the run's own configuration; leave out CONFIG and --finetune-from");
    }
    let run = match run {
        Some(run) => run.to_owned(),
        None => RunFolder::newest(&args.runs)
            .with_context(|| format!("there is no run with checkpoints in {}", args.runs.display()))?,
    };
    if world().is_root() && run.join("checkpoints").is_dir() {
        RunFolder::mend(&run)?;
    }
    let device = args.device.open(&log)?;
    let mut checkpoint = open_checkpoint(&run.display().to_string(), &log)?;
    checkpoint.config = changed(&checkpoint.config, &args.config.sets)?;
    Ok(Trainer::resume(&checkpoint, &device, log)?)
}
