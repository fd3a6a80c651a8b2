//! The folder of a run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::TrainError;
use crate::checkpoint::Store;
use crate::config::Config;
use crate::parallel::world;
use crate::report::{Lock, lock_file};

/// `runs/<time>_<config>/`: `config.toml`, `log.txt`, `results.csv`, `results.png`, `samples/`,
/// `checkpoints/`, `lock`.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A new folder in `runs`, named after the time (UTC) and the configuration's name.
    pub fn create(runs: &Path, name: &str, config: &Config) -> Result<Self, TrainError> {
        let plain = |c: char| if c.is_alphanumeric() || "-._".contains(c) { c } else { '-' };
        let name: String = name.chars().map(plain).collect();
        let time = timestamp(SystemTime::now());
        let error = |path: &Path, source| TrainError::Run { path: path.into(), source };
        std::fs::create_dir_all(runs).map_err(|source| error(runs, source))?;
        // Another run of this second makes room by a number.
        for attempt in 1.. {
            let number = if attempt == 1 { String::new() } else { format!("-{attempt}") };
            let path = runs.join(format!("{time}_{name}{number}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Self::at(path, config),
                Err(taken) if taken.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(error(&path, source)),
            }
        }
        unreachable!("some number is free")
    }

    /// The folder `path`, made if need be, with this configuration written into it.
    pub fn at(path: PathBuf, config: &Config) -> Result<Self, TrainError> {
        let written = std::fs::create_dir_all(&path)
            .and_then(|()| std::fs::write(path.join("config.toml"), config.to_toml()));
        match written {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(TrainError::Run { path, source }),
        }
    }

    /// Writes the configuration anew if it is another one than the folder's; whether it was.
    pub(super) fn update(&self, config: &Config) -> Result<bool, TrainError> {
        let (path, text) = (self.path.join("config.toml"), config.to_toml());
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(false);
        }
        std::fs::write(&path, text).map_err(|source| TrainError::Run { path, source })?;
        Ok(true)
    }

    /// [`RunFolder::create`] by the root process, for all processes.
    pub fn create_together(runs: &Path, name: &str, config: &Config) -> Result<Self, TrainError> {
        if world().is_root() {
            let run = Self::create(runs, name, config)?;
            world().broadcast(run.path.as_os_str().as_encoded_bytes().to_vec());
            return Ok(run);
        }
        let bytes = world().broadcast(Vec::new());
        Ok(Self { path: PathBuf::from(String::from_utf8_lossy(&bytes).into_owned()) })
    }

    /// The run that a checkpoint folder `RUN/checkpoints/step-N` belongs to, by the path it was named with: `checkpoints`
    /// may be a link to a larger disk.
    pub fn of_checkpoint(folder: &Path) -> Result<Self, TrainError> {
        let run = |source| TrainError::Run { path: folder.into(), source };
        let of = |path: &Path| {
            let checkpoints = path.parent().filter(|parent| parent.ends_with("checkpoints"))?;
            checkpoints.parent().map(|path| Self { path: path.into() })
        };
        if let Some(run) = of(&std::path::absolute(folder).map_err(run)?) {
            return Ok(run);
        }
        // A link to the checkpoint itself, or a path with `..` in it.
        let path = std::fs::canonicalize(folder).map_err(run)?;
        of(&path).ok_or(TrainError::NoRun { path })
    }

    /// Keeps other processes from training in this folder as long as the file is held, as far as the file
    /// system knows locks.
    pub(super) fn lock(&self) -> Result<Option<File>, TrainError> {
        let path = self.path.join("lock");
        let file = lock_file(&path).map_err(|source| TrainError::Run { path, source })?;
        match Lock::ask(&file) {
            Lock::Busy => Err(TrainError::Busy { path: self.path.clone() }),
            Lock::Held | Lock::Unknown => Ok(Some(file)),
        }
    }

    /// The run in `runs` that saved a checkpoint last.
    pub fn newest(runs: &Path) -> Option<PathBuf> {
        let entries = std::fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path());
        let saved = |run: &PathBuf| std::fs::metadata(run.join("checkpoints/latest")).ok()?.modified().ok();
        entries.filter_map(|run| Some((saved(&run)?, run))).max().map(|(_, run)| run)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log.txt")
    }

    pub fn results(&self) -> PathBuf {
        self.path.join("results.csv")
    }

    pub fn curves(&self) -> PathBuf {
        self.path.join("results.png")
    }

    /// Overlays of validation samples.
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// Put in order by the root process, which alone writes to them.
    pub fn checkpoints(&self) -> Result<Store, TrainError> {
        let folder = self.path.join("checkpoints");
        if world().is_root() { Ok(Store::open(&folder)?) } else { Ok(Store::beside(&folder)) }
    }

    /// Puts in order what a killed process left half done among the checkpoints of the run at `path`, before one of
    /// them is chosen.
    pub fn mend(path: &Path) -> Result<(), TrainError> {
        let run = Self { path: path.to_owned() };
        let _lock = run.lock()?;
        run.checkpoints().map(drop)
    }
}

/// `20261122-144511`, UTC.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (mut days, second) = (seconds / 86400, seconds % 86400);
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}{month:02}{:02}-{hour:02}{minute:02}{:02}", days + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[cfg(unix)]
    #[test]
    fn a_run_is_found_though_its_checkpoints_lie_elsewhere() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().canonicalize().expect("a path");
        let (run, disk) = (folder.join("run"), folder.join("disk/checkpoints"));
        std::fs::create_dir_all(disk.join("step-1")).expect("made");
        std::fs::create_dir(&run).expect("made");
        symlink(&disk, run.join("checkpoints")).expect("linked");
        let of = |checkpoint: &Path| RunFolder::of_checkpoint(checkpoint).map(|run| run.path);
        assert_eq!(of(&run.join("checkpoints/step-1")).expect("a run"), run);
        // What is named otherwise is found where it lies.
        symlink(disk.join("step-1"), folder.join("mine")).expect("linked");
        assert_eq!(of(&folder.join("mine")).expect("a run"), folder.join("disk"));
        assert!(matches!(of(&disk), Err(TrainError::NoRun { .. })));
    }

    #[test]
    fn names_sort_by_time() {
        let at = |seconds| timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101-000000");
        assert_eq!(at(951_827_696), "20000229-123456");
        assert_eq!(at(1_798_761_599), "20261231-235959");
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::default();
        let one = RunFolder::create(folder.path(), "res/mine.toml", &config).expect("made");
        let two = RunFolder::create(folder.path(), "res/mine.toml", &config).expect("made beside it");
        assert_ne!(one.path(), two.path());
        assert!(one.path().display().to_string().ends_with("_res-mine.toml"));
        assert_eq!(RunFolder::newest(folder.path()), None);
        // Whatever it is called: the one that saved last.
        for (seconds, run) in [(7, one.path().to_owned()), (5, folder.path().join("det_best"))] {
            std::fs::create_dir_all(run.join("checkpoints")).expect("made");
            let latest = std::fs::File::create(run.join("checkpoints/latest")).expect("made");
            latest.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).expect("set");
        }
        assert_eq!(RunFolder::newest(folder.path()).as_deref(), Some(one.path()));
    }
}
