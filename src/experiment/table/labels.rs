//! Labels of two rows beside one another, by the true masks.

use serde::{Deserialize, Serialize};

use super::{Cell, Comparison, Results, TableFile};
use crate::data::Annotations;
use crate::experiment::{ExperimentError, LabelMethod, Picking, Step, StepStore, Work};
use crate::pseudo::{Order, Predictions, rank};
use crate::report::Table;

/// The labels of a row beside those of a row that picks as the paper does, of the same sample, where as
/// many are kept: at the paper's threshold, and at the one whose labels are best. IoUs and differences are
/// percentages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelRow {
    pub row: String,
    pub with: String,
    pub dataset: String,
    pub ratio: u32,
    pub seed: u64,
    /// Referents that are not in the sample.
    pub referents: usize,
    pub threshold: f64,
    pub kept: Option<usize>,
    pub iou_with: Option<f64>,
    pub iou: Option<f64>,
    /// Mean difference on the referents that the paper keeps.
    pub same_referents: Option<f64>,
    pub best_threshold: Option<f64>,
    pub best_kept: Option<usize>,
    pub best_iou_with: Option<f64>,
    pub best_iou: Option<f64>,
    pub best_same_referents: Option<f64>,
    /// Where it is least, over all numbers kept from a hundredth of the referents on.
    pub least_lead: f64,
    /// The steps that made the labels.
    pub step: String,
    pub step_with: String,
}

/// Measures the labels of all compared cells that are made and not measured yet; says how many those were.
pub fn judge_labels(
    file: &TableFile,
    cells: &[Cell<'_>],
    store: &StepStore,
    results: &Results,
) -> Result<usize, ExperimentError> {
    let there = results.labels()?;
    let mut count = 0;
    for pair in file.comparisons.iter().flat_map(|comparison| pairs(comparison, cells)) {
        let [step, step_with] = [pair.ours, pair.paper].map(|picking| picking.labels.name());
        let known = there.iter().any(|row| {
            (&row.row, &row.with) == (&pair.comparison.of, &pair.comparison.with)
                && (&row.step, &row.step_with) == (&step, &step_with)
                && row.threshold == pair.threshold
        });
        let made = |picking: &Picking| Ok::<_, ExperimentError>(store.done(&picking.labels)?.is_some());
        if !known && made(pair.ours)? && made(pair.paper)? {
            let Some(measured) = pair.measure(store)? else { continue };
            results.add_labels(measured)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Two labellings of the same referents.
struct Pair<'a> {
    comparison: &'a Comparison,
    cell: &'a Cell<'a>,
    ours: &'a Picking,
    paper: &'a Picking,
    threshold: f64,
}

/// The compared cells of one seed after the other that both make labels, the second one as the paper does.
fn pairs<'a>(comparison: &'a Comparison, cells: &'a [Cell<'a>]) -> Vec<Pair<'a>> {
    let of_row = |name: &'a str| cells.iter().filter(move |cell| cell.row.name == name);
    let picking = |cell: &'a Cell<'a>| match &cell.arm.pick.as_ref()?.work {
        Work::Pick(picking) => Some(picking),
        _ => None,
    };
    let pair = |cell: &'a Cell<'a>| {
        let ours = picking(cell)?;
        let other = of_row(&comparison.with).find(|other| other.seed == cell.seed)?;
        let paper = picking(other)?;
        match (ours.method, paper.method) {
            (LabelMethod::CloseUp(_) | LabelMethod::Boxes(_), LabelMethod::Rpp { threshold, .. })
                if ours.sample.key == paper.sample.key =>
            {
                Some(Pair { comparison, cell, ours, paper, threshold })
            }
            _ => None,
        }
    };
    of_row(&comparison.of).filter_map(pair).collect()
}

impl Pair<'_> {
    /// Nothing where no referent outside of the sample has a true mask.
    fn measure(&self, store: &StepStore) -> Result<Option<LabelRow>, ExperimentError> {
        let all = Annotations::read(&self.ours.source.path)?;
        let labelled = Annotations::read(&store.annotations_of(&self.ours.sample))?;
        let rankings = |labels: &Step| {
            Ok::<_, ExperimentError>(rank(
                &all,
                &labelled,
                &Predictions::read(&store.predictions_of(labels))?,
            )?)
        };
        let (ours, paper) = (rankings(&self.ours.labels)?, rankings(&self.paper.labels)?);
        let (Some(ours), Some(paper)) = (Order::of_pick(&ours), Order::ProjectionTerm.of(&paper)) else {
            return Ok(None);
        };
        let (at, best_threshold) = (ours.against(paper, self.threshold), paper.best_threshold());
        let best = best_threshold.and_then(|threshold| ours.against(paper, threshold));
        let Cell { row, seed, .. } = *self.cell;
        Ok(Some(LabelRow {
            row: self.comparison.of.clone(),
            with: self.comparison.with.clone(),
            dataset: row.dataset.clone(),
            ratio: row.ratio,
            seed,
            referents: ours.len(),
            threshold: self.threshold,
            kept: at.map(|contest| contest.paper.labels),
            iou_with: at.map(|contest| contest.paper.iou),
            iou: at.map(|contest| contest.ours.iou),
            same_referents: at.map(|contest| contest.same_referents),
            best_threshold,
            best_kept: best.map(|contest| contest.paper.labels),
            best_iou_with: best.map(|contest| contest.paper.iou),
            best_iou: best.map(|contest| contest.ours.iou),
            best_same_referents: best.map(|contest| contest.same_referents),
            least_lead: ours.least_lead(paper),
            step: self.ours.labels.name(),
            step_with: self.paper.labels.name(),
        }))
    }
}

/// A line for each pair of cells.
pub fn label_table(rows: &[LabelRow]) -> Table {
    let mut table = Table::new([
        "labels",
        "seed",
        "kept at",
        "labels",
        "RPP's IoU",
        "ours",
        "difference",
        "same referents",
        "RPP's best",
        "labels",
        "RPP's IoU",
        "ours",
        "difference",
        "same referents",
        "least lead",
    ]);
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let points = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:+.1}"));
    let less = |ours: Option<f64>, theirs: Option<f64>| points(ours.zip(theirs).map(|(a, b)| a - b));
    let count = |count: Option<usize>| count.map_or("-".to_owned(), |count| count.to_string());
    for row in rows {
        table.row([
            row.row.clone(),
            row.seed.to_string(),
            row.threshold.to_string(),
            count(row.kept),
            percent(row.iou_with),
            percent(row.iou),
            less(row.iou, row.iou_with),
            points(row.same_referents),
            row.best_threshold.map_or("-".to_owned(), |threshold| format!("{threshold:.3}")),
            count(row.best_kept),
            percent(row.best_iou_with),
            percent(row.best_iou),
            less(row.best_iou, row.best_iou_with),
            points(row.best_same_referents),
            points(Some(row.least_lead)),
        ]);
    }
    table
}
