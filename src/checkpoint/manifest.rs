//! Checksums of the files of a checkpoint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CheckpointError;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const PROGRAM: &str = concat!("partial-res ", env!("CARGO_PKG_VERSION"));
/// Raised when older programs could misread what is written.
pub(super) const FORMAT: u32 = 1;

/// The list of a checkpoint's files, written last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub format: u32,
    /// Which program wrote it.
    pub program: String,
    pub files: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Needed to resume training only; may have been removed to save space.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resume: bool,
}

impl Entry {
    pub fn of(path: &Path, resume: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    bytes += n as u64;
                }
            }
        }
        let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes, sha256, resume })
    }
}

impl Manifest {
    pub fn new(files: BTreeMap<String, Entry>) -> Self {
        Self { format: FORMAT, program: PROGRAM.to_owned(), files }
    }

    /// Reads the manifest of `folder` and compares every file with it.
    ///
    /// The outer error is a folder that can't be judged; the inner one says what is damaged.
    pub fn check(folder: &Path) -> Result<Result<Self, String>, CheckpointError> {
        let path = folder.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CheckpointError::NotACheckpoint { path: folder.into(), missing: MANIFEST });
            }
            Err(source) => return Err(CheckpointError::Read { path, source }),
        };
        let manifest: Self = match serde_json::from_slice(&text) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Err(format!("{MANIFEST} is unreadable ({error})"))),
        };
        if manifest.format > FORMAT {
            let found = manifest.format;
            return Err(CheckpointError::TooNew { path, found, known: FORMAT });
        }
        for (name, expected) in &manifest.files {
            if !is_plain(name) {
                return Ok(Err(format!("{MANIFEST} lists {name:?}, which is no name of a file beside it")));
            }
            if let Some(problem) = problem(&folder.join(name), name, expected)? {
                return Ok(Err(problem));
            }
        }
        Ok(Ok(manifest))
    }
}

/// Whether it is a file of the folder, not a path to somewhere else.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
}

fn problem(path: &Path, name: &str, expected: &Entry) -> Result<Option<String>, CheckpointError> {
    let found = std::fs::metadata(path).and_then(|file| match file.len() == expected.bytes {
        true => Entry::of(path, expected.resume).map(|found| (found.bytes, found == *expected)),
        false => Ok((file.len(), false)),
    });
    match found {
        Ok((_, true)) => Ok(None),
        Ok((bytes, _)) if bytes != expected.bytes => {
            Ok(Some(format!("{name} has {bytes} bytes, {} were written", expected.bytes)))
        }
        Ok(_) => Ok(Some(format!("{name} differs from its checksum"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok((!expected.resume).then(|| format!("{name} is missing")))
        }
        Err(source) => Err(CheckpointError::Read { path: path.into(), source }),
    }
}
