//! Checks that turn impossible configurations and batches into errors with a name.

use super::{Inputs, ModelError, Targets};
use crate::config::{ModelConfig, Task};

impl ModelConfig {
    /// Whether a network of these sizes can be built.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the first key that doesn't fit.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |key, found: String, expected: String| Err(ModelError::Config { key, found, expected });
        let top = self.darknet.widths[5];
        if self.heads == 0 || !self.d_model.is_multiple_of(self.heads) {
            return wrong("heads", self.heads.to_string(), format!("must divide d_model = {}", self.d_model));
        }
        if self.d_model == 0 || !self.d_model.is_multiple_of(4) {
            return wrong("d_model", self.d_model.to_string(), "must be a multiple of 4".into());
        }
        if self.input_groups == 0 || !self.d_model.is_multiple_of(self.input_groups) {
            let expected = format!("must divide d_model = {}", self.d_model);
            return wrong("input_groups", self.input_groups.to_string(), expected);
        }
        if 2 * self.language.hidden != top {
            let expected = format!("twice this must be the last of darknet.widths, {top}");
            return wrong("language.hidden", self.language.hidden.to_string(), expected);
        }
        if let Some(width) = self.darknet.widths.iter().find(|width| **width == 0 || *width % 2 == 1) {
            return wrong("darknet.widths", width.to_string(), "widths must be even and not 0".into());
        }
        if self.darknet.strides.contains(&0) {
            return wrong("darknet.strides", "0".into(), "strides start at 1".into());
        }
        if self.bins < 2 {
            return wrong("bins", self.bins.to_string(), "at least 2".into());
        }
        if self.vertices == 0 && self.task != Task::Detection {
            return wrong("vertices", "0".into(), "at least 1".into());
        }
        for (key, p) in [("dropout", self.dropout), ("cross_attention_dropout", self.cross_attention_dropout)]
        {
            if !(0.0..1.0).contains(&p) {
                return wrong(key, p.to_string(), "must be at least 0 and below 1".into());
            }
        }
        Ok(())
    }
}

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
