//! One file from a response body to the cache: goes on where it stopped, and is verified.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::HubError;

/// Sees a transfer grow.
pub trait Watch {
    /// `file` has `done` of `total` bytes.
    fn grew(&mut self, file: &str, done: u64, total: u64);
}

/// Nobody looks.
impl Watch for () {
    fn grew(&mut self, _: &str, _: u64, _: u64) {}
}

/// What the Hub says a file is.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    pub file: String,
    pub etag: String,
    pub size: u64,
}

/// Appends `body` to `partial`.
pub(super) fn append(
    announced: &Announced,
    partial: &Path,
    body: impl Read,
    watch: &mut dyn Watch,
) -> Result<(), HubError> {
    let failed = |source| HubError::Write { path: partial.into(), source };
    let mut out = OpenOptions::new().create(true).append(true).open(partial).map_err(failed)?;
    let mut done = out.metadata().map_err(failed)?.len();
    // What is longer than announced is seen by a byte; the disk is not filled with it.
    let mut body = body.take((announced.size + 1).saturating_sub(done));
    let mut buffer = vec![0; 1 << 16];
    loop {
        // A connection that breaks is told from a whole file by the size, below.
        let read = body.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).map_err(failed)?;
        done += read as u64;
        watch.grew(&announced.file, done, announced.size);
    }
    out.sync_all().map_err(failed)?;
    if done < announced.size {
        return Err(HubError::Interrupted {
            file: announced.file.clone(),
            found: done,
            expected: announced.size,
        });
    }
    Ok(())
}

/// Compares size and hash; a file that differs is removed. ETags are SHA-256 of large files and
/// git blob hashes of small ones; others can't be checked.
pub(super) fn verify(announced: &Announced, path: &Path) -> Result<(), HubError> {
    let failed = |source| HubError::Write { path: path.into(), source };
    let size = path.metadata().map_err(failed)?.len();
    let damaged = |kind, found: String, expected: String| {
        std::fs::remove_file(path).map_err(failed)?;
        Err(HubError::Corrupt { file: announced.file.clone(), kind, found, expected })
    };
    if size != announced.size {
        return damaged("size", size.to_string(), announced.size.to_string());
    }
    let hexadecimal = announced.etag.chars().all(|c| c.is_ascii_hexdigit());
    let (kind, found) = match announced.etag.len() {
        64 if hexadecimal => ("SHA-256", hash(Sha256::new(), path).map_err(failed)?),
        40 if hexadecimal => {
            let start = Sha1::new_with_prefix(format!("blob {size}\0"));
            ("git hash", hash(start, path).map_err(failed)?)
        }
        _ => return Ok(()),
    };
    if found == announced.etag { Ok(()) } else { damaged(kind, found, announced.etag.clone()) }
}

fn hash(mut state: impl Digest, path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(state.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        state.update(&buffer[..read]);
    }
}
