//! `partial-res download`: a checkpoint from the Hub.

use std::path::PathBuf;

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
        foreign(file, &path, log)?;
        return Ok(path);
    }
    let listing = hub.list(repository, revision)?;
    if !listing.files.iter().any(|file| file == "model.safetensors") {
        let other = listing.files.iter().find(|file| converter(file).is_some());
        match other {
            Some(file) => bail!(
                "{repository} has no model.safetensors but {file}, which must be converted: \
                 `partial-res download {repository} --file {file}`, then what it says"
            ),
            None => bail!(
                "{repository} is no checkpoint of this program; its files: {}",
                listing.files.join(", ")
            ),
        }
    }
    let mut folder = None;
    for file in listing.files.iter().filter(|file| !file.starts_with('.')) {
        let path = hub.file(repository, revision, file, &mut bar)?;
        if file == "model.safetensors" {
            folder = path.parent().map(PathBuf::from);
        }
    }
    bar.0.finish_and_clear();
    match folder {
        Some(folder) => Ok(folder),
        None => bail!("{repository}: model.safetensors did not arrive"),
    }
}

/// The conversion that makes a file of another program ours.
fn converter(file: &str) -> Option<&'static str> {
    let ends = |suffix: &str| file.ends_with(suffix);
    match () {
        () if ends(".pth") || ends(".pt") => Some("checkpoint"),
        () if ends(".weights") => Some("darknet"),
        () => None,
    }
}

fn foreign(file: &str, path: &std::path::Path, log: &Log) -> Result<()> {
    if let Some(kind) = converter(file) {
        let path = path.display();
        log.line(format!("to use it: cargo convert {kind} {path} --help"))?;
    }
    Ok(())
}

struct Bar(ProgressBar);

impl Watch for Bar {
    fn grew(&mut self, file: &str, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_message(file.to_owned());
        self.0.set_position(done);
    }
}
