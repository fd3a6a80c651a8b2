//! `cells.csv` and `curves.csv`: what a table is drawn from.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Cell;
use crate::experiment::store::write_text;
use crate::experiment::{ExperimentError, SplitScores, SummaryRow};

/// A cell on one split. Scores are percentages in the standard protocol; `blind`, `permuted` and `ceiling`
/// are mIoU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Of the last training.
    pub steps: usize,
    pub seconds: f64,
    /// What its last fifth brought on `val`.
    pub late_gain: Option<f64>,
    /// The step that the scores come from, whose name is a hash of all that went in.
    pub step: String,
    pub command: String,
}

const CELLS: [&str; 30] = [
    "row",
    "group",
    "dataset",
    "method",
    "ratio",
    "seed",
    "split",
    "expressions",
    "miou",
    "oiou",
    "p50",
    "p60",
    "p70",
    "p80",
    "p90",
    "box_acc",
    "blind",
    "permuted",
    "ceiling",
    "labelled",
    "kept",
    "unlabelled",
    "label_iou",
    "label_p50",
    "label_p90",
    "steps",
    "seconds",
    "late_gain",
    "step",
    "command",
];

/// mIoU on `val` during the last training of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    pub row: String,
    pub seed: u64,
    pub steps: usize,
    pub miou: f64,
}

const CURVES: [&str; 4] = ["row", "seed", "steps", "miou"];

/// The two files in a folder. Several processes may add to them.
#[derive(Clone, Debug)]
pub struct Results {
    pub folder: PathBuf,
}

impl Results {
    pub fn cells(&self) -> Result<Vec<RawRow>, ExperimentError> {
        read(&self.folder.join("cells.csv"), &CELLS)
    }

    pub fn curves(&self) -> Result<Vec<CurvePoint>, ExperimentError> {
        read(&self.folder.join("curves.csv"), &CURVES)
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
        curves.extend(found.training.curve.iter().map(|&(steps, miou)| CurvePoint {
            row: cell.row.name.clone(),
            seed: cell.seed,
            steps,
            miou,
        }));
        write_text(&self.folder.join("curves.csv"), &lines(&curves, &CURVES))?;
        write_text(&self.folder.join("cells.csv"), &lines(&cells, &CELLS))
    }

    /// Held while files are read and written again.
    pub(super) fn lock(&self) -> Result<File, ExperimentError> {
        std::fs::create_dir_all(&self.folder).map_err(ExperimentError::io(&self.folder))?;
        let path = self.folder.join(".lock");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(ExperimentError::io(&path))?;
        file.lock().map_err(ExperimentError::io(&path))?;
        Ok(file)
    }
}

fn raw(cell: &Cell<'_>, found: &SummaryRow, split: &SplitScores, seconds: f64) -> RawRow {
    let (scores, labels) = (&split.scores, found.labels.as_ref());
    let [p50, p60, p70, p80, p90] = scores.precision.shares();
    RawRow {
        row: cell.row.name.clone(),
        group: cell.row.group.clone(),
        dataset: cell.row.dataset.clone(),
        method: cell.row.method.name().to_owned(),
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
        steps: found.training.steps,
        seconds,
        late_gain: found.training.late_gain(),
        step: cell.arm.evaluation.name(),
        command: format!("partial-res table --only {}", cell.name()),
    }
}

/// No cell needs quotes: commas in names become `_`.
fn lines(rows: &[impl Serialize], columns: &[&str]) -> String {
    let mut text = columns.join(",") + "\n";
    for row in rows {
        let row = serde_json::to_value(row).expect("plain data");
        let cells = columns.iter().map(|column| match &row[column] {
            Value::Null => String::new(),
            Value::String(text) => text.replace([',', '\n'], "_"),
            other => other.to_string(),
        });
        text += &(cells.collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

/// A file that is not there has no rows.
fn read<T: DeserializeOwned>(path: &Path, columns: &[&str]) -> Result<Vec<T>, ExperimentError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ExperimentError::Io { path: path.into(), source }),
    };
    let wrong = |problem: String| ExperimentError::Table { path: path.display().to_string(), problem };
    let mut found = text.lines();
    if found.next() != Some(&columns.join(",")) {
        return Err(wrong(format!("its first line is not `{}`; move it away", columns.join(","))));
    }
    let parse = |(line, number): (&str, usize)| {
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != columns.len() {
            return Err(wrong(format!(
                "line {number} has {} cells, expected {}",
                cells.len(),
                columns.len()
            )));
        }
        let object: Map<String, Value> =
            columns.iter().zip(cells).map(|(column, cell)| ((*column).to_owned(), value(cell))).collect();
        serde_path_to_error::deserialize(Value::Object(object))
            .map_err(|error| wrong(format!("line {number}: {error}")))
    };
    found.zip(2..).map(parse).collect()
}

/// Numbers are numbers; names begin with a letter.
fn value(cell: &str) -> Value {
    match cell {
        "" => Value::Null,
        cell => match cell.parse() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::String(cell.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("curves.csv");
        let point = |row: &str, seed, miou| CurvePoint { row: row.into(), seed, steps: 100, miou };
        let points = vec![point("unc-5", 1, 51.25), point("unc-5", 2, 50.0), point("e5", 3, 0.1)];
        std::fs::write(&path, lines(&points, &CURVES)).expect("written");
        assert_eq!(read::<CurvePoint>(&path, &CURVES).expect("read"), points);
        std::fs::write(&path, "row,seed,steps,miou\na,1,x,2\n").expect("written");
        let error = read::<CurvePoint>(&path, &CURVES).expect_err("no number").to_string();
        assert!(error.contains("line 2") && error.contains("steps"), "{error}");
    }
}
