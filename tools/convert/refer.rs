use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use partial_res::convert::{Output, ReferRequest, convert_refer};

/// REFER's refs(….).p and COCO's instances.json to an annotation file
///
/// In train a record holds a referent with all its expressions, in the other splits one expression.
#[derive(Args)]
#[command(
    after_help = "Example:\n  cargo convert refer 'refcoco/refs(unc).p' --instances refcoco/instances.json --dataset refcoco-unc"
)]
pub struct ReferArgs {
    refs: PathBuf,
    #[arg(long, value_name = "FILE")]
    instances: PathBuf,
    /// Name of the data set; refcoco-unc, refcocoplus-unc and refcocog-umd are compared with what was published
    #[arg(long)]
    dataset: String,
    /// Default: data/annotations/DATASET/instances.json
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &ReferArgs) -> Result<String> {
    let default = Path::new("data/annotations").join(&args.dataset).join("instances.json");
    let out = args.out.as_ref().unwrap_or(&default);
    let output = Output { force: args.force };
    let (refs, instances, dataset) = (&args.refs, &args.instances, &args.dataset);
    let report = convert_refer(&ReferRequest { refs, instances, dataset, out, output })?;
    Ok(format!("{report}\nnext: cargo convert vectors MODEL --annotations {}", out.display()))
}
