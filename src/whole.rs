//! Files that are there whole or not at all: written beside their place, synced, and renamed to it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::{NamedTempFile, TempDir};

/// Begins the names of what is being written or removed. A process that is killed leaves it behind.
pub const SCRATCH: &str = ".partial-";

/// A file under construction. Dropped, it leaves nothing.
pub struct NewFile(NamedTempFile);

impl NewFile {
    /// In the folder of its later place, which is made if need be.
    pub fn beside(target: &Path) -> io::Result<Self> {
        made_parent(target).and_then(|folder| scratch().tempfile_in(folder)).map(Self)
    }

    pub fn file(&self) -> &File {
        self.0.as_file()
    }

    pub fn file_mut(&mut self) -> &mut File {
        self.0.as_file_mut()
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives it the name `target`; a file of that name is replaced. Whoever looks finds the old one or the new one, also
    /// after the machine went down.
    pub fn put(self, target: &Path) -> io::Result<()> {
        readable_by_all(self.path())?;
        self.file().sync_all()?;
        self.0.persist(target).map_err(|failed| failed.error)?;
        sync_folder(parent(target))
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
    fn what_a_file_system_refuses_is_no_error_and_a_broken_or_full_disk_is() {
        let granted = |code| if_granted(Err(io::Error::from_raw_os_error(code))).is_ok();
        assert!(
            [libc::EPERM, libc::EACCES, libc::EINVAL, libc::ENOTSUP, libc::ENOSYS].into_iter().all(granted)
        );
        assert!(![libc::EIO, libc::ENOSPC, libc::ENOENT].into_iter().any(granted));
    }
}
