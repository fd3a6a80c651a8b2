//! Lines for people: on the terminal and in `log.txt`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;

use super::{Progress, ReportError};
use crate::parallel::world;

/// Where lines go besides the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
    /// Bars only.
    Bars,
    Nowhere,
}

/// Says each line on a stream and, if asked to, in a file; owns the progress bars, so that lines and
/// bars don't overwrite one another. Can be shared between threads.
#[derive(Debug)]
pub struct Log {
    stream: Stream,
    file: Option<(PathBuf, Mutex<File>)>,
    bars: MultiProgress,
}

impl Log {
    /// Lines on standard output. Of several processes only the root speaks.
    pub fn stdout() -> Self {
        match world().is_root() {
            true => Self { stream: Stream::Output, file: None, bars: MultiProgress::new() },
            false => Self::quiet(),
        }
    }

    /// Lines on standard error, for commands whose standard output is for machines.
    pub fn stderr() -> Self {
        Self { stream: Stream::Error, file: None, bars: MultiProgress::new() }
    }

    /// Bars only; lines as far as there is a file.
    pub fn bars() -> Self {
        Self { stream: Stream::Bars, ..Self::stdout() }
    }

    /// Lines nowhere, and no bars; for tests and for processes that don't speak.
    pub fn quiet() -> Self {
        let bars = MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden());
        Self { stream: Stream::Nowhere, file: None, bars }
    }

    /// The same, also appending each line to `path` (missing folders are made).
    pub fn with_file(self, path: &Path) -> Result<Self, ReportError> {
        let io = |source| ReportError::Io { path: path.into(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
        Ok(Self { file: Some((path.into(), Mutex::new(file))), ..self })
    }

    /// One line, or several parted by `\n` (a table). A file that can't be written is an error; a
    /// closed terminal or pipe is not: a run of days goes on without it.
    pub fn line(&self, text: impl AsRef<str>) -> Result<(), ReportError> {
        let text = text.as_ref().trim_end_matches('\n');
        if let Some((path, file)) = &self.file {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(file, "{text}").map_err(|source| ReportError::Io { path: path.clone(), source })?;
        }
        self.bars.suspend(|| {
            let said = match self.stream {
                Stream::Output => writeln!(std::io::stdout(), "{text}"),
                Stream::Error => writeln!(std::io::stderr(), "{text}"),
                Stream::Bars | Stream::Nowhere => Ok(()),
            };
            drop(said);
        });
        Ok(())
    }

    /// A progress bar of `total` items called `unit`.
    pub fn progress(&self, total: usize, label: &str, unit: &str) -> Progress {
        match self.stream {
            Stream::Nowhere => Progress::hidden(),
            Stream::Output | Stream::Error | Stream::Bars => {
                Progress::among(&self.bars, total as u64, label, unit)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run/log.txt");
        for text in ["first", "second\nthird\n"] {
            let log = Log::quiet().with_file(&path).expect("opened");
            log.line(text).expect("said");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "first\nsecond\nthird\n");
    }
}
