//! Folders that take their place in one step, or leave it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::whole::{SCRATCH, folder_beside, parent, sync_folder};

/// In a scratch folder: what is being removed. A folder of another name is whole, and was to be replaced.
const REMOVED: &str = "removed";

/// Gives the folder `new` the name `target`, beside it; a folder of that name is replaced.
pub(super) fn move_in(new: TempDir, target: &Path) -> io::Result<()> {
    let before = match target.exists() {
        // What was there is in the place of the new one then.
        true if exchange(new.path(), target)? => Some(new),
        true => Some(replace(new, target)?),
        false => {
            fs::rename(new.path(), target)?;
            forget(new);
            None
        }
    };
    sync_folder(parent(target))?;
    before.map_or(Ok(()), TempDir::close)
}

/// Lets two folders change places in one step; false where the file system can't.
#[cfg(target_os = "linux")]
fn exchange(new: &Path, target: &Path) -> io::Result<bool> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let (new, target, here) = (name(new)?, name(target)?, libc::AT_FDCWD);
    // SAFETY: both are strings that end with a zero and live until the call returns.
    match unsafe { libc::renameat2(here, new.as_ptr(), here, target.as_ptr(), libc::RENAME_EXCHANGE) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => Ok(false),
            error => Err(error),
        },
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_new: &Path, _target: &Path) -> io::Result<bool> {
    Ok(false)
}

/// The same in two steps; gives what was there, to be removed. Killed in between, it lies under its own name in a
/// scratch folder, out of which [`clear_scratch`] takes it.
fn replace(new: TempDir, target: &Path) -> io::Result<TempDir> {
    let before = set_aside(target, target.file_name().unwrap_or(OsStr::new(REMOVED)))?;
    match fs::rename(new.path(), target) {
        Ok(()) => {
            forget(new);
            Ok(before)
        }
        Err(error) => {
            put_back(before.path(), parent(target))?;
            Err(error)
        }
    }
}

/// The folder has another name: there is nothing to clean up under this one.
fn forget(moved: TempDir) {
    drop(moved.keep());
}

/// Removes a folder, if it is there, in such a way that half of it is never found under its name.
pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    if folder.exists() { set_aside(folder, OsStr::new(REMOVED))?.close() } else { Ok(()) }
}

/// Moves a folder into a scratch folder beside it, under `name`.
fn set_aside(folder: &Path, name: &OsStr) -> io::Result<TempDir> {
    let away = folder_beside(folder)?;
    fs::rename(folder, away.path().join(name))?;
    Ok(away)
}

/// Takes folders out of a scratch folder back to `folder`, if nothing else took their places.
fn put_back(scratch: &Path, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(scratch)? {
        let entry = entry?;
        let (from, to) = (entry.path(), folder.join(entry.file_name()));
        if from.is_dir() && entry.file_name() != REMOVED && !to.exists() {
            fs::rename(from, to)?;
        }
    }
    Ok(())
}

/// Removes what a killed process left half done in `folder`, and puts back what it was about to replace.
pub(super) fn clear_scratch(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
            let path = entry.path();
            if path.is_dir() {
                put_back(&path, folder)?;
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder under its scratch name, to replace one that is there.
    fn new_beside(target: &Path) -> TempDir {
        fs::create_dir_all(target).expect("made");
        fs::write(target.join("which"), "old").expect("written");
        let new = folder_beside(target).expect("made");
        fs::write(new.path().join("which"), "new").expect("written");
        new
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").file_name());
        entries.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_is_replaced_by_whatever_the_file_system_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("step-1");
        let which = || fs::read_to_string(target.join("which")).expect("read");

        move_in(new_beside(&target), &target).expect("moved");
        assert_eq!((which(), names(folder.path())), ("new".into(), vec!["step-1".into()]));

        let new = new_beside(&target);
        drop(replace(new, &target).expect("replaced"));
        assert_eq!((which(), names(folder.path())), ("new".into(), vec!["step-1".into()]));
    }

    #[test]
    fn a_kill_between_the_two_steps_loses_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("step-1");
        let new = new_beside(&target);
        let before = set_aside(&target, OsStr::new("step-1")).expect("moved");
        assert!(!target.exists());
        forget(new);
        forget(before);
        // Neither comes back who was on his way out.
        fs::create_dir_all(folder.path().join(".partial-x").join(REMOVED)).expect("made");
        clear_scratch(folder.path()).expect("cleared");
        assert_eq!(names(folder.path()), ["step-1"]);
        assert_eq!(fs::read_to_string(target.join("which")).expect("read"), "old");

        // After the second step there is a new one.
        let before = replace(new_beside(&target), &target).expect("replaced");
        forget(before);
        clear_scratch(folder.path()).expect("cleared");
        assert_eq!(names(folder.path()), ["step-1"]);
        assert_eq!(fs::read_to_string(target.join("which")).expect("read"), "new");
    }
}
