use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use partial_res::convert::{Output, convert_vocabulary};

use super::check_words;

/// token_to_ix.pkl, ix_to_token.pkl and word_emb.npz to vocabulary.json and word_vectors.safetensors
#[derive(Args)]
#[command(after_help = "Example:\n  cargo convert vocabulary data/annotations/refcoco-unc")]
pub struct VocabularyArgs {
    /// The folder of the files
    folder: PathBuf,
    /// Where ours go; default: beside them, where they are preferred
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &VocabularyArgs) -> Result<String> {
    let out = args.out.as_ref().unwrap_or(&args.folder);
    let report = convert_vocabulary(&args.folder, out, Output { force: args.force })?;
    Ok(format!("{report}\n{}", check_words(out)))
}
