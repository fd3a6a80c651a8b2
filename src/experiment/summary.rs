//! What came of one experiment.

use std::path::Path;

use serde::Serialize;

use super::recipe::Arm;
use super::step::Step;
use super::store::{StepStore, write, write_text};
use super::{ExperimentError, LabelQuality, Outcome, SplitScores, Trained};
use crate::report::{Chart, Line, Table, save_picture};

/// One model of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryRow {
    pub name: String,
    /// None where a second look is scored.
    pub training: Option<Trained>,
    pub labels: Option<LabelQuality>,
    pub splits: Vec<SplitScores>,
}

/// The models of an experiment, beside one another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub rows: Vec<SummaryRow>,
}

impl SummaryRow {
    /// Of an arm whose steps are done; nothing if one is not.
    pub fn of(name: &str, arm: &Arm, store: &StepStore) -> Result<Option<Self>, ExperimentError> {
        let outcome = |step: &Step| Ok::<_, ExperimentError>(store.done(step)?.map(|done| done.outcome));
        let labels = match &arm.pick {
            None => None,
            Some(step) => match outcome(step)? {
                Some(Outcome::Picked(quality)) => Some(quality),
                _ => return Ok(None),
            },
        };
        let training = match &arm.training {
            None => None,
            Some(step) => match outcome(step)? {
                Some(Outcome::Trained(training)) => Some(training),
                _ => return Ok(None),
            },
        };
        match outcome(&arm.evaluation)? {
            Some(Outcome::Evaluated { splits }) => {
                Ok(Some(Self { name: name.to_owned(), training, labels, splits }))
            }
            _ => Ok(None),
        }
    }
}

impl Summary {
    fn headers() -> [&'static str; 13] {
        [
            "model", "split", "expr.", "mIoU", "oIoU", "P@.5", "P@.6", "P@.7", "P@.8", "P@.9", "blind",
            "permuted", "ceiling",
        ]
    }

    fn cells(row: &SummaryRow, split: &SplitScores) -> Vec<String> {
        let scores = &split.scores;
        let mut cells = vec![row.name.clone(), split.split.clone(), split.expressions.to_string()];
        cells.extend([scores.miou, scores.oiou].map(Table::percent));
        cells.extend(scores.precision.shares().map(Table::percent));
        cells.extend([split.blind, split.permuted, split.ceiling].map(Table::percent));
        cells
    }

    /// Scores of all models on all splits, the models of a split together.
    pub fn scores(&self) -> Table {
        let mut table = Table::new(Self::headers());
        let splits = self.rows.first().map_or(&[][..], |row| &row.splits);
        for (place, split) in splits.iter().enumerate() {
            if place > 0 {
                table.rule();
            }
            for row in &self.rows {
                for split in row.splits.iter().filter(|other| other.split == split.split) {
                    table.row(Self::cells(row, split));
                }
            }
        }
        table
    }

    /// The labels that were made; nothing if none were. Those of a second look stand with the model itself.
    pub fn labels(&self) -> Option<Table> {
        let mut table =
            Table::new(["model", "labelled", "kept", "of", "true IoU", "P@.5", "P@.9", "IoU of the rest"]);
        let mut any = false;
        for (row, labels) in self.trained().filter_map(|row| Some((row, row.labels.as_ref()?))) {
            let counts = [labels.labelled, labels.kept, labels.unlabelled].map(|count| count.to_string());
            let mut cells = vec![row.name.clone()];
            cells.extend(counts);
            cells.extend([labels.iou, labels.p50, labels.p90, labels.iou_of_rejected].map(Table::percent));
            table.row(cells);
            any = true;
        }
        any.then_some(table)
    }

    fn trained(&self) -> impl Iterator<Item = &SummaryRow> {
        self.rows.iter().filter(|row| row.training.is_some())
    }

    /// Writes `results.md`, `.csv`, `.json` and `.png` into a folder.
    pub fn write(&self, title: &str, folder: &Path) -> Result<(), ExperimentError> {
        let mut text = format!("# {title}\n\n{}", self.scores().markdown());
        if let Some(labels) = self.labels() {
            text += &format!("\nLabels:\n\n{}", labels.markdown());
        }
        text += "\nScores in percent, standard protocol; `blind`, `permuted` and `ceiling` are mIoU.\n";
        write_text(&folder.join("results.md"), &text)?;
        write(&folder.join("results.json"), self)?;
        let mut csv = Self::headers()
            .map(|header| header.replace("P@.", "p0.").replace("expr.", "expressions"))
            .join(",")
            + "\n";
        for (row, split) in self.rows.iter().flat_map(|row| row.splits.iter().map(move |split| (row, split)))
        {
            let quoted = |cell: String| if cell.contains(',') { format!("\"{cell}\"") } else { cell };
            let cells: Vec<String> = Self::cells(row, split).into_iter().map(quoted).collect();
            csv += &(cells.join(",") + "\n");
        }
        write_text(&folder.join("results.csv"), &csv)?;
        let lines = self.trained().filter_map(|row| {
            let curve = row.training.as_ref()?.curve.iter();
            let points = curve.map(|&(step, score)| (step as f64, score, 0.0)).collect();
            Some(Line { name: row.name.clone(), points })
        });
        let chart = Chart { title, x: "steps", y: "val mIoU, %", marks: None, lines: lines.collect() };
        Ok(save_picture(&chart.draw()?, &folder.join("results.png"))?)
    }
}
