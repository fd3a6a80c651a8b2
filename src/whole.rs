//! Files that are there whole or not at all: written beside their place, synced, and renamed to it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

/// Begins the names of what is being written or removed. A process that is killed leaves it behind.
pub const SCRATCH: &str = ".partial-";

/// A file under construction. Dropped, it leaves nothing.
pub struct NewFile {
    file: NamedTempFile,
    target: PathBuf,
}

impl NewFile {
    /// In the folder of its later place, which is made if need be. A link is followed to where it leads.
    ///
    /// # Errors
    /// Something else than a file under that name, such as a folder, a pipe or the terminal: it would be replaced, too.
    pub fn beside(target: &Path) -> io::Result<Self> {
        if target.metadata().is_ok_and(|there| !there.is_file()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "something else than a file has that name",
            ));
        }
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.into());
        let file = made_parent(&target).and_then(|folder| scratch().tempfile_in(folder))?;
        Ok(Self { file, target })
    }

    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    pub fn file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Gives it its name; a file of that name is replaced. Whoever looks finds the old one or the new one, also
    /// after the machine went down.
    pub fn put(self) -> io::Result<()> {
        readable_by_all(self.path())?;
        self.file().sync_all()?;
        self.file.persist(&self.target).map_err(|failed| failed.error)?;
        sync_folder(parent(&self.target))
    }
}

/// A folder under construction beside its later place. Dropped, it leaves nothing.
pub fn folder_beside(target: &Path) -> io::Result<TempDir> {
    made_parent(target).and_then(|folder| scratch().tempdir_in(folder))
}

fn scratch() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(SCRATCH);
    builder
}

/// The folder that `path` is in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn made_parent(path: &Path) -> io::Result<&Path> {
    let folder = parent(path);
    fs::create_dir_all(folder)?;
    Ok(folder)
}

/// Whatever is in a folder, and in the folders in it, is on the disk from then on.
pub fn sync_all(folder: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let opened = File::open(folder)?;
        // One call for the whole file system: a thousand small files synced one by one take minutes on some disks.
        // SAFETY: the descriptor is open until the call returns.
        match unsafe { libc::syncfs(opened.as_raw_fd()) } {
            0 => Ok(()),
            _ => if_granted(Err(io::Error::last_os_error())),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { sync_all(&path)? } else { File::open(&path)?.sync_all()? }
        }
        Ok(())
    }
}

/// What was renamed in a folder lasts from then on, where the file system can say so.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { if_granted(File::open(folder).and_then(|folder| folder.sync_all())) } else { Ok(()) }
}

/// Some file systems (FAT, FUSE, network drives) know no modes and can't sync a folder. What is written there is whole
/// all the same; a broken or full disk is an error.
fn if_granted(done: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match done {
        Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => Ok(()),
        other => other,
    }
}

/// Temporary files and folders are private to their owner; what they become is not.
#[cfg(unix)]
pub fn readable_by_all(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o755 } else { 0o644 };
    if_granted(fs::set_permissions(path, fs::Permissions::from_mode(mode)))
}

#[cfg(not(unix))]
pub fn readable_by_all(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_and_what_is_no_file_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let [place, link] = ["place", "link"].map(|name| folder.path().join(name));
        fs::write(&place, "old").expect("written");
        std::os::unix::fs::symlink(&place, &link).expect("linked");
        NewFile::beside(&link).expect("begun").put().expect("put");
        assert!(link.is_symlink() && fs::read(&place).expect("read").is_empty());
        for other in [folder.path(), Path::new("/dev/null")] {
            assert_eq!(
                NewFile::beside(other).err().map(|error| error.kind()),
                Some(io::ErrorKind::InvalidInput)
            );
        }
    }

    #[test]
    fn what_a_file_system_refuses_is_no_error_and_a_broken_or_full_disk_is() {
        let granted = |code| if_granted(Err(io::Error::from_raw_os_error(code))).is_ok();
        assert!(
            [libc::EPERM, libc::EACCES, libc::EINVAL, libc::ENOTSUP, libc::ENOSYS].into_iter().all(granted)
        );
        assert!(![libc::EIO, libc::ENOSPC, libc::ENOENT].into_iter().any(granted));
    }
}
