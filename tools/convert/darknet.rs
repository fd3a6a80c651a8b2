use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use partial_res::config::Config;
use partial_res::convert::{Output, convert_darknet};

/// darknet.weights or yolov3.weights to safetensors
#[derive(Args)]
#[command(after_help = "Example:\n  cargo convert darknet data/weights/darknet.weights")]
pub struct DarknetArgs {
    file: PathBuf,
    /// Default: weights/ and the file's name
    #[arg(long)]
    out: Option<PathBuf>,
    /// Whose model.darknet says how large the backbone is
    #[arg(long, default_value = "res/refcoco-unc")]
    config: String,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

pub fn run(args: &DarknetArgs) -> Result<String> {
    let config = Config::load(&args.config, &[])?;
    let out = args.out.clone().unwrap_or_else(|| {
        let name = args.file.file_stem().unwrap_or("darknet".as_ref());
        Path::new("weights").join(name).with_extension("safetensors")
    });
    let report = convert_darknet(&args.file, &config.model.darknet, &out, Output { force: args.force })?;
    Ok(format!("{report}\nnext: partial-res train rec/refcoco-unc --set train.backbone={}", out.display()))
}
