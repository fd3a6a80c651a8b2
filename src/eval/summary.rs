//! Results of a split: as a table, as JSON, as rows of `results.csv`.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::nn::Arithmetic;
use crate::report::{Protocol, ReportError, ResultRow, Scores, Table, Weights, write_whole};

use super::EvalError;

/// Scores of one kind of weights in one protocol; percentages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightScores {
    pub split: String,
    pub weights: Weights,
    pub protocol: Protocol,
    /// Records that were asked about.
    pub referents: usize,
    /// Expressions that count in this protocol.
    pub expressions: usize,
    #[serde(flatten)]
    pub scores: Scores,
}

/// What a score is to be seen beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// The best a model can do that ignores the words: [`super::blind`].
    Blind,
    /// The model itself with the expressions of an image swapped among its referents.
    Permuted,
    /// Perfect tokens: [`super::ceiling`].
    Ceiling,
}

/// A mark in one protocol; percentages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MarkScores {
    pub split: String,
    pub mark: Mark,
    /// Of the permuted mark.
    pub weights: Option<Weights>,
    pub protocol: Protocol,
    #[serde(flatten)]
    pub scores: Scores,
}

/// All of one split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SplitReport {
    pub split: String,
    /// Scored are the answers of a second look.
    pub second_look: bool,
    pub results: Vec<WeightScores>,
    pub marks: Vec<MarkScores>,
}

impl SplitReport {
    pub fn scores(&self, weights: Weights, protocol: Protocol) -> Option<&Scores> {
        let found = self.results.iter().find(|r| r.weights == weights && r.protocol == protocol);
        found.map(|result| &result.scores)
    }

    pub fn mark(&self, mark: Mark, protocol: Protocol) -> Option<&Scores> {
        self.marks.iter().find(|m| m.mark == mark && m.protocol == protocol).map(|m| &m.scores)
    }

    /// A row of `results.csv` for each result; the caller adds what it knows of the training.
    pub fn rows(&self, epoch: usize, step: usize) -> Vec<ResultRow> {
        let row =
            |r: &WeightScores| ResultRow::new((epoch, step), &r.split, r.weights, r.protocol, &r.scores);
        self.results.iter().map(row).collect()
    }

    /// Both protocols of all weights, then the marks.
    pub fn table(&self) -> Table {
        let heading =
            if self.second_look { format!("{}, second look", self.split) } else { self.split.clone() };
        let mut table = Table::new([
            heading.as_str(),
            "protocol",
            "expr.",
            "mIoU",
            "oIoU",
            "P@.5",
            "P@.6",
            "P@.7",
            "P@.8",
            "P@.9",
            "box acc",
            "box mIoU",
        ]);
        let row = |name: String, protocol: Protocol, expressions: String, scores: &Scores| {
            let mut cells = vec![name, protocol.to_string(), expressions];
            cells.extend([scores.miou, scores.oiou].map(Table::percent));
            cells.extend(scores.precision.shares().map(Table::percent));
            cells.extend([scores.box_acc, scores.box_miou].map(Table::percent));
            cells
        };
        for result in &self.results {
            let expressions = result.expressions.to_string();
            let cells = row(result.weights.to_string(), result.protocol, expressions, &result.scores);
            table.row(cells);
        }
        if !self.results.is_empty() && !self.marks.is_empty() {
            table.rule();
        }
        for mark in &self.marks {
            let name = match (mark.mark, mark.weights) {
                (Mark::Blind, _) => "blind (no words)".to_owned(),
                (Mark::Permuted, Some(weights)) => format!("permuted ({weights})"),
                (Mark::Permuted, None) => "permuted".to_owned(),
                (Mark::Ceiling, _) => "ceiling".to_owned(),
            };
            let cells = row(name, mark.protocol, String::new(), &mark.scores);
            table.row(cells);
        }
        table
    }
}

/// Writes `{"dataset", "second_look", "arithmetic", "results": [...], "marks": [...]}`, whole; values that a task does not
/// give are null. `second_look` names the labeller whose answers are scored, the arithmetic is there if it isn't f32.
pub fn write_json(
    path: &Path,
    dataset: &str,
    second_look: Option<&str>,
    arithmetic: Arithmetic,
    reports: &[SplitReport],
) -> Result<(), EvalError> {
    #[derive(Serialize)]
    struct File<'a> {
        dataset: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        second_look: Option<&'a str>,
        #[serde(skip_serializing_if = "Arithmetic::is_f32")]
        arithmetic: Arithmetic,
        results: Vec<&'a WeightScores>,
        marks: Vec<&'a MarkScores>,
    }
    let file = File {
        dataset,
        second_look,
        arithmetic,
        results: reports.iter().flat_map(|report| &report.results).collect(),
        marks: reports.iter().flat_map(|report| &report.marks).collect(),
    };
    let text = serde_json::to_string_pretty(&file).expect("plain data") + "\n";
    let io = |source| ReportError::Io { path: path.into(), source };
    Ok(write_whole(path, |file| file.write_all(text.as_bytes()).map_err(io))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_nulls_for_what_the_task_does_not_give() {
        let scores = Scores { box_acc: Some(50.0), ..Scores::default() };
        let (weights, protocol) = (Weights::Raw, Protocol::Standard);
        let split = "val".to_owned();
        let result =
            WeightScores { split: split.clone(), weights, protocol, referents: 1, expressions: 2, scores };
        let report = SplitReport { split, results: vec![result], ..SplitReport::default() };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("scores.json");
        write_json(&path, "toy", None, Arithmetic::F32, &[report]).expect("written");
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("the file")).expect("JSON");
        let expected = serde_json::json!({
            "split": "val", "weights": "raw", "protocol": "standard", "referents": 1, "expressions": 2,
            "miou": null, "oiou": null, "box_acc": 50.0,
            "precision": {"0.5": null, "0.6": null, "0.7": null, "0.8": null, "0.9": null},
        });
        assert_eq!(json["results"][0], expected);
    }
}
