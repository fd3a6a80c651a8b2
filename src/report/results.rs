//! `results.csv`: one row for each split, weights and protocol of every evaluation of a run.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::{ReportError, write_whole};
use super::{Precision, Protocol, Scores, Weights};

/// The losses that a training may add up.
pub const LOSS_PARTS: [&str; 5] = ["tokens", "grounding", "grounding box", "attention", "pretext"];

/// A row of `results.csv`. Empty cells are `None`. Scores are percentages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Finished epochs.
    pub epoch: usize,
    /// Finished optimizer steps.
    pub step: usize,
    pub split: String,
    pub weights: Weights,
    pub protocol: Protocol,
    pub miou: Option<f64>,
    pub oiou: Option<f64>,
    pub p50: Option<f64>,
    pub p60: Option<f64>,
    pub p70: Option<f64>,
    pub p80: Option<f64>,
    pub p90: Option<f64>,
    pub box_acc: Option<f64>,
    /// Mean training loss since the evaluation before.
    pub loss: Option<f64>,
    /// What it is the weighted sum of, each before its weight, in the order of [`LOSS_PARTS`]. Empty where
    /// the loss is the tokens' alone.
    #[serde(default)]
    pub loss_parts: [Option<f64>; LOSS_PARTS.len()],
    pub lr: Option<f64>,
    /// Training samples per second since the evaluation before.
    pub samples_per_s: Option<f64>,
    /// Since the run started, pauses not counted.
    pub seconds: Option<f64>,
}

impl ResultRow {
    /// A row with these scores and nothing about the training yet.
    pub fn new(
        (epoch, step): (usize, usize),
        split: &str,
        weights: Weights,
        protocol: Protocol,
        scores: &Scores,
    ) -> Self {
        let [p50, p60, p70, p80, p90] = scores.precision.shares();
        Self {
            epoch,
            step,
            split: split.to_owned(),
            weights,
            protocol,
            miou: scores.miou,
            oiou: scores.oiou,
            p50,
            p60,
            p70,
            p80,
            p90,
            box_acc: scores.box_acc,
            loss: None,
            loss_parts: [None; LOSS_PARTS.len()],
            lr: None,
            samples_per_s: None,
            seconds: None,
        }
    }

    /// What the row says; it has no box mIoU.
    pub fn scores(&self) -> Scores {
        Scores {
            miou: self.miou,
            oiou: self.oiou,
            precision: Precision::from_shares([self.p50, self.p60, self.p70, self.p80, self.p90]),
            box_acc: self.box_acc,
            box_miou: None,
        }
    }
}

const COLUMNS: [&str; 22] = [
    "epoch",
    "step",
    "split",
    "weights",
    "protocol",
    "miou",
    "oiou",
    "p50",
    "p60",
    "p70",
    "p80",
    "p90",
    "box_acc",
    "loss",
    "lr",
    "samples_per_s",
    "seconds",
    "loss_tokens",
    "loss_grounding",
    "loss_grounding_box",
    "loss_attention",
    "loss_pretext",
];
/// Files from before the parts of the loss end here.
const OLD_COLUMNS: usize = 17;

/// Adds rows to the end of `path`, with the header first where the file is new. A file with fewer columns
/// gets the others, empty.
pub fn append_results(path: &Path, rows: &[ResultRow]) -> Result<(), ReportError> {
    let io = |source| ReportError::Io { path: path.into(), source };
    let there = first_line(path)?;
    if there.as_deref() == Some(old_header().as_str()) {
        return write_results(path, &[read_results(path)?.as_slice(), rows].concat());
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
    let header = if there.is_none() { header() + "\n" } else { String::new() };
    file.write_all((header + &lines(rows)).as_bytes()).map_err(io)
}

/// All rows of `path`. A file that is not there has none.
pub fn read_results(path: &Path) -> Result<Vec<ResultRow>, ReportError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ReportError::Io { path: path.into(), source }),
    };
    let mut lines = text.lines();
    let columns = match lines.next() {
        None => return Ok(Vec::new()),
        Some(found) if found == header() => COLUMNS.len(),
        Some(found) if found == old_header() => OLD_COLUMNS,
        Some(found) => {
            return Err(ReportError::Header { path: path.into(), found: found.into(), expected: header() });
        }
    };
    lines.zip(2..).map(|(line, number)| parse(path, line, number, columns)).collect()
}

/// Replaces the file by one with these rows: a run that resumes from a checkpoint forgets what came after it.
pub fn write_results(path: &Path, rows: &[ResultRow]) -> Result<(), ReportError> {
    write_whole(path, |file| {
        file.write_all((header() + "\n" + &lines(rows)).as_bytes())
            .map_err(|source| ReportError::Io { path: path.into(), source })
    })
}

/// `None` for a file that is empty or not there.
fn first_line(path: &Path) -> Result<Option<String>, ReportError> {
    let io = |source| ReportError::Io { path: path.into(), source };
    match File::open(path) {
        Ok(file) => BufReader::new(file).lines().next().transpose().map_err(io),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io(source)),
    }
}

fn header() -> String {
    COLUMNS.join(",")
}

fn old_header() -> String {
    COLUMNS[..OLD_COLUMNS].join(",")
}

/// No cell needs quotes: splits are names of files' keys, and a comma in one is replaced.
fn lines(rows: &[ResultRow]) -> String {
    let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let line = |row: &ResultRow| {
        let mut cells =
            vec![row.epoch.to_string(), row.step.to_string(), row.split.replace([',', '\n'], "_")];
        cells.extend([row.weights.to_string(), row.protocol.to_string()]);
        cells.extend([row.miou, row.oiou].map(cell));
        cells.extend([row.p50, row.p60, row.p70, row.p80, row.p90].map(cell));
        cells.extend([row.box_acc, row.loss, row.lr, row.samples_per_s, row.seconds].map(cell));
        cells.extend(row.loss_parts.map(cell));
        cells.join(",") + "\n"
    };
    rows.iter().map(line).collect()
}

/// A line of so many columns; those beyond are empty.
fn parse(path: &Path, line: &str, number: usize, columns: usize) -> Result<ResultRow, ReportError> {
    let cells: Vec<&str> = line.split(',').collect();
    let wrong = |column: usize| ReportError::Cell {
        path: path.into(),
        line: number,
        column: COLUMNS[column],
        found: cells.get(column).copied().unwrap_or_default().into(),
    };
    if cells.len() != columns {
        return Err(wrong(cells.len().min(columns - 1)));
    }
    let value = |column: usize| match cells.get(column).copied().unwrap_or_default() {
        "" => Ok(None),
        cell => f64::from_str(cell).map(Some).map_err(|_| wrong(column)),
    };
    let count = |column: usize| usize::from_str(cells[column]).map_err(|_| wrong(column));
    Ok(ResultRow {
        epoch: count(0)?,
        step: count(1)?,
        split: cells[2].to_owned(),
        weights: cells[3].parse().map_err(|_| wrong(3))?,
        protocol: cells[4].parse().map_err(|_| wrong(4))?,
        miou: value(5)?,
        oiou: value(6)?,
        p50: value(7)?,
        p60: value(8)?,
        p70: value(9)?,
        p80: value(10)?,
        p90: value(11)?,
        box_acc: value(12)?,
        loss: value(13)?,
        lr: value(14)?,
        samples_per_s: value(15)?,
        seconds: value(16)?,
        loss_parts: [value(17)?, value(18)?, value(19)?, value(20)?, value(21)?],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize) -> ResultRow {
        let scores = Scores { miou: Some(0.1 + epoch as f64), ..Scores::default() };
        ResultRow {
            lr: Some(5e-4),
            ..ResultRow::new((epoch, 10 * epoch), "val", Weights::Ema, Protocol::Standard, &scores)
        }
    }

    #[test]
    fn rows_come_back_and_a_resumed_run_forgets_the_last() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("results.csv");
        assert!(read_results(&path).expect("absent is empty").is_empty());
        append_results(&path, &[row(1), row(2)]).expect("first rows");
        append_results(&path, &[row(3)]).expect("one more");
        let text = std::fs::read_to_string(&path).expect("the file");
        assert!(text.starts_with(
            "epoch,step,split,weights,protocol,miou,oiou,p50,p60,p70,p80,p90,box_acc,loss,lr,samples_per_s,seconds,\
             loss_tokens,loss_grounding,loss_grounding_box,loss_attention,loss_pretext\n\
             1,10,val,ema,standard,1.1,,"
        ));
        assert_eq!(read_results(&path).expect("three rows"), [row(1), row(2), row(3)]);

        write_results(&path, &read_results(&path).expect("read")[..2]).expect("written");
        append_results(&path, &[row(7)]).expect("resumed");
        assert_eq!(read_results(&path).expect("three rows"), [row(1), row(2), row(7)]);
    }

    /// As they were written before the parts of the loss had columns.
    #[test]
    fn a_file_with_fewer_columns_is_read_and_goes_on_with_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("results.csv");
        let old = "1,10,val,ema,standard,1.1,,,,,,,,,0.0005,,\n";
        std::fs::write(&path, old_header() + "\n" + old).expect("written");
        assert_eq!(read_results(&path).expect("an old row"), [row(1)]);
        let new = ResultRow { loss_parts: [Some(2.5), None, None, Some(0.25), None], ..row(2) };
        append_results(&path, std::slice::from_ref(&new)).expect("one more");
        let text = std::fs::read_to_string(&path).expect("the file");
        assert!(text.lines().all(|line| line.split(',').count() == COLUMNS.len()), "{text}");
        assert!(text.ends_with(",2.5,,,0.25,\n"), "{text}");
        assert_eq!(read_results(&path).expect("both"), [row(1), new]);
    }

    #[test]
    fn a_foreign_table_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("results.csv");
        std::fs::write(&path, "a,b\n1,2\n").expect("written");
        let message = read_results(&path).expect_err("no results").to_string();
        assert!(message.contains("results.csv") && message.contains("epoch,step"), "{message}");

        std::fs::write(&path, old_header() + "\n1,9,val,ema,standard,1,1,1,much,1,1,1,1,1,1,1,1\n")
            .expect("written");
        let message = read_results(&path).expect_err("no number").to_string();
        assert!(
            message.contains("line 2") && message.contains("p60") && message.contains("much"),
            "{message}"
        );
    }
}
