//! Which predictions become masks to train on (RPP, resampling pseudo points).

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::subset::{refuse_to_replace, sha256, write_subset};
use super::{Judge, Judgement, Prediction, Predictions, PseudoError};
use crate::data::{Annotations, Referent, with_field};
use crate::mask::Segmentation;

/// What becomes the `mask` of a picked record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Masks {
    /// The predicted mask, as RLE.
    Predicted,
    /// The outlines that were judged, as polygons: the reference. They run through the centres of the
    /// outermost pixels, so that the mask loses half of those when it is filled again, which small
    /// objects feel.
    Outlines,
}

/// How predictions are picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PickOptions {
    pub judge: Judge,
    pub masks: Masks,
    /// Replace a file that is there.
    pub force: bool,
}

/// What was decided about one referent.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Index in the split.
    pub referent: usize,
    /// The candidate that was judged: of several, the one with the smallest projection term.
    pub candidate: usize,
    pub judgement: Judgement,
    /// What is written if it is kept; none without outlines.
    pub mask: Option<Segmentation>,
    /// IoU of that with the true mask, 0 to 1, where there is one.
    pub true_iou: Option<f64>,
}

/// What came of a pick; as JSON, the figures in `<file>.provenance.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Picked {
    pub annotations_sha256: String,
    pub labelled_sha256: String,
    pub predictions_sha256_of_checkpoint: String,
    pub split: String,
    pub threshold: f64,
    pub masks: Masks,
    /// Records with masks of their own.
    pub labelled: usize,
    pub kept: usize,
    /// Rejected: nothing was outlined.
    pub empty: usize,
    /// Rejected: the projection term reaches the threshold.
    pub projection_term: usize,
    /// Mean over those kept that have a true mask, 0 to 1.
    pub true_iou_of_kept: Option<f64>,
    pub true_iou_of_rejected: Option<f64>,
    /// Every referent that is not labelled, in the order of the file.
    #[serde(skip)]
    pub verdicts: Vec<Verdict>,
}

/// The name of the file of labelled and picked records.
pub fn pick_file(ratio: u32) -> String {
    format!("instances_sample_{ratio}_box_pick.json")
}

/// Judges the predictions for the referents of `all` that are not in the `labelled` sample, and writes
/// to `out`: the labelled records as they stand, then the records of the kept ones with their `mask`
/// replaced by the prediction, and every other split of `all` whole.
///
/// # Errors
/// Predictions of other annotations; a sample of other annotations; records whose true mask can't be
/// used.
pub fn pick(
    all: &Annotations,
    labelled: &Annotations,
    predictions: &Predictions,
    out: &Path,
    options: &PickOptions,
) -> Result<Picked, PseudoError> {
    refuse_to_replace(out, options.force)?;
    let header = &predictions.header;
    let hash = sha256(all.text());
    if header.annotations_sha256 != hash {
        return Err(PseudoError::OtherAnnotations {
            predictions: predictions.path.clone(),
            annotations: all.path().to_owned(),
            found: header.annotations_sha256.clone(),
            expected: hash,
        });
    }
    let split = header.split.as_str();
    let records: Vec<&str> = all.records(split)?.collect();
    let sampled: Vec<&str> = labelled.records(split)?.collect();
    let unlabelled = unlabelled(all, &records, labelled, &sampled)?;
    let referents = all.referents(split)?;
    let verdicts: Vec<Verdict> = unlabelled
        .into_par_iter()
        .map(|i| {
            let scene = Scene { all, split, predictions, options };
            scene.judge(&referents[i], &predictions.referents[i])
        })
        .collect::<Result<_, _>>()?;

    let mut written: Vec<Cow<str>> = sampled.iter().map(|&record| Cow::Borrowed(record)).collect();
    for verdict in verdicts.iter().filter(|verdict| verdict.judgement.kept) {
        let mask = serde_json::to_string(&verdict.mask).expect("plain data");
        // Records were read before, so they are objects.
        written.extend(with_field(records[verdict.referent], "mask", &mask).map(Cow::Owned));
    }
    let count = |wanted: fn(&Judgement) -> bool| verdicts.iter().filter(|v| wanted(&v.judgement)).count();
    let picked = Picked {
        annotations_sha256: hash,
        labelled_sha256: sha256(labelled.text()),
        predictions_sha256_of_checkpoint: header.checkpoint_sha256.clone(),
        split: split.to_owned(),
        threshold: options.judge.threshold,
        masks: options.masks,
        labelled: sampled.len(),
        kept: count(|judgement| judgement.kept),
        empty: count(|judgement| judgement.mask.is_none()),
        projection_term: count(|judgement| judgement.mask.is_some() && !judgement.kept),
        true_iou_of_kept: mean_iou(&verdicts, true),
        true_iou_of_rejected: mean_iou(&verdicts, false),
        verdicts,
    };
    write_subset(out, all, split, &written, &picked)?;
    Ok(picked)
}

/// Indices of the records that are not in the sample. Records are recognised by what they say, not by
/// how it is spelt: a sample may have been written by another program.
fn unlabelled(
    all: &Annotations,
    records: &[&str],
    labelled: &Annotations,
    sampled: &[&str],
) -> Result<Vec<usize>, PseudoError> {
    let known: HashSet<String> = sampled.par_iter().map(|record| meaning(record)).collect();
    let meanings: Vec<String> = records.par_iter().map(|record| meaning(record)).collect();
    let there: HashSet<&str> = meanings.iter().map(String::as_str).collect();
    let missing = known.iter().filter(|record| !there.contains(record.as_str())).count();
    if missing > 0 {
        return Err(PseudoError::NotASubset {
            labelled: labelled.path().to_owned(),
            all: all.path().to_owned(),
            missing,
            of: sampled.len(),
        });
    }
    Ok((0..records.len()).filter(|&i| !known.contains(&meanings[i])).collect())
}

/// A hash of a record's content.
fn meaning(record: &str) -> String {
    match serde_json::from_str::<Value>(record) {
        Ok(value) => sha256(&value.to_string()),
        Err(_) => sha256(record),
    }
}

struct Scene<'a> {
    all: &'a Annotations,
    split: &'a str,
    predictions: &'a Predictions,
    options: &'a PickOptions,
}

impl Scene<'_> {
    fn judge(&self, referent: &Referent, prediction: &Prediction) -> Result<Verdict, PseudoError> {
        let index = prediction.index;
        let wrong =
            |source| PseudoError::Mask { path: self.predictions.path.clone(), referent: index, source };
        let mut best: Option<(usize, Judgement)> = None;
        for (i, candidate) in prediction.candidates.iter().enumerate() {
            let size = (referent.height, referent.width);
            candidate.mask.check_size(referent.height, referent.width).map_err(wrong)?;
            let judgement = self.options.judge.judge(&candidate.mask, referent.bbox, size).map_err(wrong)?;
            let term = |judgement: &Judgement| judgement.projection_term.unwrap_or(f32::INFINITY);
            if best.as_ref().is_none_or(|(_, best)| term(&judgement) < term(best)) {
                best = Some((i, judgement));
            }
        }
        let (candidate, judgement) = best.unwrap_or((0, Judgement::nothing()));
        let rle = judgement.mask.as_ref().map(|outlines| match self.options.masks {
            Masks::Predicted => &prediction.candidates[candidate].mask,
            Masks::Outlines => outlines,
        });
        let true_iou = match &referent.segmentation {
            None => None,
            Some(_) => {
                let wrong = |source| PseudoError::TrueMask {
                    path: self.all.path().to_owned(),
                    split: self.split.to_owned(),
                    referent: index,
                    source,
                };
                let truth = referent.rle().map_err(wrong)?;
                let iou = rle.map(|mask| mask.iou(&truth, false)).transpose();
                Some(iou.map_err(wrong)?.unwrap_or(0.0))
            }
        };
        let mask = rle.map(|rle| match self.options.masks {
            Masks::Predicted => Segmentation::from(rle),
            Masks::Outlines => Segmentation::Polygons(judgement.polygons.clone()),
        });
        Ok(Verdict { referent: index, candidate, mask, true_iou, judgement })
    }
}

fn mean_iou(verdicts: &[Verdict], kept: bool) -> Option<f64> {
    let ious = || verdicts.iter().filter(|v| v.judgement.kept == kept).filter_map(|v| v.true_iou);
    match ious().count() {
        0 => None,
        count => Some(ious().sum::<f64>() / count as f64),
    }
}

/// Where `label` writes and `pick` looks if no file is named: beside the annotations.
pub fn predictions_file(annotations: &Path) -> PathBuf {
    annotations.with_file_name("predictions.jsonl")
}
