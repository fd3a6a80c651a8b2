//! Which predictions become masks to train on.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use super::material::Material;
use super::subset::{refuse_to_replace, sha256, write_subset};
use super::{
    Calibration, Candidate, Judge, Judgement, Method, Prediction, Predictions, PseudoError, encloses_area,
    outlines,
};
use crate::data::{Annotations, Referent, with_field};
use crate::mask::{MaskError, Rle, Segmentation};

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

/// What is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// Resampling pseudo points, as in the paper: of several candidates the one with the smallest
    /// projection term, if that is below the judge's threshold.
    Rpp(Judge),
    /// Not in the paper: of several candidates the one of which [`Calibration`] expects most, if that is
    /// not below this. 0 keeps all that have an outline, also where the sample is too small to learn from;
    /// then the one that agrees most with the others.
    Quality(f64),
}

/// Below it a label does more harm than good.
pub const QUALITY: f64 = 0.5;

/// How predictions are picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PickOptions {
    pub criterion: Criterion,
    pub masks: Masks,
    /// Write the IoU that is expected of a label as its `weight` in training; needs
    /// [`Criterion::Quality`].
    pub weights: bool,
    /// Replace a file that is there.
    pub force: bool,
}

impl PickOptions {
    /// Whether nothing that has an outline is rejected or counts less.
    fn keeps_all(&self, quality: f64) -> bool {
        quality <= 0.0 && !self.weights
    }
}

/// What was decided about one referent.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Index in the split.
    pub referent: usize,
    /// The candidate that was judged.
    pub candidate: usize,
    /// The IoU that was expected of it, by [`Criterion::Quality`].
    pub expected_iou: Option<f64>,
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
    pub criterion: Criterion,
    pub calibration: Option<Calibration>,
    pub masks: Masks,
    /// Whether the expected IoU was written as `weight`.
    pub weights: bool,
    /// Records with masks of their own.
    pub labelled: usize,
    pub kept: usize,
    /// Rejected: nothing was outlined.
    pub empty: usize,
    /// Rejected: the criterion isn't met.
    pub poor: usize,
    /// Mean over those kept, by [`Criterion::Quality`].
    pub expected_iou_of_kept: Option<f64>,
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
/// replaced by the prediction, and every other split as it is in the sample.
///
/// # Errors
/// Predictions of other annotations, or of a split that wasn't sampled; a sample of other annotations;
/// records whose true mask can't be used.
pub fn pick(
    all: &Annotations,
    labelled: &Annotations,
    predictions: &Predictions,
    out: &Path,
    options: &PickOptions,
) -> Result<Picked, PseudoError> {
    refuse_to_replace(out, options.force)?;
    let material = Material::new(all, labelled, predictions)?;
    // Else the file would hold the true masks of a split that was meant to have few.
    if material.unlabelled.is_empty() && !is_whole(labelled, all) {
        return Err(PseudoError::NothingToPick {
            split: material.split.to_owned(),
            all: all.path().to_owned(),
            labelled: labelled.path().to_owned(),
        });
    }
    let calibration = match options.criterion {
        Criterion::Rpp(_) if options.weights => return Err(PseudoError::NoExpectation),
        Criterion::Rpp(_) if predictions.header.method != Method::Greedy => {
            return Err(PseudoError::NotGreedy { path: predictions.path.clone() });
        }
        Criterion::Rpp(_) => None,
        Criterion::Quality(quality) => match material.calibrate() {
            Err(PseudoError::TooFew { .. }) if options.keeps_all(quality) => None,
            learnt => Some(learnt?),
        },
    };
    let scene = Scene { material: &material, options, calibration };
    let verdicts: Vec<Verdict> =
        material.unlabelled.par_iter().map(|&i| scene.judge(i)).collect::<Result<_, _>>()?;

    let mut written: Vec<Cow<str>> = material.sampled.iter().map(|&record| Cow::Borrowed(record)).collect();
    for verdict in verdicts.iter().filter(|verdict| verdict.judgement.kept) {
        let mask = serde_json::to_string(&verdict.mask).expect("plain data");
        // Records were read before, so they are objects.
        let mut record = with_field(material.records[verdict.referent], "mask", &mask);
        if let (true, Some(expected)) = (options.weights, verdict.expected_iou) {
            let weight = format!("{:.4}", expected.clamp(0.0, 1.0));
            record = record.and_then(|record| with_field(&record, "weight", &weight));
        }
        written.extend(record.map(Cow::Owned));
    }
    let count = |wanted: fn(&Judgement) -> bool| verdicts.iter().filter(|v| wanted(&v.judgement)).count();
    let kept = || verdicts.iter().filter(|verdict| verdict.judgement.kept);
    let rejected = verdicts.iter().filter(|verdict| !verdict.judgement.kept);
    let picked = Picked {
        annotations_sha256: material.hash.clone(),
        labelled_sha256: sha256(labelled.text()),
        predictions_sha256_of_checkpoint: predictions.header.checkpoint_sha256.clone(),
        split: material.split.to_owned(),
        criterion: options.criterion,
        calibration,
        masks: options.masks,
        weights: options.weights,
        labelled: material.sampled.len(),
        kept: count(|judgement| judgement.kept),
        empty: count(|judgement| judgement.projection_term.is_none()),
        poor: count(|judgement| judgement.projection_term.is_some() && !judgement.kept),
        expected_iou_of_kept: mean(kept().filter_map(|verdict| verdict.expected_iou)),
        true_iou_of_kept: mean(kept().filter_map(|verdict| verdict.true_iou)),
        true_iou_of_rejected: mean(rejected.filter_map(|verdict| verdict.true_iou)),
        verdicts,
    };
    write_subset(out, labelled, material.split, &written, &picked)?;
    Ok(picked)
}

/// Whether a sample of `all` has as many records in each split: one of 100 %.
fn is_whole(sample: &Annotations, all: &Annotations) -> bool {
    let count = |of: &Annotations, split| of.records(split).map_or(0, |records| records.len());
    all.splits().all(|split| count(sample, split) == count(all, split))
}

struct Scene<'a> {
    material: &'a Material<'a>,
    options: &'a PickOptions,
    calibration: Option<Calibration>,
}

impl Scene<'_> {
    fn judge(&self, index: usize) -> Result<Verdict, PseudoError> {
        let (referent, prediction) =
            (&self.material.referents[index], &self.material.predictions.referents[index]);
        for candidate in &prediction.candidates {
            let checked = candidate.mask.check_size(referent.height, referent.width);
            checked.map_err(|source| self.material.wrong(index, source))?;
        }
        let (candidate, judgement) = match self.options.criterion {
            Criterion::Rpp(judge) => self.smallest_term(judge, referent, prediction)?,
            Criterion::Quality(quality) => self.expect(quality, referent, prediction)?,
        };
        let said = &prediction.candidates[candidate];
        let rle = judgement.mask.as_ref().map(|outlines| match self.options.masks {
            Masks::Predicted => &said.mask,
            Masks::Outlines => outlines,
        });
        let true_iou = self.material.true_iou(index, rle)?;
        let mask = rle.map(|rle| match self.options.masks {
            Masks::Predicted => Segmentation::from(rle),
            Masks::Outlines => Segmentation::Polygons(judgement.polygons.clone()),
        });
        let expected_iou = self.calibration.map(|calibration| calibration.expected(said));
        Ok(Verdict { referent: index, candidate, expected_iou, mask, true_iou, judgement })
    }

    fn smallest_term(
        &self,
        judge: Judge,
        referent: &Referent,
        prediction: &Prediction,
    ) -> Result<(usize, Judgement), PseudoError> {
        let mut best: Option<(usize, Judgement)> = None;
        for (i, candidate) in prediction.candidates.iter().enumerate() {
            let size = (referent.height, referent.width);
            let judgement = judge.judge(&candidate.mask, referent.bbox, size);
            let judgement = judgement.map_err(|source| self.material.wrong(prediction.index, source))?;
            let term = |judgement: &Judgement| judgement.projection_term.unwrap_or(f32::INFINITY);
            if best.as_ref().is_none_or(|(_, best)| term(&judgement) < term(best)) {
                best = Some((i, judgement));
            }
        }
        Ok(best.unwrap_or((0, Judgement::nothing())))
    }

    fn expect(
        &self,
        quality: f64,
        referent: &Referent,
        prediction: &Prediction,
    ) -> Result<(usize, Judgement), PseudoError> {
        let all = self.options.keeps_all(quality);
        let chosen = self.material.best(prediction.index, |candidate| {
            let worth = match self.calibration {
                Some(calibration) => calibration.expected(candidate),
                None => candidate.agreement.map_or(0.0, f64::from),
            };
            // Of an outline nothing may be expected either; where all are kept, it is better than none.
            (all && matches!(self.label(referent, candidate), Ok(Some(_))), worth)
        });
        let candidate = &prediction.candidates[chosen];
        let label = self.label(referent, candidate);
        let label = label.map_err(|source| self.material.wrong(prediction.index, source))?;
        let Some((polygons, mask)) = label else { return Ok((chosen, Judgement::nothing())) };
        let expected = self.calibration.map_or(1.0, |calibration| calibration.expected(candidate));
        let (projection_term, kept) = (candidate.projection_term, expected.max(0.0) >= quality);
        Ok((chosen, Judgement { polygons, mask: Some(mask), projection_term, kept }))
    }

    /// The polygons and the mask that are written of a candidate. Nothing where they have no vertices to learn, as of
    /// an outline that was fitted to a box of one pixel's width.
    fn label(&self, referent: &Referent, candidate: &Candidate) -> Result<Option<Label>, MaskError> {
        if !candidate.has_outline() {
            return Ok(None);
        }
        let (polygons, mask) = match self.options.masks {
            Masks::Predicted => (Vec::new(), candidate.mask.clone()),
            Masks::Outlines => {
                let polygons = outlines(&candidate.mask);
                let filled = Rle::from_polygons(referent.height, referent.width, &polygons)?;
                (polygons, filled)
            }
        };
        Ok(encloses_area(&mask).then_some((polygons, mask)))
    }
}

/// Polygons, if those are to be written, and the mask that a training would see.
type Label = (Vec<Vec<f64>>, Rle);

fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    match values.clone().count() {
        0 => None,
        count => Some(values.sum::<f64>() / count as f64),
    }
}

/// Where `label` writes and `pick` looks if no file is named: beside the annotations.
pub fn predictions_file(annotations: &Path) -> PathBuf {
    annotations.with_file_name("predictions.jsonl")
}
