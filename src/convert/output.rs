//! Files that are written whole, and never over others unless that is wanted.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use candle_core::Tensor;
use safetensors::SafeTensorError;
use sha2::{Digest, Sha256};

use super::ConvertError;
use crate::whole::{NewFile, folder_beside};

/// How files are put in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Replace what is there.
    pub force: bool,
}

impl Output {
    /// Refuses a place that is taken. Called first, so that nothing is computed in vain.
    pub fn check(self, path: &Path) -> Result<(), ConvertError> {
        match path.exists() && !self.force {
            true => Err(ConvertError::Exists { path: path.into() }),
            false => Ok(()),
        }
    }

    /// Lets `fill` write a file beside `path`, syncs it and renames it to `path`. The folder is
    /// made if need be.
    pub fn write<E: From<ConvertError>>(
        self,
        path: &Path,
        fill: impl FnOnce(&mut BufWriter<&File>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check(path)?;
        let failed = |source| ConvertError::Write { path: path.into(), source };
        let new = NewFile::beside(path).map_err(failed)?;
        let mut writer = BufWriter::with_capacity(1 << 20, new.file());
        fill(&mut writer)?;
        let flushed = writer.flush();
        drop(writer);
        flushed.and_then(|()| new.put()).map_err(failed)?;
        Ok(())
    }

    /// [`Output::write`] of bytes that are there already.
    pub fn bytes(self, path: &Path, bytes: &[u8]) -> Result<(), ConvertError> {
        self.write(path, |writer| {
            writer.write_all(bytes).map_err(|source| ConvertError::Write { path: path.into(), source })
        })
    }

    /// Refuses a folder that is there, and with `force` one that is no run.
    pub fn check_folder(self, path: &Path) -> Result<(), ConvertError> {
        let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if !path.exists() || empty {
            return Ok(());
        }
        self.check(path)?;
        match path.join("checkpoints").is_dir() {
            true => Ok(()),
            false => Err(ConvertError::NoRun { path: path.into() }),
        }
    }

    /// Lets `fill` make a folder beside `path` and renames it to `path`.
    pub fn folder(
        self,
        path: &Path,
        fill: impl FnOnce(&Path) -> Result<(), ConvertError>,
    ) -> Result<(), ConvertError> {
        self.check_folder(path)?;
        let failed = |source| ConvertError::Write { path: path.into(), source };
        let scratch = folder_beside(path).map_err(failed)?;
        let (new, old) = (scratch.path().join("new"), scratch.path().join("old"));
        fill(&new)?;
        let rename = || {
            if path.exists() {
                fs::rename(path, &old)?;
            }
            // The old one comes back rather than go with the scratch folder.
            fs::rename(&new, path).inspect_err(|_| drop(fs::rename(&old, path)))
        };
        rename().map_err(failed)
    }

    /// A safetensors file.
    pub fn tensors(self, path: &Path, tensors: &HashMap<String, Tensor>) -> Result<(), ConvertError> {
        self.check(path)?;
        let failed = |source| ConvertError::Write { path: path.into(), source };
        let new = NewFile::beside(path).map_err(failed)?;
        let written = match safetensors::serialize_to_file(tensors, None, new.path()) {
            Ok(()) => new.put(),
            Err(SafeTensorError::IoError(error)) => Err(error),
            Err(other) => Err(io::Error::other(other)),
        };
        written.map_err(failed)
    }
}

/// SHA-256 of a file, lower-case hexadecimal.
pub fn sha256(path: &Path) -> Result<String, ConvertError> {
    let failed = |source| ConvertError::Read { path: path.into(), source };
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_unless_forced_and_half_a_file_is_never_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file");
        Output::default().bytes(&path, b"first").unwrap();
        let refused = Output::default().bytes(&path, b"second").unwrap_err();
        assert!(matches!(refused, ConvertError::Exists { .. }), "{refused}");

        let broken = Output { force: true }.write(&path, |writer| {
            writer.write_all(b"half").unwrap();
            Err(ConvertError::Exists { path: "stands for any error".into() })
        });
        assert!(broken.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        Output { force: true }.bytes(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(
            sha256(&path).unwrap(),
            "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4"
        );
    }
}
