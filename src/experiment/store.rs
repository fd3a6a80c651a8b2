//! Where steps are kept: a folder each, named after its key.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::source::absolute;
use super::work::Work;
use super::{Done, ExperimentError, Step};
use crate::data::INSTANCES;
use crate::pseudo::{pick_file, sample_file};
use crate::report::{Lock, ReportError, lock_file, write_whole};

const INPUTS: &str = "inputs.json";
const DONE: &str = "done.json";
const LOCK: &str = "lock";
/// What a labelling writes into its folder.
pub(super) const PREDICTIONS: &str = "predictions.jsonl";

/// `FOLDER/steps/<kind>-<key>/`: `inputs.json` (what went into the key), what the step makes, and, written
/// last, `done.json`. Several processes may work on one store.
#[derive(Clone, Debug)]
pub struct StepStore {
    steps: PathBuf,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Done,
    /// Something is there, which will be gone on with.
    Begun,
    ToDo,
}

/// A step that nobody else works on until this is dropped.
#[derive(Debug)]
pub struct Claim {
    pub folder: PathBuf,
    /// Its lock ends with it.
    _lock: File,
}

impl StepStore {
    /// Nothing is written before a step is claimed.
    pub fn new(folder: &Path) -> Result<Self, ExperimentError> {
        Ok(Self { steps: absolute(&folder.join("steps"))? })
    }

    pub fn folder(&self, step: &Step) -> PathBuf {
        self.steps.join(step.name())
    }

    /// The annotations that a step wrote.
    pub fn annotations_of(&self, step: &Step) -> PathBuf {
        let name = match &step.work {
            Work::Sample(sampling) => sample_file(sampling.ratio),
            Work::Pick(picking) => pick_file(picking.ratio),
            Work::Train(_) | Work::Label(_) | Work::Evaluate(_) => INSTANCES.to_owned(),
        };
        self.folder(step).join(name)
    }

    /// The predictions that a labelling wrote.
    pub fn predictions_of(&self, step: &Step) -> PathBuf {
        self.folder(step).join(PREDICTIONS)
    }

    pub fn state(&self, step: &Step) -> Result<State, ExperimentError> {
        if self.done(step)?.is_some() {
            return Ok(State::Done);
        }
        let begun = self.folder(step).join(INPUTS).exists();
        Ok(if begun { State::Begun } else { State::ToDo })
    }

    /// What came of a finished step.
    pub fn done(&self, step: &Step) -> Result<Option<Done>, ExperimentError> {
        let path = self.folder(step).join(DONE);
        if path.exists() { read(&path).map(Some) } else { Ok(None) }
    }

    /// The right to make a step; none while another process has it, as far as the file system knows locks.
    pub fn claim(&self, step: &Step) -> Result<Option<Claim>, ExperimentError> {
        let folder = self.folder(step);
        std::fs::create_dir_all(&folder).map_err(ExperimentError::io(&folder))?;
        let path = folder.join(LOCK);
        let lock = lock_file(&path).map_err(ExperimentError::io(&path))?;
        if Lock::ask(&lock) == Lock::Busy {
            return Ok(None);
        }
        let inputs = folder.join(INPUTS);
        if !inputs.exists() {
            write(&inputs, &step.inputs)?;
        } else if read::<Value>(&inputs)? != step.inputs {
            let problem = "it is of another step whose key begins alike".to_owned();
            return Err(ExperimentError::Step { path: inputs, problem });
        }
        Ok(Some(Claim { folder, _lock: lock }))
    }
}

impl Claim {
    /// Marks the step as finished; everything it made must be on the disk.
    pub fn finish(self, done: &Done) -> Result<(), ExperimentError> {
        write(&self.folder.join(DONE), done)
    }
}

/// Writes JSON whole.
pub(super) fn write(path: &Path, value: &impl Serialize) -> Result<(), ExperimentError> {
    let text = serde_json::to_string_pretty(value).expect("plain data") + "\n";
    write_text(path, &text)
}

/// Writes a file whole.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), ExperimentError> {
    let io = |source| ReportError::Io { path: path.to_owned(), source };
    Ok(write_whole(path, |file| file.write_all(text.as_bytes()).map_err(io))?)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ExperimentError> {
    let bytes = std::fs::read(path).map_err(ExperimentError::io(path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ExperimentError::Step { path: path.to_owned(), problem: error.to_string() })
}
