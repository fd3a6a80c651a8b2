//! `partial-res sample`: draw the referents that have masks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use partial_res::data::{Annotations, INSTANCES, annotation_file};
use partial_res::pseudo::{NewSample, SampleOptions};

use super::shared::say;

/// Draw nested random subsets of the training split: the referents whose masks may be used
///
/// Writes instances_sample_<RATIO>.json beside instances.json, records as they stand and every
/// other split kept, and instances_sample_<RATIO>.provenance.json with seed and hash of the source.
/// 1 % lies within 5 % within 10 %. With 5 %, `train` then takes
/// --set data.train_annotations=instances_sample_5.json.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  partial-res sample --ratio 1,5,10 --dataset refcoco-unc --seed 6666")]
pub struct SampleArgs {
    /// Percent of the records; several, comma-separated
    #[arg(long, value_delimiter = ',', default_value = "1,5,10")]
    ratio: Vec<u32>,
    /// A folder of ROOT/annotations
    #[arg(long)]
    dataset: String,
    #[arg(long, default_value_t = 6666)]
    seed: u64,
    /// The split to draw from
    #[arg(long, default_value = "train")]
    split: String,
    /// Holds annotations/ and images/
    #[arg(long, default_value = "data")]
    root: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &SampleArgs) -> Result<()> {
    let path = annotation_file(&args.root, &args.dataset, INSTANCES)?;
    let all = Annotations::read(&path)?;
    let ratios: BTreeSet<u32> = args.ratio.iter().copied().collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let draw = |ratio| {
        let (split, seed, force) = (args.split.clone(), args.seed, args.force);
        Ok(NewSample::draw(folder, &all, &SampleOptions { split, ratio, seed, force })?)
    };
    // Before the first is written: all files or none.
    let samples = ratios.into_iter().map(draw).collect::<Result<Vec<_>>>()?;
    for sample in samples {
        let drawn = sample.write()?;
        let file = path.with_file_name(&drawn.file);
        say(format!("{}: {} of {} records of {}", file.display(), drawn.records, drawn.of, drawn.split))?;
    }
    Ok(())
}
