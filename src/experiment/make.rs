//! Making one step.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;

use super::origin::Origin;
use super::source::TRAIN;
use super::step::CODE;
use super::store::{Claim, PREDICTIONS, StepStore, write_text};
use super::work::{
    Annotated, Evaluation, LabelMethod, Labels, Picking, Sampling, Training, Work, best_weights,
};
use super::{Done, ExperimentError, LabelQuality, Outcome, SplitScores, Step, Trained};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::{Config, Task};
use crate::data::{Annotations, Dataset, INSTANCES};
use crate::eval::{EvalError, EvalOptions, Look, Mark, SplitReport, evaluate};
use crate::pseudo::{
    Criterion, Judge, Labelling, PickOptions, Picked, Predictions, PseudoError, SampleOptions, label, pick,
    pick_file, sample_into, usual_batch_size,
};
use crate::report::{Log, Protocol, ResultRow, Weights};
use crate::train::{Outcome as Ended, RunFolder, TrainError, Trainer};

/// Expressions in a batch of an evaluation.
const BATCH: usize = 32;
const VERDICTS: &str = "verdicts.csv";

/// Where and with what steps are made.
pub struct Workplace<'a> {
    pub store: &'a StepStore,
    pub device: &'a Device,
    pub log: &'a Log,
    /// Asked now and then; true ends the work so that it can be gone on with.
    pub stop: &'a dyn Fn() -> bool,
}

/// How making a step ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    Done(Done),
    /// Asked to stop; it goes on from there next time.
    Stopped,
    /// Another process is making it.
    Busy,
}

impl Workplace<'_> {
    /// Makes a step whose needs are done, unless it is done itself; says `title` when it begins.
    pub fn make(&self, step: &Step, title: &str) -> Result<Made, ExperimentError> {
        if let Some(done) = self.store.done(step)? {
            return Ok(Made::Done(done));
        }
        let Some(claim) = self.store.claim(step)? else { return Ok(Made::Busy) };
        // Another process may have finished it in between.
        if let Some(done) = self.store.done(step)? {
            return Ok(Made::Done(done));
        }
        if (self.stop)() {
            return Ok(Made::Stopped);
        }
        self.log.line(format!("{title}: {}", claim.folder.display()))?;
        step.work.source().check()?;
        let started = Instant::now();
        let made = match &step.work {
            Work::Train(training) => self.train(training, &claim)?,
            Work::Sample(sampling) => Some(draw(sampling, &claim.folder)?),
            Work::Label(labels) => self.label(labels, &claim)?,
            Work::Pick(picking) => Some(self.pick(picking, &claim)?),
            Work::Evaluate(evaluation) => self.evaluate(evaluation, &claim)?,
        };
        let Some((outcome, seconds)) = made else { return Ok(Made::Stopped) };
        // It was read in between.
        step.work.source().check()?;
        let seconds = seconds.unwrap_or(started.elapsed().as_secs_f64());
        let done = Done { seconds, code: Some(CODE.to_owned()), outcome };
        claim.finish(&done)?;
        Ok(Made::Done(done))
    }

    fn train(&self, training: &Training, claim: &Claim) -> Result<Option<Gained>, ExperimentError> {
        let config = self.resolved(training);
        let folder = claim.folder.join("run");
        let mut trainer = match self.resumed(&folder, &config)? {
            Some(trainer) => trainer,
            None => {
                if folder.exists() {
                    std::fs::remove_dir_all(&folder).map_err(ExperimentError::io(&folder))?;
                }
                self.check_beginning(training)?;
                let run = RunFolder::at(folder, &config)?;
                Trainer::begin(config, run, Weights::Raw, self.device, Log::bars())?
            }
        };
        if trainer.run(&|_| (self.stop)())? == Ended::Stopped {
            return Ok(None);
        }
        let (state, weights) = (trainer.state(), best_weights(&training.config));
        let rows =
            state.scores.iter().filter(|row| row.protocol == Protocol::Standard && row.weights == weights);
        let score = |row: &ResultRow| match training.config.model.task {
            Task::Detection => row.box_acc,
            Task::Segmentation | Task::MultiTask => row.miou,
        };
        let curve = rows.filter_map(|row| Some((row.step, score(row)?))).collect();
        let outcome = Outcome::Trained(Trained { steps: state.step, curve });
        Ok(Some((outcome, Some(state.seconds))))
    }

    /// The training in a folder where it was left; nothing where none was, or none that can be gone on with.
    fn resumed(&self, folder: &Path, config: &Config) -> Result<Option<Trainer>, ExperimentError> {
        if !folder.join("checkpoints/latest").exists() {
            return Ok(None);
        }
        // A kill may have left the newest one beside its place.
        RunFolder::mend(folder)?;
        let resumed = Checkpoint::open(folder).map_err(TrainError::from).and_then(|mut checkpoint| {
            checkpoint.config = config.clone();
            Trainer::resume(&checkpoint, self.device, Log::bars())
        });
        match resumed {
            Ok(trainer) => Ok(Some(trainer)),
            Err(TrainError::Checkpoint(
                problem @ (CheckpointError::NoneWhole { .. }
                | CheckpointError::NotACheckpoint { .. }
                | CheckpointError::Damaged { .. }
                | CheckpointError::NoOptimizer { .. }),
            )) => {
                self.log.line(format!("from the beginning, as {problem}"))?;
                Ok(None)
            }
            Err(other) => Err(other.into()),
        }
    }

    /// The configuration of a training with the places of its inputs.
    fn resolved(&self, training: &Training) -> Config {
        let mut config = training.config.clone();
        config.data.train_annotations = match &training.annotations {
            Annotated::All => INSTANCES.to_owned(),
            Annotated::Some(step) => self.store.annotations_of(step).display().to_string(),
        };
        config.train.finetune_from = training.from.as_ref().map(|from| match from {
            Origin::Given(given) => given.folder.clone(),
            Origin::Made(step) => self.run_of(step),
        });
        // Nothing here needs more than the last one, and the best one as it comes.
        config.train.keep = 1;
        config
    }

    fn label(&self, labels: &Labels, claim: &Claim) -> Result<Option<Gained>, ExperimentError> {
        let checkpoint = self.trained(&labels.by)?;
        let config = Config { data: labels.config.data.clone(), ..checkpoint.config.clone() };
        let network = checkpoint.network(labels.weights, self.device)?;
        let dataset = Dataset::open(&config.data, INSTANCES, TRAIN)?;
        let labelling = Labelling {
            network: &network,
            weights: labels.weights,
            checkpoint: &checkpoint,
            config: &config,
            dataset: &Arc::new(dataset.with_vocabulary(checkpoint.vocabulary.clone())),
            device: self.device,
            method: labels.method,
            expressions: labels.expressions,
            batch_size: usual_batch_size(&config),
            force: false,
        };
        let (out, log) = (claim.folder.join(PREDICTIONS), Log::bars());
        let mut labelled = label(&labelling, &out, &log, self.stop);
        if let Err(PseudoError::AnotherLabelling { .. }) = labelled {
            // Begun by a program with another batch size.
            labelled = label(&Labelling { force: true, ..labelling }, &out, &log, self.stop);
        }
        match labelled {
            Err(PseudoError::Eval(EvalError::Stopped)) => Ok(None),
            labelled => Ok(Some((Outcome::Labelled { referents: labelled?.referents }, None))),
        }
    }

    fn pick(&self, picking: &Picking, claim: &Claim) -> Result<Gained, ExperimentError> {
        let (criterion, masks, weights) = match picking.method {
            LabelMethod::Rpp { threshold, masks } => (Criterion::Rpp(Judge { threshold }), masks, false),
            LabelMethod::Boxes(by) | LabelMethod::CloseUp(by) => {
                (Criterion::Quality(by.quality), by.masks, by.weights)
            }
        };
        let all = Annotations::read(&picking.source.path)?;
        let labelled = Annotations::read(&self.store.annotations_of(&picking.sample))?;
        let predictions = Predictions::read(&self.store.predictions_of(&picking.labels))?;
        let options = PickOptions { criterion, masks, weights, force: true };
        let out = claim.folder.join(pick_file(picking.ratio));
        let picked = pick(&all, &labelled, &predictions, &out, &options)?;
        write_text(&claim.folder.join(VERDICTS), &verdicts(&picked))?;
        Ok((Outcome::Picked(quality(&picked)), None))
    }

    fn evaluate(&self, evaluation: &Evaluation, claim: &Claim) -> Result<Option<Gained>, ExperimentError> {
        let (checkpoint, network) = self.asked(&evaluation.of)?;
        let config = Config { data: evaluation.of.data.clone(), ..checkpoint.config.clone() };
        let labeller = evaluation.second_look.as_ref().map(|asked| self.asked(asked)).transpose()?;
        let second = labeller.as_ref().map(|(Checkpoint { vocabulary, config, .. }, network)| {
            Look::closer(network, vocabulary, config)
        });
        let second = second.transpose()?;
        let log = Log::bars().with_file(&claim.folder.join("log.txt"))?;
        let mut splits = Vec::new();
        for dataset in Dataset::open_splits(&config.data, INSTANCES, &evaluation.splits)? {
            let asked = Arc::new(dataset.with_vocabulary(checkpoint.vocabulary.clone()));
            let options = EvalOptions {
                batch_size: BATCH,
                workers: config.data.workers,
                second: second.as_ref(),
                stop: Some(&self.stop),
                ..EvalOptions::default()
            };
            let networks = [(evaluation.of.weights, &network)];
            let report = match evaluate(&networks, &asked, &config, self.device, options, &log) {
                Err(EvalError::Stopped) => return Ok(None),
                report => report?,
            };
            log.line(report.table().to_string())?;
            splits.extend(split_scores(&report));
        }
        Ok(Some((Outcome::Evaluated { splits }, None)))
    }
}

/// What came of it, and the seconds where they are known better than by the clock.
type Gained = (Outcome, Option<f64>);

fn draw(sampling: &Sampling, folder: &Path) -> Result<Gained, ExperimentError> {
    let all = Annotations::read(&sampling.source.path)?;
    let Sampling { ratio, seed, .. } = *sampling;
    let drawn =
        sample_into(folder, &all, &SampleOptions { split: TRAIN.to_owned(), ratio, seed, force: true })?;
    Ok((Outcome::Drawn { records: drawn.records, of: drawn.of }, None))
}

/// A line for each referent without a mask of its own.
fn verdicts(picked: &Picked) -> String {
    let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let lines = picked.verdicts.iter().map(|verdict| {
        let judgement = &verdict.judgement;
        let term = judgement.projection_term.map(f64::from);
        let (referent, kept) = (verdict.referent, u8::from(judgement.kept));
        let expected = cell(verdict.expected_iou);
        format!("{referent},{},{expected},{kept},{}\n", cell(term), cell(verdict.true_iou))
    });
    "referent,projection_term,expected_iou,kept,true_iou\n".to_owned() + &lines.collect::<String>()
}

fn quality(picked: &Picked) -> LabelQuality {
    let kept = picked.verdicts.iter().filter(|verdict| verdict.judgement.kept);
    let ious: Vec<f64> = kept.filter_map(|verdict| verdict.true_iou).collect();
    let share = |above: f64| {
        let hits = ious.iter().filter(|&&iou| iou > above).count();
        (!ious.is_empty()).then(|| 100.0 * hits as f64 / ious.len() as f64)
    };
    let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
    LabelQuality {
        labelled: picked.labelled,
        unlabelled: picked.verdicts.len(),
        kept: picked.kept,
        iou: percent(picked.true_iou_of_kept),
        p50: share(0.5),
        p90: share(0.9),
        iou_of_rejected: percent(picked.true_iou_of_rejected),
    }
}

fn split_scores(report: &SplitReport) -> Option<SplitScores> {
    let result = report.results.iter().find(|result| result.protocol == Protocol::Standard)?;
    let mark = |mark| report.mark(mark, Protocol::Standard).and_then(|scores| scores.miou);
    Some(SplitScores {
        split: report.split.clone(),
        expressions: result.expressions,
        scores: result.scores,
        blind: mark(Mark::Blind),
        permuted: mark(Mark::Permuted),
        ceiling: mark(Mark::Ceiling),
    })
}
