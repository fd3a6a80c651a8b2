//! Files and folders that are there whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use safetensors::SafeTensorError;
use tempfile::TempDir;

use super::CheckpointError;
use super::manifest::{Entry, MANIFEST, Manifest};
use super::scratch::move_in;
use crate::whole::{NewFile, folder_beside, readable_by_all, sync_folder};

/// A folder under construction beside its later place. Dropped, it leaves nothing.
pub(super) struct NewFolder {
    scratch: TempDir,
    entries: BTreeMap<String, Entry>,
}

impl NewFolder {
    pub fn beside(target: &Path) -> Result<Self, CheckpointError> {
        let write = |source| CheckpointError::Write { path: target.into(), source };
        let scratch = folder_beside(target).map_err(write)?;
        Ok(Self { scratch, entries: BTreeMap::new() })
    }

    pub fn text(&mut self, name: &str, text: &str) -> Result<(), CheckpointError> {
        let path = self.scratch.path().join(name);
        let written = fs::write(&path, text);
        self.finish(name, path, false, written)
    }

    /// Tensors in one file; `resume` marks what only resuming needs.
    pub fn tensors(
        &mut self,
        name: &str,
        tensors: &HashMap<String, Tensor>,
        resume: bool,
    ) -> Result<(), CheckpointError> {
        let path = self.scratch.path().join(name);
        let written = match safetensors::serialize_to_file(tensors, None, &path) {
            Ok(()) => Ok(()),
            Err(SafeTensorError::IoError(error)) => Err(error),
            Err(other) => Err(io::Error::other(other)),
        };
        self.finish(name, path, resume, written)
    }

    fn finish(
        &mut self,
        name: &str,
        path: PathBuf,
        resume: bool,
        written: io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let entry = written.and_then(|()| {
            readable_by_all(&path)?;
            File::open(&path)?.sync_all()?;
            Entry::of(&path, resume)
        });
        match entry {
            Ok(entry) => {
                self.entries.insert(name.to_owned(), entry);
                Ok(())
            }
            Err(source) => Err(CheckpointError::Write { path, source }),
        }
    }

    /// Writes the manifest, then renames the folder to `target`; a folder of that name is replaced.
    pub fn publish(mut self, target: &Path) -> Result<(), CheckpointError> {
        let manifest = Manifest::new(std::mem::take(&mut self.entries));
        let text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
        self.text(MANIFEST, &text)?;
        let publish = || {
            readable_by_all(self.scratch.path())?;
            sync_folder(self.scratch.path())?;
            move_in(self.scratch, target)
        };
        publish().map_err(|source| CheckpointError::Write { path: target.into(), source })
    }
}

/// Writes `text` to a new file that takes the place of `path`.
pub(super) fn replace_file(path: &Path, text: &str) -> Result<(), CheckpointError> {
    let replace = || {
        let mut new = NewFile::beside(path)?;
        io::Write::write_all(new.file_mut(), text.as_bytes())?;
        new.put()
    };
    replace().map_err(|source| CheckpointError::Write { path: path.into(), source })
}
