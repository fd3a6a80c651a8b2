//! Folders that take minutes to make: whole or not at all, and swept up after a process that was killed.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::report::{Lock, lock_file};
use crate::whole::{SCRATCH, folder_beside, parent, readable_by_all, sync_all, sync_folder};

/// In a scratch folder: held as long as somebody works in it.
const LOCK: &str = "lock";

/// A folder under construction beside its later place. Dropped, it leaves nothing.
pub(super) struct NewFolder {
    folder: TempDir,
    lock: File,
}

impl NewFolder {
    /// Sweeps up what killed processes left beside `target`.
    pub fn beside(target: &Path) -> io::Result<Self> {
        let folder = folder_beside(target)?;
        let lock = lock_file(&folder.path().join(LOCK))?;
        Lock::ask(&lock);
        sweep(parent(target))?;
        Ok(Self { folder, lock })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives it the name `target`; false if another process was first.
    pub fn put(self, target: &Path) -> io::Result<bool> {
        fs::remove_file(self.path().join(LOCK))?;
        drop(self.lock);
        readable_by_all(self.folder.path())?;
        // A machine that goes down must not leave a folder of empty files under its name.
        sync_all(self.folder.path())?;
        match fs::rename(self.folder.path(), target) {
            Ok(()) => {
                // Its path is gone: nothing is left to delete.
                let _ = self.folder.keep();
                sync_folder(parent(target))?;
                Ok(true)
            }
            Err(_) if target.exists() => Ok(false),
            Err(source) => Err(source),
        }
    }
}

/// Removes scratch folders in which nobody works. One without a lock has only just begun, or is about to be renamed.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let lock = entry.path().join(LOCK);
        if entry.file_name().to_string_lossy().starts_with(SCRATCH)
            && File::open(&lock).is_ok_and(|lock| Lock::ask(&lock) == Lock::Held)
        {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_swept_up_and_what_another_makes_is_not() {
        let root = tempfile::tempdir().expect("a folder");
        let left = root.path().join(format!("{SCRATCH}killed"));
        fs::create_dir(&left).expect("made");
        fs::write(left.join(LOCK), "").expect("written");
        let target = root.path().join("refshapes");
        let [first, second] = [(); 2].map(|()| NewFolder::beside(&target).expect("made"));
        assert!(!left.exists() && first.path().exists() && second.path().exists());
        for folder in [&first, &second] {
            fs::write(folder.path().join("image"), "").expect("written");
        }
        assert!(first.put(&target).expect("put") && !second.put(&target).expect("late"));
        let names =
            fs::read_dir(root.path()).expect("listed").map(|entry| entry.expect("an entry").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["refshapes"]);
        assert_eq!(fs::read_dir(&target).expect("listed").count(), 1);
    }
}
