use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use partial_res::config::Config;
use partial_res::convert::{CheckpointRequest, Output, convert_checkpoint};
use partial_res::data::vocabulary_beside;

/// A PyTorch checkpoint of SeqTR or Partial-RES to a run folder
///
/// Weights, averaged weights, optimizer state and best scores. Every tensor is listed: loaded,
/// missing, unexpected, of another shape; what does not fit fails unless --allow names it.
#[derive(Args)]
#[command(
    after_help = "Example:\n  cargo convert checkpoint checkpoint/refcoco-unc/det_best.pth --config rec/refcoco-unc --vocabulary data/annotations/refcoco-unc --out runs/det_best"
)]
pub struct CheckpointArgs {
    file: PathBuf,
    /// The configuration it was trained with: res/… for Partial-RES, rec/… for SeqTR's boxes, or a file
    #[arg(long)]
    config: String,
    /// Change a key of it, as often as needed: --set model.vertices=12
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// A folder with vocabulary.json or token_to_ix.pkl
    #[arg(long, value_name = "DIR")]
    vocabulary: PathBuf,
    /// The run folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A tensor that may be left out or stay initial (or all that begin: head.predictor.*), or: optimizer
    #[arg(long, value_name = "NAME")]
    allow: Vec<String>,
    /// Replace a run folder that is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: CheckpointArgs) -> Result<String> {
    let config = Config::load(&args.config, &args.sets)?;
    let vocabulary = vocabulary_beside(&args.vocabulary.join("instances.json"))?.with_context(|| {
        format!(
            "no vocabulary.json and no token_to_ix.pkl in {}; --vocabulary is the folder of the vocabulary that it was \
             trained with, such as data/annotations/refcoco-unc",
            args.vocabulary.display()
        )
    })?;
    let output = Output { force: args.force };
    let (file, out) = (args.file.as_path(), args.out.as_path());
    let request = CheckpointRequest { file, config, vocabulary, out, allow: args.allow, output };
    let report = convert_checkpoint(request)?;
    Ok(format!("{report}\nnext: partial-res eval --checkpoint {}", args.out.display()))
}
