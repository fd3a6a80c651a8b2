//! `cells.csv`, `curves.csv` and `labels.csv`: what a table is drawn from.

use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::csv::{read, text};
use super::{Cell, LabelRow};
use crate::experiment::store::write_text;
use crate::experiment::{ExperimentError, SplitScores, SummaryRow, Trained};
use crate::report::{Lock, lock_file};

/// A cell on one split; the fields are the columns. Scores are percentages in the standard protocol;
/// `blind`, `permuted` and `ceiling` are mIoU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RawRow {
    pub row: String,
    pub group: String,
    pub dataset: String,
    pub method: String,
    pub ratio: u32,
    pub seed: u64,
    pub split: String,
    pub expressions: usize,
    pub miou: Option<f64>,
    pub oiou: Option<f64>,
    pub p50: Option<f64>,
    pub p60: Option<f64>,
    pub p70: Option<f64>,
    pub p80: Option<f64>,
    pub p90: Option<f64>,
    pub box_acc: Option<f64>,
    pub blind: Option<f64>,
    pub permuted: Option<f64>,
    pub ceiling: Option<f64>,
    pub labelled: Option<usize>,
    pub kept: Option<usize>,
    pub unlabelled: Option<usize>,
    pub label_iou: Option<f64>,
    pub label_p50: Option<f64>,
    pub label_p90: Option<f64>,
    /// Of the last training; none where a second look is scored.
    pub steps: Option<usize>,
    pub seconds: f64,
    /// What its last fifth brought on `val`.
    pub late_gain: Option<f64>,
    /// The step that the scores come from, whose name is a hash of all that went in.
    pub step: String,
    pub command: String,
}

/// mIoU on `val` during the last training of a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    pub row: String,
    pub seed: u64,
    pub steps: usize,
    pub miou: f64,
}

/// The files in a folder. Several processes may add to them.
#[derive(Clone, Debug)]
pub struct Results {
    pub folder: PathBuf,
}

impl Results {
    pub fn cells(&self) -> Result<Vec<RawRow>, ExperimentError> {
        read(&self.folder.join("cells.csv"))
    }

    pub fn curves(&self) -> Result<Vec<CurvePoint>, ExperimentError> {
        read(&self.folder.join("curves.csv"))
    }

    pub fn labels(&self) -> Result<Vec<LabelRow>, ExperimentError> {
        read(&self.folder.join("labels.csv"))
    }

    /// Adds labels that were measured, in the place of those of the same rows and seed.
    pub fn add_labels(&self, new: LabelRow) -> Result<(), ExperimentError> {
        let _lock = self.lock()?;
        let mut rows = self.labels()?;
        rows.retain(|old| (&old.row, &old.with, old.seed) != (&new.row, &new.with, new.seed));
        rows.push(new);
        write_text(&self.folder.join("labels.csv"), &text(&rows))
    }

    /// Whether a cell is there as its settings are now: then its steps need not be, such as where only the
    /// results were kept.
    pub fn has(&self, cell: &Cell<'_>) -> Result<bool, ExperimentError> {
        let step = cell.arm.evaluation.name();
        let is_it = |row: &RawRow| (&row.row, row.seed, &row.step) == (&cell.row.name, cell.seed, &step);
        Ok(self.cells()?.iter().any(is_it))
    }

    /// Adds a finished cell. Rows of it that other settings gave go.
    pub fn add(&self, cell: &Cell<'_>, found: &SummaryRow, seconds: f64) -> Result<(), ExperimentError> {
        let _lock = self.lock()?;
        let is_other = |row: &str, seed: u64| row != cell.row.name || seed != cell.seed;
        let mut cells = self.cells()?;
        let new: Vec<RawRow> = found.splits.iter().map(|split| raw(cell, found, split, seconds)).collect();
        if new.iter().all(|row| cells.contains(row)) {
            return Ok(());
        }
        cells.retain(|old| is_other(&old.row, old.seed));
        cells.extend(new);
        let mut curves = self.curves()?;
        curves.retain(|old| is_other(&old.row, old.seed));
        let curve = found.training.iter().flat_map(|training| &training.curve);
        curves.extend(curve.map(|&(steps, miou)| CurvePoint {
            row: cell.row.name.clone(),
            seed: cell.seed,
            steps,
            miou,
        }));
        write_text(&self.folder.join("curves.csv"), &text(&curves))?;
        write_text(&self.folder.join("cells.csv"), &text(&cells))
    }

    /// Held while files are read and written again, as far as the file system knows locks.
    pub(super) fn lock(&self) -> Result<(File, Lock), ExperimentError> {
        std::fs::create_dir_all(&self.folder).map_err(ExperimentError::io(&self.folder))?;
        let path = self.folder.join(".lock");
        let file = lock_file(&path).map_err(ExperimentError::io(&path))?;
        let lock = Lock::wait(&file);
        Ok((file, lock))
    }
}

fn raw(cell: &Cell<'_>, found: &SummaryRow, split: &SplitScores, seconds: f64) -> RawRow {
    let (scores, labels) = (&split.scores, found.labels.as_ref());
    let [p50, p60, p70, p80, p90] = scores.precision.shares();
    RawRow {
        row: cell.row.name.clone(),
        group: cell.row.group.clone(),
        dataset: cell.row.dataset.clone(),
        method: cell.row.method_name(),
        ratio: cell.row.ratio,
        seed: cell.seed,
        split: split.split.clone(),
        expressions: split.expressions,
        miou: scores.miou,
        oiou: scores.oiou,
        p50,
        p60,
        p70,
        p80,
        p90,
        box_acc: scores.box_acc,
        blind: split.blind,
        permuted: split.permuted,
        ceiling: split.ceiling,
        labelled: labels.map(|labels| labels.labelled),
        kept: labels.map(|labels| labels.kept),
        unlabelled: labels.map(|labels| labels.unlabelled),
        label_iou: labels.and_then(|labels| labels.iou),
        label_p50: labels.and_then(|labels| labels.p50),
        label_p90: labels.and_then(|labels| labels.p90),
        steps: found.training.as_ref().map(|training| training.steps),
        seconds,
        late_gain: found.training.as_ref().and_then(Trained::late_gain),
        step: cell.arm.evaluation.name(),
        command: format!("partial-res table --only {}", cell.name()),
    }
}
