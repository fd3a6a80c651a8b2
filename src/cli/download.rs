//! `partial-res download`: a checkpoint from the Hub.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use partial_res::hub::{Hub, RepositoryId, Watch};
use partial_res::report::Log;

use super::shared::say;

/// Download a checkpoint from the Hugging Face Hub into its cache
///
/// An interrupted download goes on where it stopped; size and hash are verified. HF_ENDPOINT,
/// HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are honoured.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  partial-res download OWNER/NAME\n  partial-res eval --checkpoint OWNER/NAME"
)]
pub struct DownloadArgs {
    /// OWNER/NAME
    repository: String,
    /// A branch, tag or commit
    #[arg(long, default_value = "main")]
    revision: String,
    /// Only this file
    #[arg(long)]
    file: Option<String>,
}

pub fn run(args: &DownloadArgs) -> Result<()> {
    let log = Log::stderr();
    let repository: RepositoryId = args.repository.parse()?;
    let path = snapshot(&Hub::from_env(), &repository, &args.revision, args.file.as_deref(), &log)?;
    if args.file.is_none() {
        log.line(format!("next: partial-res eval --checkpoint {}", path.display()))?;
    }
    Ok(say(path.display())?)
}

/// Brings the files of a checkpoint, or the one file, and returns the folder or the file.
pub fn snapshot(
    hub: &Hub,
    repository: &RepositoryId,
    revision: &str,
    only: Option<&str>,
    log: &Log,
) -> Result<PathBuf> {
    let mut bar = Bar(ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")?));
    if let Some(file) = only {
        let path = hub.file(repository, revision, file, &mut bar)?;
        if let Some(command) = converter(file, &path) {
            log.line(format!("next: {command}"))?;
        }
        return Ok(path);
    }
    let listing = hub.list(repository, revision)?;
    if !listing.files.iter().any(|file| file == "model.safetensors") {
        let foreign = |file: &String| Some((file.clone(), converter(file, Path::new("FILE"))?));
        match listing.files.iter().find_map(foreign) {
            Some((file, command)) => bail!(
                "{repository} has no model.safetensors but {file}, which must be converted: \
                 `partial-res download {repository} --file {file}` says where FILE is, then {command}"
            ),
            None => bail!(
                "{repository} is no checkpoint of this program; its files: {}",
                listing.files.join(", ")
            ),
        }
    }
    let mut folder = None;
    for file in listing.files.iter().filter(|file| !file.starts_with('.')) {
        // Of the commit that was listed, whatever is pushed meanwhile.
        let path = hub.file(repository, &listing.commit, file, &mut bar)?;
        if file == "model.safetensors" {
            folder = path.parent().map(PathBuf::from);
        }
    }
    bar.0.finish_and_clear();
    if listing.commit != revision && !hub.is_offline() {
        hub.refer(repository, revision, &listing.commit)?;
    }
    match folder {
        Some(folder) => Ok(folder),
        None => bail!("{repository}: model.safetensors did not arrive"),
    }
}

/// The command that makes a file of another program ours.
fn converter(file: &str, path: &Path) -> Option<String> {
    let (ends, path) = (|suffix: &str| file.ends_with(suffix), path.display());
    match () {
        () if ends(".pth") || ends(".pt") => Some(format!(
            "cargo convert checkpoint {path} --config CONFIG --vocabulary DIR --out runs/NAME (CONFIG: rec/refcoco-unc \
             for SeqTR's boxes, res/refcoco-unc for Partial-RES; DIR: with the vocabulary it was trained with)"
        )),
        () if ends(".weights") => Some(format!("cargo convert darknet {path}")),
        () => None,
    }
}

struct Bar(ProgressBar);

impl Watch for Bar {
    fn grew(&mut self, file: &str, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_message(file.to_owned());
        self.0.set_position(done);
    }
}
