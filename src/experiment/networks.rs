//! The networks that steps begin with or ask.

use std::path::PathBuf;

use super::origin::{Given, Origin, file_hash};
use super::work::{Asked, Training};
use super::{ExperimentError, Step, Workplace};
use crate::checkpoint::Checkpoint;
use crate::model::Network;

impl Workplace<'_> {
    /// The last checkpoint of a finished training, and no other.
    pub(super) fn trained(&self, step: &Step) -> Result<Checkpoint, ExperimentError> {
        let checkpoint = Checkpoint::open(&self.run_of(step))?;
        match checkpoint.warnings.first() {
            None => Ok(checkpoint),
            Some(warning) => {
                let path = self.store.folder(step).join("run");
                Err(ExperimentError::Step { path, problem: warning.to_string() })
            }
        }
    }

    /// A given checkpoint as it was when the plan was made.
    fn given(&self, given: &Given) -> Result<Checkpoint, ExperimentError> {
        given.warnings.iter().try_for_each(|warning| self.log.line(format!("WARNING: {warning}")))?;
        given.open()
    }

    pub(super) fn asked(&self, asked: &Asked) -> Result<(Checkpoint, Network), ExperimentError> {
        let checkpoint = match &asked.network {
            Origin::Given(given) => self.given(given)?,
            Origin::Made(step) => self.trained(step)?,
        };
        let network = checkpoint.network(asked.weights, self.device)?;
        Ok((checkpoint, network))
    }

    /// Refuses to begin a training with other weights than its key says.
    pub(super) fn check_beginning(&self, training: &Training) -> Result<(), ExperimentError> {
        match &training.from {
            None => {}
            Some(Origin::Given(given)) => drop(self.given(given)?),
            // Where its last checkpoint is damaged an older one would be taken.
            Some(Origin::Made(step)) => drop(self.trained(step)?),
        }
        match (&training.config.train.backbone, &training.backbone) {
            (Some(path), Some(expected)) if file_hash(path)? != *expected => {
                Err(ExperimentError::Changed { what: path.display().to_string() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn run_of(&self, step: &Step) -> PathBuf {
        self.store.folder(step).join("run")
    }
}
