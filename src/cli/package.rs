//! `partial-res package`: a checkpoint ready to be given away.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;
use partial_res::hub::{Contents, package, write_backbone};
use partial_res::report::Log;

use super::shared::{changed, open_checkpoint};

/// Make a folder ready to upload: weights, configuration, vocabulary, and a card with the scores
///
/// What only resuming needs is left out. The folder is a checkpoint like any other.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  partial-res package runs/RUN/checkpoints/segm_best --out my-model")]
pub struct PackageArgs {
    /// A checkpoint or a run
    checkpoint: String,
    /// The folder to make; it must not exist
    #[arg(long)]
    out: PathBuf,
    /// Leave out the averaged weights
    #[arg(long)]
    raw_only: bool,
    /// Change a key that says where things are, such as data.root
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Licence of the weights, as the Hub names it
    #[arg(long, default_value = "apache-2.0")]
    licence: String,
    /// Also write the backbone alone, for train.backbone; the file must not exist
    #[arg(long, value_name = "FILE")]
    backbone: Option<PathBuf>,
}

pub fn run(args: &PackageArgs) -> Result<()> {
    let log = Log::stdout();
    ensure!(!args.out.exists(), "{} is there already; choose another --out", args.out.display());
    if let Some(path) = args.backbone.as_ref().filter(|path| path.exists()) {
        bail!("{} is there already; choose another --backbone", path.display());
    }
    let checkpoint = open_checkpoint(&args.checkpoint, &log)?;
    let config = changed(&checkpoint.config, &args.sets)?;
    let contents = if args.raw_only { Contents::Raw } else { Contents::RawAndEma };
    if let Some(path) = &args.backbone {
        let count = write_backbone(&checkpoint, path)?;
        log.line(format!("backbone: {count} tensors in {}", path.display()))?;
    }
    package(&checkpoint, &config, contents, &args.licence, &args.out)?;
    log.line(format!("made {}; read its README.md before you upload it", args.out.display()))?;
    Ok(())
}
