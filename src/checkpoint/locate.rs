//! From what a user names to checkpoint folders.

use std::fs;
use std::path::{Path, PathBuf};

use super::CheckpointError;
use super::manifest::MANIFEST;
use super::store::{Pointer, step_of, steps};

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This checkpoint and no other.
    One(PathBuf),
    /// The newest whole one of `folder`, not after step `up_to`.
    Newest { folder: PathBuf, up_to: usize },
}

pub(super) fn locate(path: &Path) -> Result<Place, CheckpointError> {
    if path.is_dir() {
        return in_folder(path);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.file_name().is_some_and(|name| name == Pointer::Latest.name()) {
        return newest(folder)?.ok_or_else(|| CheckpointError::NotFound { path: path.into() });
    }
    match target(path)? {
        Some(name) => Ok(Place::One(folder.join(name))),
        None => Err(CheckpointError::NotFound { path: path.into() }),
    }
}

fn in_folder(path: &Path) -> Result<Place, CheckpointError> {
    // A run may be called `step-1` too.
    let is_step = step_of(path).is_some() && !path.join("checkpoints").is_dir();
    if path.join(MANIFEST).exists() || is_step {
        return Ok(Place::One(path.into()));
    }
    for folder in [path.join("checkpoints"), path.into()] {
        if let Some(place) = newest(&folder)? {
            return Ok(place);
        }
    }
    Err(CheckpointError::NotACheckpoint { path: path.into(), missing: MANIFEST })
}

fn newest(folder: &Path) -> Result<Option<Place>, CheckpointError> {
    if !folder.is_dir() || steps(folder)?.is_empty() {
        return Ok(None);
    }
    // A pointer that is lost or unreadable leaves the newest of all.
    let name = target(&folder.join(Pointer::Latest.name())).unwrap_or(None);
    let up_to = name.and_then(|name| step_of(Path::new(&name))).unwrap_or(usize::MAX);
    Ok(Some(Place::Newest { folder: folder.into(), up_to }))
}

/// The folder name in a pointer; nothing if there is no such file.
fn target(pointer: &Path) -> Result<Option<String>, CheckpointError> {
    let read = |source| CheckpointError::Read { path: pointer.into(), source };
    if !pointer.is_file() {
        return Ok(None);
    }
    let bytes = fs::metadata(pointer).map_err(read)?.len();
    let wrong = |found| match pointer.file_name() {
        Some(name) if Pointer::ALL.iter().any(|known| known.name() == name) => {
            CheckpointError::Pointer { path: pointer.into(), found }
        }
        _ => CheckpointError::File { path: pointer.into(), bytes },
    };
    if bytes > 256 {
        return Err(wrong(format!("({bytes} bytes)")));
    }
    let text = String::from_utf8_lossy(&fs::read(pointer).map_err(read)?).trim().to_owned();
    if text.is_empty() || text.starts_with('.') || text.contains(['/', '\\', '\0', '\n']) {
        return Err(wrong(text));
    }
    Ok(Some(text))
}
