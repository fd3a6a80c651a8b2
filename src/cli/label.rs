//! `partial-res label`: outline every referent of a split.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};
use partial_res::data::{Dataset, INSTANCES};
use partial_res::pseudo::{Asked, Labelling, Method, label, predictions_file, usual_batch_size};
use partial_res::report::{Log, Weights};

use super::shared::{
    ArithmeticArgs, DeviceArgs, changed, check_alike, open_checkpoint, warn_of_unknown_words,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Expressions {
    First,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// Outlines are said within the known boxes; those about whole images are fitted to them
    Boxes,
    /// As the paper does: boxes are not used
    Rpp,
}

/// Outline every referent of a split with a checkpoint: what `pick` chooses pseudo labels from
///
/// Writes predictions.jsonl beside the annotations: a line that says what was labelled with what, then
/// a line for each referent, in pixels of its own image. Killed, the same command goes on where it
/// stopped.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res label --checkpoint runs/RUN/checkpoints/segm_best --set data.root=data"
)]
pub struct LabelArgs {
    /// A checkpoint, a run, or OWNER/NAME on the Hub
    #[arg(long)]
    checkpoint: String,
    /// raw (as the reference does) or ema
    #[arg(long, default_value = "raw")]
    weights: Weights,
    #[arg(long, default_value = "train")]
    split: String,
    /// Ask the first expression of a referent, or all of them
    #[arg(long, value_enum, default_value_t = Expressions::First)]
    expressions: Expressions,
    #[arg(long, value_enum, default_value_t = How::Boxes)]
    method: How,
    /// File to write [default: predictions.jsonl beside the annotations]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Change a key of the checkpoint's configuration, such as data.root or data.dataset
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Expressions in a batch [default: 64 for images of at most 128 pixels, otherwise 32]
    #[arg(long)]
    batch_size: Option<NonZeroUsize>,
    /// Begin anew, whatever the file holds
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    arithmetic: ArithmeticArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: LabelArgs) -> Result<()> {
    let log = Log::stdout();
    let device = args.device.open(&log)?;
    let checkpoint = open_checkpoint(&args.checkpoint, &log)?;
    let config = changed(&checkpoint.config, &args.sets)?;
    let arithmetic = args.arithmetic.name;
    let network = checkpoint.network(args.weights, &device)?.in_arithmetic(arithmetic);
    let dataset = Dataset::open(&config.data, INSTANCES, &args.split)?;
    let dataset = Arc::new(dataset.with_vocabulary(checkpoint.vocabulary.clone()));
    warn_of_unknown_words(&dataset, dataset.vocabulary(), "the network", &log)?;
    let batch_size = args.batch_size.map_or(usual_batch_size(&config), NonZeroUsize::get);
    let options = format!("{:?}", (&args.split, args.expressions, args.method, batch_size, arithmetic));
    check_alike(&[checkpoint.hash(args.weights)], &config, &dataset, &options)?;
    let out = args.out.unwrap_or_else(|| predictions_file(dataset.annotations().path()));
    let labelling = Labelling {
        network: &network,
        weights: args.weights,
        checkpoint: &checkpoint,
        config: &config,
        dataset: &dataset,
        device: &device,
        expressions: match args.expressions {
            Expressions::First => Asked::First,
            Expressions::All => Asked::All,
        },
        method: match args.method {
            How::Boxes => Method::Boxes,
            How::Rpp => Method::Greedy,
        },
        batch_size,
        force: args.force,
    };
    let start = Instant::now();
    let labelled = label(&labelling, &out, &log, &|| false)?;
    let seconds = start.elapsed().as_secs_f64();
    let before = match labelled.before {
        0 => String::new(),
        before => format!(", {before} of them before"),
    };
    log.line(format!(
        "{}: {} referents of {}{before}; {seconds:.1} s",
        out.display(),
        labelled.referents,
        args.split
    ))?;
    Ok(())
}
