//! What a network says about every referent of a split.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use rayon::prelude::*;

use super::predictions::PredictionLog;
use super::subset::sha256;
use super::{Asked, Candidate, Header, Judge, Method, Prediction, PseudoError, fit_to_box};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, Task, Transform};
use crate::data::{Dataset, ExpressionChoice, Plan, Preparation, Row};
use crate::eval::{EvalError, Place, Questions, Shape, answer_batches};
use crate::mask::{MaskError, Rle};
use crate::model::{Answer, Network};
use crate::parallel::world;
use crate::report::{Log, Weights};

/// Who is asked about what, and how.
pub struct Labelling<'a> {
    /// With the `weights` of the checkpoint.
    pub network: &'a Network,
    pub weights: Weights,
    pub checkpoint: &'a Checkpoint,
    /// The checkpoint's, whose data keys may have changed.
    pub config: &'a Config,
    /// Must number words as the network does ([`Dataset::with_vocabulary`]).
    pub dataset: &'a Arc<Dataset>,
    pub device: &'a Device,
    pub method: Method,
    pub expressions: Asked,
    /// Expressions in a batch.
    pub batch_size: usize,
    /// Begin anew, whatever the file holds.
    pub force: bool,
}

/// Expressions in a batch where nobody says otherwise. Twice as many of small images share the cost of laying out
/// kernels and weights; large ones would fill the memory.
pub fn usual_batch_size(config: &Config) -> usize {
    if config.data.image_size <= 128 { 64 } else { 32 }
}

/// How far a labelling went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Referents that were in the file already.
    pub before: usize,
    /// Referents now.
    pub referents: usize,
}

/// Outlines every referent of a split and writes `predictions.jsonl` to `out`. Everything is in the
/// frame of the original image (quirk 41). A labelling that was killed is taken up where the file
/// ends, and the file ends with the same bytes. `stop` is asked after each batch; true ends with
/// [`EvalError::Stopped`], to be taken up later.
pub fn label(
    labelling: &Labelling<'_>,
    out: &Path,
    log: &Log,
    stop: &dyn Fn() -> bool,
) -> Result<Labelled, PseudoError> {
    let &Labelling { network, weights, checkpoint, config, dataset, device, .. } = labelling;
    if network.config().task == Task::Detection {
        return Err(PseudoError::NoOutlines);
    }
    let header = Header {
        format: Header::FORMAT,
        dataset: config.data.dataset.clone(),
        annotations_sha256: sha256(dataset.annotations().text()),
        split: dataset.split_name().to_owned(),
        referents: dataset.len(),
        checkpoint_sha256: checkpoint.hash(weights).unwrap_or_default().to_owned(),
        weights,
        method: labelling.method,
        expressions: labelling.expressions,
        batch_size: labelling.batch_size,
        preparation: prepared(config),
        arithmetic: network.arithmetic(),
    };
    // One process writes; all must know where it begins.
    let mut file = match world().is_root() {
        true => Some(PredictionLog::open(out, &header, labelling.force)?),
        false => None,
    };
    let before = of_root(file.as_ref().map(|file| file.written));
    let preparation = Preparation::evaluation(config);
    let choice = match labelling.expressions {
        Asked::First => ExpressionChoice::First,
        Asked::All => ExpressionChoice::All,
    };
    let mut plan = Plan::labelling(dataset, choice, labelling.batch_size, &preparation);
    let all = plan.rows();
    // Whole batches, also where part of one is in the file: what else is in a batch may change the
    // last digit of a score.
    plan.retain(|batch| batch.iter().any(|entry| entry.referent >= before));
    let progress = log.progress(all, &header.split, "expressions");
    progress.set_position((all - plan.rows()) as u64);
    let within = (labelling.method == Method::Boxes).then_some(MARGIN);
    let questions = Questions { dataset, plan, preparation, device, workers: config.data.workers, within };
    let mut waiting = Waiting { dataset, asked: labelling.expressions, next: before, said: BTreeMap::new() };
    let answered = answer_batches(network, questions, |batch, answers| {
        let pad_hw = batch.row_pad_hw();
        let rows = batch.rows.par_iter().zip(pad_hw).zip(answers);
        let said: Vec<(usize, Candidate)> = rows
            .map(|((row, pad_hw), answer)| Ok((row.referent, candidate(labelling, row, pad_hw, &answer)?)))
            .collect::<Result<_, EvalError>>()?;
        progress.advance(said.len() as u64);
        let ready = waiting.take(said)?;
        if let Some(file) = &mut file {
            file.write(&ready)?;
        }
        if stop() { Err(PseudoError::from(EvalError::Stopped)) } else { Ok(()) }
    });
    progress.finish();
    answered?;
    let referents = of_root(file.as_ref().map(|file| file.written));
    if let Some(file) = file {
        file.finish()?;
    }
    Ok(Labelled { before, referents })
}

/// How a configuration prepares images and words to be asked about.
fn prepared(config: &Config) -> String {
    let data = &config.data;
    let (pixels, words) = (data.image_size, data.max_words);
    match data.train_transform {
        Transform::CloseUp => {
            format!("{pixels} pixels, {words} words, close-ups with a margin of {}", data.close_up.margin)
        }
        Transform::Resize | Transform::Jitter => {
            format!("{pixels} pixels, {words} words, padded to a square")
        }
    }
}

/// Beyond a known box, as a share of its sides, an outline may still go while it is being said.
const MARGIN: f64 = 0.02;

/// A count that the root has and all need.
fn of_root(own: Option<usize>) -> usize {
    let mut sum = [own.unwrap_or(0) as f64];
    world().sum_f64(&mut sum);
    sum[0] as usize
}

/// Answers come by image, lines go by referent.
struct Waiting<'a> {
    dataset: &'a Dataset,
    asked: Asked,
    /// The first referent that is not in the file.
    next: usize,
    said: BTreeMap<usize, Vec<Candidate>>,
}

impl Waiting<'_> {
    /// Adds answers and gives back the referents that are next and complete.
    fn take(&mut self, said: Vec<(usize, Candidate)>) -> Result<Vec<Prediction>, EvalError> {
        for (referent, candidate) in said.into_iter().filter(|&(referent, _)| referent >= self.next) {
            self.said.entry(referent).or_default().push(candidate);
        }
        let mut ready = Vec::new();
        while let Some(candidates) = self.said.get(&self.next).filter(|said| said.len() == self.wanted()) {
            let mut candidates = candidates.clone();
            self.said.remove(&self.next);
            agree(&mut candidates).map_err(|source| {
                let split = self.dataset.split_name().to_owned();
                EvalError::Mask { split, referent: self.next, source }
            })?;
            let image_id = self.dataset.referent(self.next).image_id.clone();
            ready.push(Prediction { index: self.next, image_id, candidates });
            self.next += 1;
        }
        Ok(ready)
    }

    /// Candidates of the next referent.
    fn wanted(&self) -> usize {
        match self.asked {
            Asked::First => 1,
            Asked::All => self.dataset.referent(self.next).askable().count(),
        }
    }
}

fn candidate(
    labelling: &Labelling<'_>,
    row: &Row,
    pad_hw: (usize, usize),
    answer: &Answer,
) -> Result<Candidate, EvalError> {
    let &Labelling { network, dataset, config, method, .. } = labelling;
    let split = || dataset.split_name().to_owned();
    let wrong = |source| EvalError::Mask { split: split(), referent: row.referent, source };
    let place = Place::of_row(row, pad_hw);
    let shape = Shape::of_answer(network.config(), answer, &place);
    let mut outline = shape.original_outline(&place).unwrap_or_default();
    let (height, width) = place.original_hw;
    let fill = |outline: &[[f64; 2]]| Rle::from_polygon(height, width, outline.as_flattened()).map_err(wrong);
    let mut mask = fill(&outline)?;
    let referent = dataset.referent(row.referent);
    let judgement = Judge::default().judge(&mask, referent.bbox, place.original_hw).map_err(wrong)?;
    // Points of a close-up lie a little inside the box for a reason: not every pixel of a rim is a vertex.
    if method == Method::Boxes && config.data.train_transform != Transform::CloseUp {
        fit_to_box(&mut outline, referent.bbox);
        mask = fill(&outline)?;
    }
    let spoken = || answer.bounds.iter().chain(&answer.outline);
    let logs = || spoken().flat_map(|said| said.log_probabilities.iter().copied());
    Ok(Candidate {
        expression: referent.expressions[row.expression].clone(),
        tokens: spoken().flat_map(|said| said.tokens.iter().copied()).collect(),
        polygons: if outline.len() < 3 { Vec::new() } else { vec![outline.into_flattened()] },
        mask,
        projection_term: judgement.projection_term,
        score: Some(logs().sum::<f32>() / logs().count() as f32).filter(|score| score.is_finite()),
        agreement: None,
    })
}

/// Compares the candidates of a referent with one another.
fn agree(candidates: &mut [Candidate]) -> Result<(), MaskError> {
    if candidates.len() < 2 {
        return Ok(());
    }
    let mut sums = vec![0.0; candidates.len()];
    for (i, one) in candidates.iter().enumerate() {
        for (j, other) in candidates.iter().enumerate().skip(i + 1) {
            let iou = one.mask.iou(&other.mask, false)?;
            sums[i] += iou;
            sums[j] += iou;
        }
    }
    let others = (candidates.len() - 1) as f64;
    for (candidate, sum) in candidates.iter_mut().zip(sums) {
        candidate.agreement = Some((sum / others) as f32);
    }
    Ok(())
}
