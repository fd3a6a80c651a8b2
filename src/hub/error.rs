//! What can go wrong between here and the Hub; each with what to do.

use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum HubError {
    #[error("`{0}` is not a repository name: expected OWNER/NAME")]
    Name(String),
    #[error(
        "HF_HUB_OFFLINE is set and {what} is not in the cache {cache}; unset it, or download on a machine with a network"
    )]
    Offline { what: String, cache: PathBuf },
    #[error("cannot reach {url}: {message}; check the network, or set HF_ENDPOINT to a mirror")]
    Unreachable { url: String, message: String },
    #[error("{url} wants a login (401): set HF_TOKEN to a token that may read {repository}")]
    Unauthorised { url: String, repository: String },
    #[error(
        "{repository} is gated (403): accept its conditions on its page, then set HF_TOKEN to your token"
    )]
    Gated { repository: String },
    #[error("access to {url} is forbidden (403): the token in HF_TOKEN may not read {repository}")]
    Forbidden { url: String, repository: String },
    #[error("there is no repository {repository} (or it is private: then set HF_TOKEN)")]
    NoRepository { repository: String },
    #[error("{repository} has no revision `{revision}`")]
    NoRevision { repository: String, revision: String },
    #[error("{repository} has no file `{file}` at revision `{revision}`; it has {}", listed(known))]
    NoFile { repository: String, revision: String, file: String, known: Vec<String> },
    #[error("{url} answered {status}; try again later")]
    Status { url: String, status: u16 },
    #[error(
        "{url} answered with a web page instead of a file; is HF_ENDPOINT right, or is a proxy in between?"
    )]
    WebPage { url: String },
    #[error("{url} answered without {header}; is HF_ENDPOINT a Hub?")]
    Header { url: String, header: &'static str },
    #[error("{url} did not answer as the Hub does: {message}")]
    Answer { url: String, message: String },
    #[error("{file} of {repository} has an unsafe path and was not written")]
    UnsafePath { repository: String, file: String },
    #[error(
        "{file}: {found} bytes arrived, {expected} were announced; what arrived is kept, run the command again to go on"
    )]
    Interrupted { file: String, found: u64, expected: u64 },
    #[error(
        "{file}: its {kind} is {found}, the Hub says {expected}; the damaged copy was removed, run the command again"
    )]
    Corrupt { file: String, kind: &'static str, found: String, expected: String },
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::CheckpointError),
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
}

fn listed(files: &[String]) -> String {
    if files.is_empty() { "no files".into() } else { files.join(", ") }
}
