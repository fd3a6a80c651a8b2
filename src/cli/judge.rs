//! `partial-res judge`: labels beside true masks.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use partial_res::data::{Annotations, INSTANCES, annotation_file};
use partial_res::pseudo::{Comparison, Entrant, Judge, Predictions, rank, sample_file};

use super::shared::say;

/// Measure labels by the true masks of their referents
///
/// For experiments: the masks must be there, but not in the sample. Says how good the best-ranked labels
/// of each file are, ranked by all that can be said about a label, and what the other files have where they
/// keep as many as the paper's threshold keeps of the first.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res judge --dataset refshapes-unc --ratio 5 paper=rpp.jsonl ours=close-ups.jsonl --out judged"
)]
pub struct JudgeArgs {
    /// What `label` wrote, each with a name if wanted; the first one's are the paper's (RPP)
    #[arg(required = true, value_name = "[NAME=]FILE")]
    predictions: Vec<String>,
    /// A folder of ROOT/annotations
    #[arg(long)]
    dataset: String,
    /// Percent of the labelled sample: reads instances_sample_<RATIO>.json
    #[arg(long, required_unless_present = "labelled")]
    ratio: Option<u32>,
    /// The labelled sample, if it lies elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "ratio")]
    labelled: Option<PathBuf>,
    /// Holds annotations/ and images/
    #[arg(long, default_value = "data")]
    root: PathBuf,
    /// Of the paper's labels, projection terms below it are kept; 0 to 2
    #[arg(long, default_value_t = Judge::default().threshold)]
    threshold: f64,
    /// Write judged.md, .csv, .json and .png there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &JudgeArgs) -> Result<()> {
    ensure!((0.0..=2.0).contains(&args.threshold), "--threshold {}: expected 0 to 2", args.threshold);
    let all = Annotations::read(&annotation_file(&args.root, &args.dataset, INSTANCES)?)?;
    let labelled = match (&args.labelled, args.ratio) {
        (Some(path), _) => path.clone(),
        (None, ratio) => annotation_file(&args.root, &args.dataset, &sample_file(ratio.unwrap_or_default()))
            .context("the labelled sample; `sample` draws one")?,
    };
    let labelled = Annotations::read(&labelled)?;
    let read = |argument: &String| {
        let (name, path) = named(argument);
        let predictions =
            Predictions::read(path).context("labels to judge; `label --out FILE` writes them")?;
        let rankings = rank(&all, &labelled, &predictions)?;
        ensure!(!rankings.is_empty(), "{}: no referent without a label has a true mask", path.display());
        Ok(Entrant { name, rankings })
    };
    let entrants = args.predictions.iter().map(read).collect::<Result<_>>()?;
    let comparison = Comparison::new(entrants, args.threshold);
    say(comparison.shares())?;
    if let Some(table) = comparison.equally_many() {
        say(format!("\n{table}"))?;
    }
    if let Some(folder) = &args.out {
        comparison.write(folder)?;
        say(format!("{}: judged.md, judged.csv, judged.json, judged.png", folder.display()))?;
    }
    Ok(())
}

/// `NAME=FILE`; a file alone is named after itself.
fn named(argument: &str) -> (String, &Path) {
    match argument.split_once('=') {
        Some((name, path)) if !name.contains(['/', '\\']) => (name.to_owned(), Path::new(path)),
        _ => {
            let path = Path::new(argument);
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path)
        }
    }
}
