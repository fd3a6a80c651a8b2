//! Where the weights that steps use come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ExperimentError, Step};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::pseudo::sha256;
use crate::report::Weights;

/// Where weights come from. A training begins with the raw ones, as in the reference.
#[derive(Clone, Debug)]
pub enum Origin {
    Given(Given),
    /// The last checkpoint of a training.
    Made(Arc<Step>),
}

/// A checkpoint that was there before, known by its content.
#[derive(Clone, Debug)]
pub struct Given {
    /// Of the checkpoint itself: a run or a pointer may mean another one later.
    pub folder: PathBuf,
    /// Those that are used.
    pub weights: Weights,
    pub content: GivenContent,
    /// What must be told when it is used: a damaged checkpoint for which it stands in.
    pub warnings: Vec<String>,
}

/// SHA-256 of the files of a checkpoint that decide about results, hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenContent {
    pub weights: String,
    pub config: String,
    pub vocabulary: String,
}

impl Origin {
    /// Identifies the checkpoint by its content.
    pub fn given(path: PathBuf) -> Result<Self, ExperimentError> {
        Ok(Self::Given(Given::of(&Checkpoint::open(&path)?, Weights::Raw)?))
    }

    /// Of what went into it.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Given(given) => &given.content.weights,
            Self::Made(step) => &step.key,
        }
    }

    /// The training that makes it.
    pub(super) fn step(&self) -> Option<&Arc<Step>> {
        match self {
            Self::Given(_) => None,
            Self::Made(step) => Some(step),
        }
    }
}

impl Given {
    pub(super) fn of(checkpoint: &Checkpoint, weights: Weights) -> Result<Self, ExperimentError> {
        let (folder, warnings) = (checkpoint.folder.clone(), checkpoint.warnings.clone());
        Ok(Self { folder, weights, content: GivenContent::of(checkpoint, weights)?, warnings })
    }

    /// The checkpoint, if it is still the one that went into the keys.
    pub(super) fn open(&self) -> Result<Checkpoint, ExperimentError> {
        let changed = || ExperimentError::Changed { what: format!("checkpoint {}", self.folder.display()) };
        let checkpoint = match Checkpoint::open(&self.folder) {
            // A training that goes on removes its older ones.
            Err(CheckpointError::NotFound { .. } | CheckpointError::NotACheckpoint { .. }) => {
                return Err(changed());
            }
            opened => opened?,
        };
        match GivenContent::of(&checkpoint, self.weights)? == self.content {
            true => Ok(checkpoint),
            false => Err(changed()),
        }
    }
}

impl GivenContent {
    fn of(checkpoint: &Checkpoint, weights: Weights) -> Result<Self, ExperimentError> {
        let hash = |name: &str| file_hash(&checkpoint.folder.join(name));
        Ok(Self {
            weights: checkpoint.hash(weights).unwrap_or_default().to_owned(),
            config: hash("config.toml")?,
            vocabulary: hash("vocabulary.json")?,
        })
    }
}

/// SHA-256 of a file, hexadecimal.
pub(super) fn file_hash(path: &Path) -> Result<String, ExperimentError> {
    std::fs::read(path).map(sha256).map_err(ExperimentError::io(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn copy(to: &Path) {
        fs::create_dir_all(to).expect("made");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/refshapes/rec");
        for file in fs::read_dir(from).expect("the shipped checkpoint").flatten() {
            fs::copy(file.path(), to.join(file.file_name())).expect("copied");
        }
    }

    #[test]
    fn a_checkpoint_is_the_one_of_the_plan_or_none() {
        let run = tempfile::tempdir().expect("a folder");
        let step = |number: usize| run.path().join(format!("checkpoints/step-{number}"));
        copy(&step(6));
        let Ok(Origin::Given(given)) = Origin::given(run.path().to_owned()) else { panic!("it is there") };
        // The run goes on.
        copy(&step(18));
        assert_eq!(given.open().expect("unchanged").folder, step(6));
        // Another configuration, with the checksums that belong to it.
        let (config, manifest) = (step(6).join("config.toml"), step(6).join("manifest.json"));
        let text = fs::read_to_string(&config).expect("text") + "# another\n";
        fs::write(&config, &text).expect("written");
        let mut list: Value = serde_json::from_slice(&fs::read(&manifest).expect("read")).expect("JSON");
        list["files"]["config.toml"] = json!({"bytes": text.len(), "sha256": sha256(&text)});
        fs::write(&manifest, list.to_string()).expect("written");
        let error = given.open().expect_err("another one").to_string();
        assert!(error.contains("step-6 changed since the plan was made"), "{error}");
        // Removed by the run.
        fs::remove_dir_all(step(6)).expect("removed");
        let error = given.open().expect_err("gone").to_string();
        assert!(error.contains("step-6 changed since the plan was made"), "{error}");
    }
}
