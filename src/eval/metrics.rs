//! The figures of both protocols, from the outcomes of single expressions.

use std::collections::BTreeMap;

use crate::report::{Precision, Scores};

const THRESHOLDS: [f64; 5] = [0.5, 0.6, 0.7, 0.8, 0.9];

/// What came of one expression. `None` where the task or the annotation gives nothing to compare.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub referent: usize,
    /// Index among the expressions of the referent.
    pub expression: usize,
    /// Pixels in both masks and in either, in the original image.
    pub mask: Option<(u64, u64)>,
    /// IoU of the boxes in the original image.
    pub bbox: Option<f64>,
    pub reference: ReferenceOutcome,
}

/// The same in the reference's frame and manner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReferenceOutcome {
    /// Over the prediction's area where the object counts as a crowd (quirk 25).
    pub mask: Option<f64>,
    pub bbox: Option<f64>,
}

impl Outcome {
    /// Plain IoU of the masks; 0 when both are empty.
    pub fn mask_iou(&self) -> Option<f64> {
        self.mask.map(|(both, either)| if either == 0 { 0.0 } else { both as f64 / either as f64 })
    }
}

/// IoU of two boxes x1, y1, x2, y2; boxes turned inside out are empty.
pub fn box_iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |b: [f64; 4]| (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let either = area(a) + area(b) - both;
    if either > 0.0 { both / either } else { 0.0 }
}

/// Every expression counts once; thresholds are exceeded strictly.
pub fn standard_scores<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Scores {
    let (mut masks, mut boxes, mut both, mut either) = (Vec::new(), Vec::new(), 0, 0);
    for outcome in outcomes {
        masks.extend(outcome.mask_iou());
        boxes.extend(outcome.bbox);
        both += outcome.mask.map_or(0, |mask| mask.0);
        either += outcome.mask.map_or(0, |mask| mask.1);
    }
    let share =
        |ious: &[f64], t: f64| mean(ious.iter().map(|&iou| f64::from(u8::from(iou > t)))).map(percent);
    Scores {
        miou: mean(masks.iter().copied()).map(percent),
        oiou: (either > 0).then(|| percent(both as f64 / either as f64)),
        precision: Precision::from_shares(THRESHOLDS.map(|t| share(&masks, t))),
        box_acc: share(&boxes, 0.5),
        box_miou: mean(boxes.iter().copied()).map(percent),
    }
}

/// The first expression of each record counts, in batches of `batch` records in their order;
/// thresholds may be met; the last, smaller batch weighs as much as the others (quirk 26). The
/// reference has no oIoU.
pub fn reference_scores<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>, batch: usize) -> Scores {
    let mut first: BTreeMap<usize, &Outcome> = BTreeMap::new();
    for outcome in outcomes {
        let kept = first.entry(outcome.referent).or_insert(outcome);
        if outcome.expression < kept.expression {
            *kept = outcome;
        }
    }
    let ious = |of: fn(&ReferenceOutcome) -> Option<f64>| -> Vec<f64> {
        first.values().filter_map(|outcome| of(&outcome.reference)).collect()
    };
    let (masks, boxes) = (ious(|r| r.mask), ious(|r| r.bbox));
    let share = |ious: &[f64], t: f64| {
        let met = |chunk: &[f64]| mean(chunk.iter().map(|&iou| f64::from(u8::from(iou >= t)))).unwrap_or(0.0);
        mean(ious.chunks(batch.max(1)).map(met)).map(percent)
    };
    Scores {
        miou: mean(masks.iter().copied()).map(percent),
        oiou: None,
        precision: Precision::from_shares(THRESHOLDS.map(|t| share(&masks, t))),
        box_acc: share(&boxes, 0.5),
        box_miou: mean(boxes.iter().copied()).map(percent),
    }
}

fn percent(share: f64) -> f64 {
    100.0 * share
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(referent: usize, expression: usize, mask: (u64, u64), bbox: f64, reference: f64) -> Outcome {
        let reference = ReferenceOutcome { mask: Some(reference), bbox: Some(bbox) };
        Outcome { referent, expression, mask: Some(mask), bbox: Some(bbox), reference }
    }

    #[test]
    fn both_protocols_by_hand() {
        let outcomes = [
            outcome(0, 1, (0, 50), 0.0, 0.1),
            outcome(0, 0, (30, 40), 0.5, 0.8),
            outcome(1, 0, (50, 100), 0.9, 0.5),
            outcome(2, 0, (95, 100), 0.6, 1.0),
        ];
        let scores = standard_scores(&outcomes);
        assert_eq!(scores.miou, Some(100.0 * (0.0 + 0.75 + 0.5 + 0.95) / 4.0));
        assert_eq!(scores.oiou, Some(100.0 * 175.0 / 290.0));
        assert_eq!(scores.precision.shares(), [50.0, 50.0, 50.0, 25.0, 25.0].map(Some));
        assert_eq!((scores.box_acc, scores.box_miou), (Some(50.0), Some(50.0)));

        // Batches {0, 1} and {2}; of record 0 the first expression only.
        let scores = reference_scores(&outcomes, 2);
        assert!((scores.miou.expect("masks") - 100.0 * (0.8 + 0.5 + 1.0) / 3.0).abs() < 1e-12);
        assert_eq!(scores.oiou, None);
        assert_eq!(scores.precision.shares(), [100.0, 75.0, 75.0, 75.0, 50.0].map(Some));
        assert_eq!(scores.box_acc, Some(100.0));
    }

    #[test]
    fn what_a_task_does_not_give_is_none() {
        let boxes_only = Outcome { bbox: Some(0.7), ..Outcome::default() };
        let scores = standard_scores([&boxes_only]);
        assert_eq!((scores.miou, scores.oiou, scores.precision.p50), (None, None, None));
        assert_eq!(scores.box_acc, Some(100.0));
        assert_eq!(reference_scores([&boxes_only], 128), Scores::default());
    }

    #[test]
    fn boxes() {
        assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]), 2.0 / 6.0);
        assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [2.0, 2.0, 1.0, 1.0]), 0.0);
        assert_eq!(box_iou([1.0; 4], [1.0; 4]), 0.0);
    }
}
