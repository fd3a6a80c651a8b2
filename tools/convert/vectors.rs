use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use partial_res::convert::{Output, convert_vectors};

use super::check_words;

/// Vectors of a spaCy model or a GloVe text file, for the vocabulary of an annotation file
///
/// A token is looked up whole, as the vocabulary has it (lower case, no punctuation), also where
/// spaCy would split it; without an entry its vector is zero. The vocabulary is the one beside the
/// annotations; where there is none, it is built from all expressions.
#[derive(Args)]
#[command(
    after_help = "Example:\n  cargo convert vectors en_core_web_md-3.8.0 --annotations data/annotations/refcoco-unc/instances.json"
)]
pub struct VectorsArgs {
    /// The folder of a spaCy model, or a GloVe text file
    source: PathBuf,
    #[arg(long, value_name = "FILE")]
    annotations: PathBuf,
    /// Default: beside the annotations
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &VectorsArgs) -> Result<String> {
    let beside = args.annotations.with_file_name("");
    let out = args.out.as_ref().unwrap_or(&beside);
    let report = convert_vectors(&args.source, &args.annotations, out, Output { force: args.force })?;
    Ok(format!("{report}\n{}", check_words(out)))
}
