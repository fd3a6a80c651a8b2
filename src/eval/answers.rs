//! Asking a network about a split.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Device;
use rayon::prelude::*;

use crate::data::{Batch, Dataset, Loader, Plan, Preparation, Row};
use crate::mask::Rle;
use crate::model::{Answer, Constraint, ModelError, Network, Strategy};
use crate::parallel::world;
use crate::report::Progress;

use super::{EvalError, Outcome, Place, Shape, Truth, WithinBoxes};

/// What is asked, and how.
pub struct Questions<'a> {
    pub dataset: &'a Arc<Dataset>,
    /// From [`Plan::evaluation`]: the expressions about an image are neighbours, so that its features
    /// are computed once for all of them.
    pub plan: Plan,
    /// From [`Preparation::evaluation`].
    pub preparation: Preparation,
    pub device: &'a Device,
    /// Threads that prepare images; 0 means as many as compute, at most 16.
    pub workers: usize,
    /// Where the referents' boxes are known, coordinates may be held to them and a margin, a share of their
    /// sides ([`WithinBoxes`]).
    pub within: Option<f64>,
}

/// One answer and what it is worth.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Index of the referent in its split.
    pub referent: usize,
    /// The referent whose expression was asked: the same, unless expressions were swapped.
    pub asked: usize,
    /// Index of the expression among those of `asked`.
    pub expression: usize,
    pub answer: Answer,
    /// In `place`, the frame in which it was compared.
    pub shape: Shape,
    pub place: Place,
    /// In the original image; `None` without an outline.
    pub mask: Option<Rle>,
    pub outcome: Outcome,
}

/// Asks every question greedily and hands the answers to `each`, batch by batch in the order of the
/// plan, one answer for each row. Images that can't be read are errors.
///
/// Several processes answer in turns, each a batch; `each` sees all answers in the root process and none
/// elsewhere. Where it ends the asking there, the others end with [`EvalError::Stopped`].
pub fn answer_batches<E: From<EvalError>>(
    network: &Network,
    questions: Questions<'_>,
    mut each: impl FnMut(&Batch, Vec<Answer>) -> Result<(), E>,
) -> Result<(), E> {
    let Questions { dataset, mut plan, preparation, device, workers, within } = questions;
    let (rank, processes) = (world().rank(), world().size());
    let rounds = plan.len().div_ceil(processes);
    if rank != 0 {
        // The root prepares all batches, since it says what their answers mean.
        plan.every(rank, processes);
    }
    network.arithmetic().allow();
    let side = preparation.padded_side();
    let mut loader = Loader::new(Arc::clone(dataset), plan, preparation, 0, workers, None);
    for _ in 0..rounds {
        let batches: Result<Vec<Batch>, _> =
            loader.by_ref().take(if rank == 0 { processes } else { 1 }).collect();
        let mut batches = agreed(batches.map_err(EvalError::Data))?;
        if let Some(batch) = batches.first_mut() {
            // As the large batches of training and of the reference are; the map's size decides about the
            // lines of co-content and the norms of the projection.
            batch.pad_to(side, side);
        }
        let answers = match batches.first().and_then(|batch| Some((batch, batch.rows.first()?))) {
            None => Vec::new(),
            Some((batch, first)) => ask(network, batch, device, within).map_err(|source| {
                EvalError::Batch { split: dataset.split_name().to_owned(), referent: first.referent, source }
            })?,
        };
        let taken =
            batches.iter().zip(exchange(answers)).enumerate().try_for_each(|(rank, (batch, answers))| {
                let (found, expected) = (answers.len(), batch.rows.len());
                if found != expected {
                    return Err(EvalError::Answers { rank, found, expected }.into());
                }
                each(batch, answers)
            });
        if world().any(taken.is_err()) {
            taken?;
            return Err(EvalError::Stopped.into());
        }
    }
    Ok(())
}

/// The same unless it failed in some process. What fails in the root, which prepares all batches, is its error alone:
/// the others end in good order, so that it has the time to save.
fn agreed<T>(own: Result<T, EvalError>) -> Result<T, EvalError> {
    let failed = |yes: bool| f64::from(u8::from(yes));
    let mut counts = [failed(own.is_err()), failed(own.is_err() && world().is_root())];
    world().sum_f64(&mut counts);
    match counts {
        [0.0, _] => own,
        [_, of_root] if of_root > 0.0 && !world().is_root() => Err(EvalError::Stopped),
        _ => own.and(Err(EvalError::Stopped)),
    }
}

/// The answers of all processes, in the order of ranks, at the root.
fn exchange(answers: Vec<Answer>) -> Vec<Vec<Answer>> {
    if world().is_alone() {
        return vec![answers];
    }
    let bytes = serde_json::to_vec(&answers).expect("answers are numbers in lists");
    let all = world().gather(&bytes);
    all.iter().map(|bytes| serde_json::from_slice(bytes).expect("written by the same program")).collect()
}

/// Asks every question greedily, compares each answer with the truth and hands it to `each`, in the
/// order of the plan. Images that can't be read are errors. They are compared as `framed` prepares whole images or
/// close-ups of the true boxes, whatever is looked at to answer.
pub fn answer(
    network: &Network,
    questions: Questions<'_>,
    framed: &Preparation,
    progress: &Progress,
    mut each: impl FnMut(Judged) -> Result<(), EvalError>,
) -> Result<(), EvalError> {
    let dataset = Arc::clone(questions.dataset);
    answer_batches(network, questions, |batch, answers| {
        let dataset = dataset.as_ref();
        let truths = truths(dataset, &batch.rows, framed)?;
        let judge = |((row, pad_hw), answer): ((&Row, _), Answer)| {
            let (seen, truth) = (Place::of_row(row, pad_hw), &truths[&row.referent]);
            let shape = Shape::of_answer(network.config(), &answer, &seen).moved(&seen, &truth.place);
            judge(dataset.split_name(), row, answer, shape, truth)
        };
        let rows = batch.rows.par_iter().zip(batch.row_pad_hw());
        let judged: Vec<Judged> = rows.zip(answers).map(judge).collect::<Result<_, _>>()?;
        progress.advance(judged.len() as u64);
        judged.into_iter().try_for_each(&mut each)
    })
}

fn ask(
    network: &Network,
    batch: &Batch,
    device: &Device,
    within: Option<f64>,
) -> Result<Vec<Answer>, ModelError> {
    let encoded = network.forward(&batch.inputs(device)?, &network.evaluation())?;
    let cfg = network.config();
    let boxes = within.map(|margin| WithinBoxes::new(cfg, batch, margin));
    let constraint = boxes.as_ref().map(|boxes| boxes as &dyn Constraint);
    Ok(network.generate(&encoded, cfg.task, Strategy::Greedy, constraint)?)
}

/// The truths of a batch, each referent's once.
fn truths(
    dataset: &Dataset,
    rows: &[Row],
    preparation: &Preparation,
) -> Result<HashMap<usize, Truth>, EvalError> {
    let mut referents: Vec<usize> = rows.iter().map(|row| row.referent).collect();
    referents.sort_unstable();
    referents.dedup();
    let truth = |referent| Ok((referent, Truth::new(dataset, referent, preparation)?));
    referents.into_par_iter().map(truth).collect()
}

fn judge(split: &str, row: &Row, answer: Answer, shape: Shape, truth: &Truth) -> Result<Judged, EvalError> {
    let (outcome, mask) = truth.judge(&shape, split, (row.referent, row.expression))?;
    let (referent, asked, expression) = (row.referent, row.asked, row.expression);
    Ok(Judged { referent, asked, expression, answer, shape, place: truth.place, mask, outcome })
}
