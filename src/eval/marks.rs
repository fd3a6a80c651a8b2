//! The marks beside every score: what ignoring the words could reach, and what perfect tokens would.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::config::{ModelConfig, Task};
use crate::data::{Dataset, Preparation};
use crate::mask;
use crate::model::{Answer, Sequence, Spoken, Targets};
use crate::report::Scores;

use super::metrics::{box_iou, standard_scores};
use super::{EvalError, Outcome, Shape, Truth};

/// What a model that sees the image but ignores the words could reach at best, in the standard
/// protocol: for each image it says the same thing whatever is asked, namely the one object whose
/// mask has the highest mean IoU over the image's expressions, each expression counted. For boxes it
/// is the object that is right (IoU > 0.5) most often, then the one with the highest mean IoU.
///
/// `referents` of the split are considered; candidates are the objects among them.
pub fn blind(dataset: &Dataset, referents: &[usize], preparation: &Preparation) -> Result<Scores, EvalError> {
    let truths = truths(dataset, referents, preparation)?;
    let mut images: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, &referent) in referents.iter().enumerate() {
        images.entry(dataset.image_of(referent)).or_default().push(place);
    }
    let of_images: Vec<Vec<Outcome>> = images
        .into_par_iter()
        .map(|(_, members)| blind_in_image(dataset, referents, &truths, &members))
        .collect::<Result<_, _>>()?;
    Ok(standard_scores(of_images.iter().flatten()))
}

/// One object as the answer to all that is asked about its image.
struct Candidate {
    /// For each referent of the image.
    outcomes: Vec<Outcome>,
    /// Sum over the expressions of the IoU of masks.
    mask_sum: f64,
    /// Expressions with the right box, and the sum of the IoU of boxes.
    box_sum: (usize, f64),
}

/// The outcomes of the best fixed answers to all that is asked about one image.
fn blind_in_image(
    dataset: &Dataset,
    referents: &[usize],
    truths: &[Truth],
    members: &[usize],
) -> Result<Vec<Outcome>, EvalError> {
    let asked = |outcome: &Outcome| dataset.referent(outcome.referent).askable();
    let compare = |said: &Truth, member: usize| -> Result<Outcome, EvalError> {
        let (referent, truth) = (referents[member], &truths[member]);
        let wrong = |source| EvalError::Mask { split: dataset.split_name().to_owned(), referent, source };
        let masks = said.mask.as_ref().zip(truth.mask.as_ref());
        let mask =
            masks.map(|(said, truth)| said.intersection_and_union(truth)).transpose().map_err(wrong)?;
        Ok(Outcome { referent, mask, bbox: Some(box_iou(said.bbox, truth.bbox)), ..Outcome::default() })
    };
    let candidate = |&candidate: &usize| -> Result<Candidate, EvalError> {
        let compared = members.iter().map(|&member| compare(&truths[candidate], member));
        let outcomes: Vec<Outcome> = compared.collect::<Result<_, _>>()?;
        let (mut mask_sum, mut box_sum) = (0.0, (0, 0.0));
        for outcome in &outcomes {
            let times = asked(outcome).count();
            let bbox = outcome.bbox.unwrap_or(0.0);
            mask_sum += times as f64 * outcome.mask_iou().unwrap_or(0.0);
            box_sum.0 += if bbox > 0.5 { times } else { 0 };
            box_sum.1 += times as f64 * bbox;
        }
        Ok(Candidate { outcomes, mask_sum, box_sum })
    };
    let candidates: Vec<Candidate> = members.iter().map(candidate).collect::<Result<_, _>>()?;
    let by_mask = candidates.iter().reduce(|a, b| if b.mask_sum > a.mask_sum { b } else { a });
    let by_box = candidates.iter().reduce(|a, b| if b.box_sum > a.box_sum { b } else { a });
    let Some((by_mask, by_box)) = by_mask.zip(by_box) else { return Ok(Vec::new()) };
    let mut outcomes = Vec::new();
    for (mask, bbox) in by_mask.outcomes.iter().zip(&by_box.outcomes) {
        let best = Outcome { bbox: bbox.bbox, ..mask.clone() };
        outcomes.extend(asked(mask).map(|expression| Outcome { expression, ..best.clone() }));
    }
    Ok(outcomes)
}

/// What perfect answers would score: the ground truth of each referent through the sampling of
/// vertices, quantisation and back, judged like a prediction; what is not known doesn't count. One outcome for each expression, for
/// both protocols.
pub fn ceiling(
    cfg: &ModelConfig,
    dataset: &Dataset,
    referents: &[usize],
    preparation: &Preparation,
) -> Result<Vec<Outcome>, EvalError> {
    let truths = truths(dataset, referents, preparation)?;
    let of_referents: Vec<Vec<Outcome>> = referents
        .par_iter()
        .zip(&truths)
        .map(|(&referent, truth)| {
            let shape = Shape::of_answer(cfg, &perfect_answer(cfg, truth), &truth.place);
            let (mut outcome, _) = truth.judge(&shape, dataset.split_name(), (referent, 0))?;
            if cfg.task == Task::Segmentation && truth.mask.is_none() {
                // The box is around the vertices, and of an outline that isn't known there are none.
                outcome.bbox = None;
            }
            let askable = dataset.referent(referent).askable();
            Ok(askable.map(|expression| Outcome { expression, ..outcome.clone() }).collect())
        })
        .collect::<Result<_, EvalError>>()?;
    Ok(of_referents.into_iter().flatten().collect())
}

/// The tokens that training would teach for this referent.
fn perfect_answer(cfg: &ModelConfig, truth: &Truth) -> Answer {
    let vertices = || {
        let mask = truth.padded_mask.as_ref().map(|rle| mask::vertices(&rle.to_mask(), cfg.vertices));
        vec![mask.unwrap_or_default()]
    };
    let targets = Targets {
        pad_hw: vec![truth.place.pad_hw],
        boxes: (cfg.task != Task::Segmentation).then(|| vec![truth.padded_bbox]),
        vertices: (cfg.task != Task::Detection).then(vertices),
        labels: None,
        weights: None,
    };
    let tokens = Sequence::of_targets(cfg, &targets).remove(0).tokens;
    let said = |tokens: &[u32]| Some(Spoken { tokens: tokens.to_vec(), ..Spoken::default() });
    match cfg.task {
        Task::Detection => Answer { bounds: said(&tokens), outline: None },
        Task::Segmentation => Answer { bounds: None, outline: said(&tokens) },
        Task::MultiTask => Answer { bounds: said(&tokens[..4]), outline: said(&tokens[4..]) },
    }
}

fn truths(
    dataset: &Dataset,
    referents: &[usize],
    preparation: &Preparation,
) -> Result<Vec<Truth>, EvalError> {
    let truth = |&referent| Truth::new(dataset, referent, preparation);
    referents.par_iter().map(truth).collect()
}
