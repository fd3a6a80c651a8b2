//! Checks that turn impossible batches into errors with a name.

use super::{Inputs, ModelError, Targets};
use crate::config::{ModelConfig, Task};

fn expect(what: &'static str, found: usize, expected: usize) -> Result<(), ModelError> {
    if found == expected {
        return Ok(());
    }
    Err(ModelError::Batch { what, found: found.to_string(), expected: expected.to_string() })
}

impl Inputs {
    /// Whether rows and images fit together.
    ///
    /// # Errors
    /// [`ModelError::Batch`] names what doesn't.
    pub fn check(&self) -> Result<(), ModelError> {
        expect("image sizes", self.image_hw.len(), self.images.dim(0)?)?;
        expect("rows of words", self.words.dim(0)?, self.image_of.len())?;
        match self.image_of.iter().find(|image| **image as usize >= self.image_hw.len()) {
            None => Ok(()),
            Some(image) => Err(ModelError::Batch {
                what: "a row whose image index is",
                found: image.to_string(),
                expected: format!("below {}", self.image_hw.len()),
            }),
        }
    }
}

impl Targets {
    /// Whether this has what the network's losses need for so many rows.
    ///
    /// # Errors
    /// [`ModelError::Batch`] names what is missing or too much.
    pub fn check(&self, cfg: &ModelConfig, rows: usize) -> Result<(), ModelError> {
        expect("padded sizes", self.pad_hw.len(), rows)?;
        if cfg.task != Task::Segmentation || cfg.auxiliary.is_on() {
            expect("target boxes", self.boxes.as_ref().map_or(0, Vec::len), rows)?;
        }
        if cfg.task != Task::Detection {
            expect("target outlines", self.vertices.as_ref().map_or(0, Vec::len), rows)?;
        }
        if let Some(weights) = &self.weights {
            expect("weights of outlines", weights.len(), rows)?;
        }
        if cfg.auxiliary.has_pretext() && !cfg.auxiliary.pretext_classes.is_empty() {
            expect("rows of labels", self.labels.as_ref().map_or(0, Vec::len), rows)?;
            for labels in self.labels.iter().flatten() {
                expect("labels of a row", labels.len(), cfg.auxiliary.pretext_classes.len())?;
                for (&label, &classes) in labels.iter().zip(&cfg.auxiliary.pretext_classes) {
                    if label != u32::MAX && label as usize >= classes {
                        let expected = format!("below {classes}");
                        return Err(ModelError::Batch {
                            what: "as label",
                            found: label.to_string(),
                            expected,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}
