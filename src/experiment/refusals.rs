//! What an experiment can't be made of: better said now than after hours.

use super::work::LabelMethod;
use super::{ExperimentError, Recipe};
use crate::config::{Config, Task, Transform};
use crate::data::INSTANCES;
use crate::pseudo::LEAST_EXAMPLES;

/// Whether a configuration can be the one of the trainings of outlines.
pub fn check_outlines(res: &Config) -> Result<(), ExperimentError> {
    if res.model.task == Task::Detection {
        return Err(ExperimentError::NotOutlines { task: "detection".to_owned() });
    }
    if res.data.train_transform == Transform::CloseUp {
        return Err(ExperimentError::OutlinesCloseUp);
    }
    own_annotations("outlines", res)
}

impl Recipe {
    /// Refuses settings that would have no effect, or scores that would not be what they are called.
    pub(super) fn check(&self) -> Result<(), ExperimentError> {
        check_outlines(&self.res)?;
        own_annotations("the labeller", &self.labeller)?;
        let [found, expected] = [&self.labeller, &self.res].map(|config| &config.train.finetune_from);
        if found == expected {
            return Ok(());
        }
        let [found, expected] = [found, expected].map(|path| match path {
            Some(path) => path.display().to_string(),
            None => "none".to_owned(),
        });
        Err(ExperimentError::LabellerFinetuned { found, expected })
    }

    /// Whether the sample is large enough to learn from it which labels are good.
    pub(super) fn can_calibrate(&self, method: LabelMethod) -> Result<(), ExperimentError> {
        let by = match method {
            LabelMethod::Rpp { .. } => return Ok(()),
            LabelMethod::Boxes(by) | LabelMethod::CloseUp(by) => by,
        };
        let records = (self.source.referents * self.ratio as usize).div_ceil(100);
        if records < LEAST_EXAMPLES && (by.quality > 0.0 || by.weights) {
            return Err(ExperimentError::FewMasks { records, least: LEAST_EXAMPLES });
        }
        Ok(())
    }
}

/// Which masks a training learns from is decided by its step.
pub(super) fn own_annotations(of: &'static str, config: &Config) -> Result<(), ExperimentError> {
    match &config.data.train_annotations {
        all if all == INSTANCES => Ok(()),
        found => Err(ExperimentError::OwnAnnotations { of, found: found.clone() }),
    }
}
