//! What can go wrong while reporting, and writing files whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use thiserror::Error;

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
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut file = NamedTempFile::new_in(folder).map_err(io)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all().map_err(io)?;
    readable_by_all(file.as_file()).map_err(io)?;
    file.persist(path).map_err(|failed| io(failed.error))?;
    Ok(())
}

/// Temporary files are private to their owner; reports are not.
#[cfg(unix)]
fn readable_by_all(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable_by_all(_: &File) -> std::io::Result<()> {
    Ok(())
}
