//! `partial-res eval`: scores of a checkpoint.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use partial_res::data::{Dataset, INSTANCES};
use partial_res::eval::{
    Drawings, EvalError, EvalOptions, PredictionWriter, SplitReport, check_place, evaluate, write_json,
};
use partial_res::parallel::world;
use partial_res::report::{Log, Weights};

use super::shared::{
    ArithmeticArgs, DeviceArgs, Labeller, changed, check_alike, open_checkpoint, warn_of_unknown_words,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Raw,
    Ema,
    /// Both, if the checkpoint has both
    Both,
}

/// Score a checkpoint on splits of a data set, in both protocols
///
/// Beside the scores stand three marks: what a model that ignores the words could reach, this model
/// with the expressions of an image permuted, and the ceiling of the vertices.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res eval --checkpoint runs/RUN/checkpoints/segm_best --split val,testA,testB"
)]
pub struct EvalArgs {
    /// A checkpoint, a run, or OWNER/NAME on the Hub
    #[arg(long)]
    checkpoint: String,
    /// Splits, comma-separated; default: the configuration's test splits
    #[arg(long, value_delimiter = ',')]
    split: Vec<String>,
    #[arg(long, value_enum, default_value_t = Which::Both)]
    weights: Which,
    /// Change a key of the checkpoint's configuration, such as data.root or data.dataset
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Score a second look: a labeller (`train label/…`) outlines close-ups of what the checkpoint finds; that may
    /// be a network that says boxes then
    #[arg(long, value_name = "LABELLER")]
    second_look: Option<String>,
    /// Expressions in a batch
    #[arg(long, default_value = "32")]
    batch_size: NonZeroUsize,
    /// About this many referents of a split, by whole images, evenly spread; 0 is all
    #[arg(long, default_value_t = 0)]
    limit: usize,
    /// Leave out the three marks
    #[arg(long)]
    no_marks: bool,
    /// Write the scores as JSON, after each split those so far
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write every answer as a line of JSON: tokens, mask, IoU; a split's when it is finished
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Draw answers beside their ground truth
    #[arg(long, value_name = "DIR")]
    draw: Option<PathBuf>,
    /// At most this many pictures a split; 0 is all
    #[arg(long, default_value_t = 0)]
    draw_count: usize,
    #[command(flatten)]
    arithmetic: ArithmeticArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: EvalArgs) -> Result<()> {
    let log = Log::stdout();
    let device = args.device.open(&log)?;
    let checkpoint = open_checkpoint(&args.checkpoint, &log)?;
    let config = changed(&checkpoint.config, &args.sets)?;
    let which = match args.weights {
        Which::Raw => vec![Weights::Raw],
        Which::Ema => vec![Weights::Ema],
        Which::Both if checkpoint.has_average() => vec![Weights::Raw, Weights::Ema],
        Which::Both => vec![Weights::Raw],
    };
    let arithmetic = args.arithmetic.name;
    let network = |which| Ok((which, checkpoint.network(which, &device)?.in_arithmetic(arithmetic)));
    let networks = which.into_iter().map(network);
    let networks = networks.collect::<Result<Vec<_>>>()?;
    let networks: Vec<_> = networks.iter().map(|(which, network)| (*which, network)).collect();
    let labeller = args
        .second_look
        .as_deref()
        .map(|name| Labeller::open(name, &device, arithmetic, &log))
        .transpose()?;
    let second = labeller.as_ref().map(Labeller::look).transpose()?;
    let splits = if args.split.is_empty() { &config.data.test_splits } else { &args.split };
    let datasets = Dataset::open_splits(&config.data, INSTANCES, splits)?;
    if let Some(empty) = datasets.iter().find(|dataset| dataset.is_empty()) {
        return Err(EvalError::Empty { split: empty.split_name().to_owned() }.into());
    }
    let root = world().is_root();
    let json = args.json.as_deref().filter(|_| root);
    let answers = args.predictions.as_deref().filter(|_| root);
    json.map(check_place).transpose().context("--json")?;
    answers.map(check_place).transpose().context("--predictions")?;
    if let Some(dataset) = datasets.first() {
        let weights = networks.iter().map(|(which, _)| checkpoint.hash(*which));
        let weights: Vec<_> = weights.chain(labeller.as_ref().map(Labeller::hash)).collect();
        let options = format!("{:?}", (splits, args.batch_size, args.limit, args.no_marks, arithmetic));
        check_alike(&weights, &config, dataset, &options)?;
    }
    let mut reports = Vec::new();
    for dataset in datasets {
        let begin = if reports.is_empty() { PredictionWriter::create } else { PredictionWriter::append };
        let mut predictions = answers.map(begin).transpose()?;
        let asked = Arc::new(dataset.with_vocabulary(checkpoint.vocabulary.clone()));
        warn_of_unknown_words(&asked, asked.vocabulary(), "the network", &log)?;
        if let Some(labeller) = &labeller {
            labeller.warn_of_unknown_words(&asked, &log)?;
        }
        let options = EvalOptions {
            batch_size: args.batch_size.get(),
            workers: config.data.workers,
            limit: args.limit,
            marks: !args.no_marks,
            predictions: predictions.as_mut(),
            drawings: args.draw.clone().map(|folder| Drawings { folder, count: args.draw_count }),
            second: second.as_ref(),
            stop: None,
        };
        let report = evaluate(&networks, &asked, &config, &device, options, &log)
            .with_context(|| unfinished(asked.split_name(), &reports, [json, answers]))?;
        log.line(format!("\n{}", report.table()))?;
        reports.push(report);
        // A later split may fail; this one is kept.
        predictions.map(PredictionWriter::finish).transpose()?;
        if let Some(path) = json {
            write_json(path, &config.data.dataset, args.second_look.as_deref(), arithmetic, &reports)?;
        }
    }
    if let Some(path) = json {
        log.line(format!("scores: {}", path.display()))?;
    }
    Ok(())
}

/// What is left where the evaluation of a split fails.
fn unfinished(split: &str, reports: &[SplitReport], files: [Option<&Path>; 2]) -> String {
    let finished: Vec<&str> = reports.iter().map(|report| report.split.as_str()).collect();
    let files: Vec<String> = files.into_iter().flatten().map(|path| path.display().to_string()).collect();
    match (finished.is_empty(), files.is_empty()) {
        (false, false) => format!("split {split}; {} kept: {}", files.join(", "), finished.join(", ")),
        (true, false) => format!("split {split}; {} stay as they were", files.join(", ")),
        (_, true) => format!("split {split}"),
    }
}
