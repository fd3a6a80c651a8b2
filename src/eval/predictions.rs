//! `eval --predictions`: one JSON line for each expression.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::{Dataset, ImageId};
use crate::mask::Rle;
use crate::report::Weights;
use crate::whole::NewFile;

use super::{EvalError, Judged};

/// Writes what was said about each expression.
pub struct PredictionWriter {
    path: PathBuf,
    new: NewFile,
    file: BufWriter<File>,
}

#[derive(Serialize)]
struct Line<'a> {
    split: &'a str,
    weights: Weights,
    /// Of the referent in its split.
    index: usize,
    image_id: &'a ImageId,
    expression: &'a str,
    /// As said: the box, then the outline with its end token; of a second look those of the labeller, in its
    /// close-up.
    tokens: Vec<u32>,
    /// x, y, width, height in the original image.
    #[serde(rename = "box")]
    bbox: Option<[f64; 4]>,
    mask: Option<&'a Rle>,
    /// 0 to 1, standard protocol.
    iou: Option<f64>,
    box_iou: Option<f64>,
}

impl PredictionWriter {
    /// Begins a file. What is at `path` stays until [`PredictionWriter::finish`]; a writer that is dropped leaves nothing.
    pub fn create(path: &Path) -> Result<Self, EvalError> {
        let begin = || {
            let new = NewFile::beside(path)?;
            let file = BufWriter::new(new.file().try_clone()?);
            Ok(Self { path: path.into(), new, file })
        };
        begin().map_err(|source| EvalError::Write { path: path.into(), source })
    }

    /// The same, beginning with what the file holds: the splits before.
    pub fn append(path: &Path) -> Result<Self, EvalError> {
        let mut writer = Self::create(path)?;
        let copied = File::open(path).and_then(|mut before| io::copy(&mut before, &mut writer.file));
        copied.map_err(|source| EvalError::Write { path: path.into(), source })?;
        Ok(writer)
    }

    pub fn write(&mut self, dataset: &Dataset, weights: Weights, judged: &Judged) -> Result<(), EvalError> {
        let line = Line {
            split: dataset.split_name(),
            weights,
            index: judged.referent,
            image_id: &dataset.referent(judged.referent).image_id,
            expression: &dataset.referent(judged.asked).expressions[judged.expression],
            tokens: super::predict::tokens(&judged.answer),
            bbox: judged.shape.original_bbox(&judged.place).map(super::predict::sides),
            mask: judged.mask.as_ref(),
            iou: judged.outcome.mask_iou(),
            box_iou: judged.outcome.bbox,
        };
        let failed = |source| EvalError::Write { path: self.path.clone(), source };
        serde_json::to_writer(&mut self.file, &line).map_err(|error| failed(error.into()))?;
        self.file.write_all(b"\n").map_err(failed)
    }

    /// Puts everything in its place.
    pub fn finish(self) -> Result<(), EvalError> {
        let Self { path, new, mut file } = self;
        file.flush().and_then(|()| new.put()).map_err(|source| EvalError::Write { path, source })
    }
}
