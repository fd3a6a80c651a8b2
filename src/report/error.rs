//! What can go wrong while reporting, and writing files whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::whole::NewFile;

/// A report that could not be read or written.
#[derive(Debug, Error)]
pub enum ReportError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: no results table of this program: its first line is `{found}`, expected `{expected}`")]
    Header { path: PathBuf, found: String, expected: String },
    #[error("{path}: line {line}, column {column}: found `{found}`, which does not belong there")]
    Cell { path: PathBuf, line: usize, column: &'static str, found: String },
    #[error("{path}: {source}")]
    Picture { path: PathBuf, source: image::ImageError },
    #[error("drawing the curves failed: {0}")]
    Plot(String),
    #[error("{path}: no evaluation in it yet, so there is nothing to draw")]
    NoResults { path: PathBuf },
}

/// Gives `write` a new file beside `path`, syncs it and renames it to `path`: whoever looks finds the
/// old file or the new one. Missing folders are made.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), ReportError>,
) -> Result<(), ReportError> {
    let io = |source| ReportError::Io { path: path.into(), source };
    let mut new = NewFile::beside(path).map_err(io)?;
    write(new.file_mut())?;
    new.put().map_err(io)
}
