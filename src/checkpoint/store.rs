//! The `checkpoints/` folder of a run.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use candle_core::Tensor;

use super::files::{NewFolder, replace_file};
use super::scratch::{clear_scratch, remove_folder};
use super::{CheckpointError, TrainState};
use crate::config::Config;
use crate::text::Vocabulary;

pub(super) const CONFIG: &str = "config.toml";
pub(super) const VOCABULARY: &str = "vocabulary.json";
pub(super) const STATE: &str = "state.json";
pub(super) const MODEL: &str = "model.safetensors";
pub(super) const EMA: &str = "ema.safetensors";
pub(super) const OPTIMIZER: &str = "optimizer.safetensors";
const STEP: &str = "step-";

/// A small file that holds the name of a checkpoint folder beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    Latest,
    /// Best box accuracy.
    DetBest,
    /// Best mIoU.
    SegmBest,
}

impl Pointer {
    pub(super) const ALL: [Self; 3] = [Self::Latest, Self::DetBest, Self::SegmBest];

    /// Its file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::DetBest => "det_best",
            Self::SegmBest => "segm_best",
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a checkpoint holds.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    pub config: &'a Config,
    pub vocabulary: &'a Vocabulary,
    pub state: &'a TrainState,
    /// By the reference's `state_dict` names.
    pub model: HashMap<String, Tensor>,
    pub ema: Option<HashMap<String, Tensor>>,
    /// See `train::Adam::state`.
    pub optimizer: Option<HashMap<String, Tensor>>,
}

impl Snapshot<'_> {
    /// Writes the checkpoint as `folder`: beside it first, synced, then renamed. Whatever happens
    /// meanwhile, `folder` is the old one or the new one, whole. Where a file system can't let two folders
    /// change places in one step (NFS), a kill in between leaves the old one to [`Store::open`] to put back.
    pub fn write(&self, folder: &Path) -> Result<(), CheckpointError> {
        let mut new = NewFolder::beside(folder)?;
        new.text(CONFIG, &self.config.to_toml())?;
        new.text(VOCABULARY, &json(self.vocabulary))?;
        new.text(STATE, &json(self.state))?;
        new.tensors(MODEL, &self.model, false)?;
        if let Some(ema) = &self.ema {
            new.tensors(EMA, ema, false)?;
        }
        if let Some(optimizer) = &self.optimizer {
            new.tensors(OPTIMIZER, optimizer, true)?;
        }
        new.publish(folder)
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data") + "\n"
}

/// Checkpoints `step-N` of one run, with their pointers.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Makes the folder if need be, and puts in order what a killed process left half done.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let write = |source| CheckpointError::Write { path: folder.into(), source };
        fs::create_dir_all(folder).and_then(|()| clear_scratch(folder)).map_err(write)?;
        Ok(Self { folder: folder.into() })
    }

    /// The same of a process beside the one that saves: it changes nothing.
    pub fn beside(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }

    /// Whether a pointer names a checkpoint that is there.
    pub fn has(&self, pointer: Pointer) -> bool {
        let named = fs::read_to_string(self.folder.join(pointer.name()));
        named.is_ok_and(|name| self.folder.join(name.trim()).is_dir())
    }

    /// Whether the checkpoint of a step is there.
    fn has_step(&self, step: usize) -> bool {
        self.folder.join(format!("{STEP}{step}")).is_dir()
    }

    /// Forgets best scores whose checkpoints are gone, so that a later one can be the best there is. Such are left by
    /// going on from an older checkpoint than the best one.
    pub fn forget_lost(&self, state: &mut TrainState) {
        let lost = |pointer, state: &TrainState| match state.best_step(pointer) {
            Some(step) => !self.has_step(step),
            // Of a converted checkpoint, whose history is not known.
            None => !(state.scores.is_empty() && self.has(pointer)),
        };
        if lost(Pointer::DetBest, state) {
            state.best_det = None;
        }
        if lost(Pointer::SegmBest, state) {
            state.best_segm = None;
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes `step-N` for the snapshot's step, points `best` pointers and then `latest` to it, and
    /// removes all checkpoints but the newest `keep` and those that are marked. Marked older ones
    /// lose their optimizer state. Another pointer that named an earlier `step-N` names the best of the
    /// snapshot's own history then, or is removed.
    pub fn save(
        &self,
        snapshot: &Snapshot,
        best: &[Pointer],
        keep: usize,
    ) -> Result<PathBuf, CheckpointError> {
        let name = format!("{STEP}{}", snapshot.state.step);
        let target = self.folder.join(&name);
        snapshot.write(&target)?;
        for pointer in
            [Pointer::DetBest, Pointer::SegmBest].into_iter().filter(|pointer| !best.contains(pointer))
        {
            self.correct(pointer, snapshot.state)?;
        }
        // `latest` last: a run killed before it goes on from the one before and comes by here again.
        for pointer in best.iter().chain([&Pointer::Latest]) {
            replace_file(&self.folder.join(pointer.name()), &format!("{name}\n"))?;
        }
        self.prune(snapshot.state.step, keep)?;
        Ok(target)
    }

    /// A pointer of a time line that was given up may name the step that was saved anew, without being the best.
    pub(super) fn correct(&self, pointer: Pointer, state: &TrainState) -> Result<(), CheckpointError> {
        let (path, best) = (self.folder.join(pointer.name()), state.best_step(pointer));
        let name = |step| format!("{STEP}{step}");
        if self.named(pointer)? != Some(name(state.step)) || best == Some(state.step) {
            return Ok(());
        }
        match best.map(name).filter(|best| self.folder.join(best).is_dir()) {
            Some(best) => replace_file(&path, &format!("{best}\n")),
            None => fs::remove_file(&path).map_err(|source| CheckpointError::Write { path, source }),
        }
    }

    /// What a pointer says, if it is there. One that can't be read is an error: it may name the best checkpoint.
    fn named(&self, pointer: Pointer) -> Result<Option<String>, CheckpointError> {
        let path = self.folder.join(pointer.name());
        match fs::read(&path) {
            Ok(name) => Ok(Some(String::from_utf8_lossy(&name).trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CheckpointError::Read { path, source }),
        }
    }

    pub(super) fn prune(&self, newest: usize, keep: usize) -> Result<(), CheckpointError> {
        let mut steps = steps(&self.folder)?;
        // Later ones are of a time line that was given up, or damaged: not ours to judge.
        steps.retain(|&(step, _)| step <= newest);
        let mut marked = Vec::new();
        for pointer in Pointer::ALL {
            marked.extend(self.named(pointer)?.map(|name| self.folder.join(name)));
        }
        for (_, folder) in steps.iter().rev().skip(keep.max(1)) {
            let optimizer = folder.join(OPTIMIZER);
            let removed = match marked.contains(folder) {
                false => remove_folder(folder),
                true if optimizer.exists() => fs::remove_file(&optimizer),
                true => Ok(()),
            };
            removed.map_err(|source| CheckpointError::Write { path: folder.clone(), source })?;
        }
        Ok(())
    }
}

/// The folders `step-N` in `folder`, by step.
pub(super) fn steps(folder: &Path) -> Result<Vec<(usize, PathBuf)>, CheckpointError> {
    let read = |source| CheckpointError::Read { path: folder.into(), source };
    let mut steps = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if let Some(step) = step_of(&path).filter(|_| path.is_dir()) {
            steps.push((step, path));
        }
    }
    steps.sort();
    Ok(steps)
}

/// N of a path that ends with `step-N`.
pub(super) fn step_of(path: &Path) -> Option<usize> {
    path.file_name()?.to_str()?.strip_prefix(STEP)?.parse().ok()
}
