use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use clap::Args;
use partial_res::convert::{Output, PredictionsRequest, convert_predictions};
use partial_res::data::{INSTANCES, annotation_file};

/// The reference's dump of pseudo labels to predictions.jsonl, in the frame of the original images
#[derive(Args)]
#[command(
    after_help = "Example:\n  cargo convert predictions refine_data/refcoco-unc_instances_refine.pth --dataset refcoco-unc --out predictions.jsonl"
)]
pub struct PredictionsArgs {
    file: PathBuf,
    #[arg(long)]
    dataset: String,
    /// Default: data/annotations/DATASET/instances.json
    #[arg(long, value_name = "FILE")]
    annotations: Option<PathBuf>,
    #[arg(long, default_value = "train")]
    split: String,
    /// Longest side of the images that the network saw
    #[arg(long, default_value_t = 640)]
    image_size: usize,
    /// Their sides were padded to multiples of this
    #[arg(long, default_value_t = 32)]
    stride: usize,
    /// Take masks that can't be decoded for empty (and list them) instead of refusing the dump
    #[arg(long)]
    skip_broken: bool,
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &PredictionsArgs) -> Result<String> {
    let annotations = match &args.annotations {
        Some(path) => path.clone(),
        None => annotation_file(Path::new("data"), &args.dataset, INSTANCES).map_err(|error| {
            anyhow!("{error}; or --annotations FILE names the one that the dump belongs to")
        })?,
    };
    let request = PredictionsRequest {
        file: &args.file,
        annotations: &annotations,
        dataset: &args.dataset,
        split: &args.split,
        image_size: args.image_size.max(1),
        stride: args.stride.max(1),
        skip_broken: args.skip_broken,
        out: &args.out,
        output: Output { force: args.force },
    };
    let report = convert_predictions(&request)?;
    Ok(format!(
        "{report}\nnext: partial-res pick --method rpp --ratio 5 --dataset {} --predictions {}",
        args.dataset,
        args.out.display()
    ))
}
