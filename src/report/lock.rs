//! Files that one process writes at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

/// How asking for a file ended. What is held ends with the file handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    Held,
    /// Another process has it.
    Busy,
    /// The file system knows no locks (some network drives): nobody is kept out, nor is this process.
    Unknown,
}

impl Lock {
    /// Asks for the file.
    pub fn ask(file: &File) -> Self {
        match file.try_lock() {
            Ok(()) => Self::Held,
            Err(TryLockError::WouldBlock) => Self::Busy,
            Err(TryLockError::Error(_)) => Self::Unknown,
        }
    }

    /// Waits until no other process has the file.
    pub fn wait(file: &File) -> Self {
        loop {
            match file.lock() {
                Ok(()) => return Self::Held,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Self::Unknown,
            }
        }
    }
}

/// A file that is there to be locked, made if need be.
pub fn lock_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_handle_has_a_file_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || lock_file(&folder.path().join("lock")).expect("opened");
        let (first, second) = (open(), open());
        assert_eq!([Lock::ask(&first), Lock::ask(&second)], [Lock::Held, Lock::Busy]);
        drop(first);
        assert_eq!(Lock::wait(&second), Lock::Held);
    }
}
