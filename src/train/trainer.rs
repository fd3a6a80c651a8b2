//! The training loop.

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device};

use super::accuracy::Accuracy;
use super::average::Average;
use super::interval::Interval;
use super::rescue::Before;
use super::{Adam, Gradients, RunFolder, TrainError, clip_factor, learning_rate};
use crate::checkpoint::{Store, TrainState};
use crate::config::{BatchStatistics, Config, ModelConfig, Precision};
use crate::data::{Batch, Dataset, Loader, Plan, Preparation, Row, Visit, shuffle_vertices};
use crate::eval::EvalError;
use crate::model::{Losses, Network, Sequence, Targets, weight_sum};
use crate::nn::{Parameter, Parameters, Pass};
use crate::parallel::world;
use crate::random::Stream;
use crate::report::Log;

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// Asked to stop; everything is saved.
    Stopped,
}

/// Whether to stop here.
type Stop<'a> = &'a dyn Fn(&TrainState) -> bool;

/// A network, what it learns from, and how far it is.
///
/// Whatever is random is a function of `train.seed` and of the counters in [`TrainState`], so that
/// a training that goes on from a checkpoint does what it would have done without the pause.
pub struct Trainer {
    pub(super) config: Config,
    pub(super) device: Device,
    pub(super) run: RunFolder,
    pub(super) store: Store,
    pub(super) log: Log,
    pub(super) train: Arc<Dataset>,
    pub(super) val: Arc<Dataset>,
    pub(super) network: Network,
    /// The same weights without a graph.
    pub(super) inference: Network,
    pub(super) parameters: Parameters,
    pub(super) trainable: Vec<Parameter>,
    /// Running statistics of the batch norms.
    pub(super) buffers: Vec<Parameter>,
    pub(super) adam: Adam,
    pub(super) average: Option<Average>,
    pub(super) state: TrainState,
    /// Of the run folder, in the root process.
    pub(super) _lock: Option<File>,
}

impl Trainer {
    /// Trains until all epochs are done, or until `stop` says so after a step or during an
    /// evaluation; then the run is saved, in the middle of an epoch if need be. So it is where a batch can't be
    /// read, before the error is given back.
    pub fn run(&mut self, stop: Stop) -> Result<Outcome, TrainError> {
        while self.state.epoch < self.config.train.epochs {
            let trained = match self.epoch(stop) {
                Err(unread @ (TrainError::Data(_) | TrainError::Elsewhere { .. })) => {
                    return Err(self.save_unread(unread));
                }
                other => other?,
            };
            if !(trained && self.end_epoch(stop)?) {
                self.save(&[])?;
                let (at, run) = (self.place(), self.run.path().display());
                self.log
                    .line(format!("stopped and saved in {at}; `train --resume {run}` goes on from here"))?;
                return Ok(Outcome::Stopped);
            }
        }
        Ok(Outcome::Finished)
    }

    /// Steps of one epoch until `stop` says so, of which nothing is saved: to measure the speed.
    pub(crate) fn try_out(&mut self, stop: Stop) -> Result<(), TrainError> {
        self.epoch(stop).map(drop)
    }

    /// Evaluates and saves where that is due; false if stopped meanwhile, still in the epoch. An evaluation
    /// that fails is an error after saving.
    fn end_epoch(&mut self, stop: Stop) -> Result<bool, TrainError> {
        let train = &self.config.train;
        let (epoch, every_save) = (self.state.epoch + 1, train.save_every);
        let last = epoch == train.epochs;
        let due = |every: usize| last || every > 0 && epoch.is_multiple_of(every);
        let best = match due(train.eval_every).then(|| self.evaluate(epoch, stop)).transpose() {
            Ok(best) => best.unwrap_or_default(),
            Err(TrainError::Eval(EvalError::Stopped)) => return Ok(false),
            Err(failed) => return Err(self.save_unevaluated(failed)),
        };
        (self.state.epoch, self.state.batch) = (epoch, 0);
        self.state.bad_images.clear();
        if due(every_save) || !best.is_empty() {
            self.save(&best)?;
        }
        Ok(true)
    }

    /// The rest of the epoch; false if stopped before its end.
    fn epoch(&mut self, stop: Stop) -> Result<bool, TrainError> {
        let (train, data) = (&self.config.train, &self.config.data);
        // Of the whole process; evaluations switch it off.
        candle_core::cuda::set_gemm_reduced_precision_f32(train.tf32);
        let visit = Visit {
            seed: train.seed,
            epoch: self.state.epoch as u64,
            batch_size: train.batch_size * world().size(),
            referents_per_image: data.referents_per_image,
            batches: train.epoch_steps * train.accumulate,
        };
        let mut plan = Plan::training(&self.train, &visit);
        plan.share(world().rank(), world().size());
        let batches = plan.len();
        let steps = batches.div_ceil(train.accumulate);
        if let Some(before) = self.state.divide_epoch(batches, train.accumulate) {
            let (epoch, batch) = (self.state.epoch + 1, self.state.batch);
            self.log.line(format!(
                "epoch {epoch} has {batches} batches now, {before} before: it goes on at the same share, batch {batch}"
            ))?;
        }
        let (preparation, bad) = (Preparation::training(&self.config), Some(data.max_bad));
        let dataset = Arc::clone(&self.train);
        let mut loader = Loader::new(dataset, plan, preparation, self.state.batch, data.workers, bad)
            .having_met(self.state.bad_images.iter().cloned());
        let label = format!("epoch {}/{}", self.state.epoch + 1, train.epochs);
        let progress = self.log.progress(batches, &label, "batches");
        progress.set_position(self.state.batch as u64);
        let mut interval = Interval::default();
        while self.state.batch < batches {
            let begun = self.state.batch;
            let step = begun / self.config.train.accumulate;
            let lr = learning_rate(&self.config.train, self.state.epoch, step, steps);
            self.step(&mut loader, lr, &mut interval)?;
            progress.advance((self.state.batch - begun) as u64);
            progress.note(interval.note());
            if self.state.step.is_multiple_of(self.config.train.log_every.max(1)) {
                self.log.line(interval.line(&label, self.state.step, lr))?;
                interval = Interval::default();
            }
            if world().any(stop(&self.state)) {
                progress.finish();
                return Ok(false);
            }
        }
        progress.finish();
        Ok(true)
    }

    /// One update of the weights, from the mean gradient of up to `accumulate` batches. If one of them can't be
    /// read, everything is as before the step.
    fn step(&mut self, loader: &mut Loader, lr: f64, interval: &mut Interval) -> Result<(), TrainError> {
        let started = Instant::now();
        let (mut mean, mut used) = (None::<Gradients>, 0);
        let parts = self.config.train.accumulate;
        let mut before = (parts > 1).then(|| Before::of(&self.state, &self.buffers)).transpose()?;
        for part in 0..parts {
            let waiting = Instant::now();
            let next = loader.next().transpose();
            interval.data_seconds += waiting.elapsed().as_secs_f64();
            // Each process must take part in every sum; where one has nothing to say, none does.
            let empty = next.as_ref().is_ok_and(|next| next.as_ref().is_some_and(Batch::is_empty));
            let [unread, empty] = sum([f64::from(next.is_err()), f64::from(empty)]);
            if unread > 0.0 {
                return Err(self.unread(before.take(), next.err())?);
            }
            let Some(mut batch) = next? else { break };
            self.state.batch += 1;
            for skipped in &batch.skipped {
                self.log.line(format!("left out: {}", skipped.error))?;
                self.state.bad_images = loader.bad().iter().cloned().collect();
            }
            if empty > 0.0 {
                continue;
            }
            if self.config.train.batch_statistics == BatchStatistics::Joint {
                // One batch has one size; padding has its part in the statistics.
                let sizes = world().share_f64(&[batch.height as f64, batch.width as f64]);
                let largest = |side: usize| sizes.iter().map(|size| size[side] as usize).max().unwrap_or(0);
                batch.pad_to(largest(0), largest(1));
            }
            let gradients = self.gradients(&batch, part, interval)?;
            mean = Some(match mean {
                None => gradients,
                Some(mean) => mean.plus(gradients)?,
            });
            used += 1;
            let [samples] = sum([batch.len() as f64]);
            self.state.samples += samples as usize;
            interval.samples += samples as usize;
            let norm = mean.as_ref().map_or(Ok(0.0), Gradients::norm)? / f64::from(used);
            if !norm.is_finite() {
                return Err(self.non_finite("the gradient's norm", norm, &batch));
            }
            interval.norm = norm;
        }
        if let Some(gradients) = mean {
            let scale = clip_factor(interval.norm, self.config.train.clip) / f64::from(used);
            self.adam.step(&gradients, scale, lr)?;
            if self.config.train.batch_statistics == BatchStatistics::Own {
                average_over_processes(&self.buffers)?;
            }
            if let Some(average) = &mut self.average {
                average.update()?;
            }
            self.state.step += 1;
            self.state.lr = lr;
        }
        let seconds = started.elapsed().as_secs_f64();
        interval.seconds += seconds;
        self.state.seconds += seconds;
        self.state.sample_seconds += seconds;
        Ok(())
    }

    /// Forward and backward. Dropout and shuffled vertices depend on the seed, the step and the
    /// part of it.
    fn gradients(
        &mut self,
        batch: &Batch,
        part: usize,
        interval: &mut Interval,
    ) -> Result<Gradients, TrainError> {
        let train = &self.config.train;
        let stream = |name| {
            let stream = Stream::new(train.seed, name).child(self.state.step as u64).child(part as u64);
            if world().is_root() { stream } else { stream.child(world().rank() as u64) }
        };
        let joint = train.batch_statistics == BatchStatistics::Joint;
        let bf16 = train.precision == Precision::Bf16;
        let pass = Pass::training(stream("dropout")).jointly(joint).in_bf16(bf16);
        let cfg = &self.config.model;
        let mut targets = batch.targets(cfg.task);
        shuffle_vertices(&mut targets, cfg.vertices, train.shuffle_fraction, &mut stream("shuffle"));
        let (inputs, divisor) = (batch.inputs(&self.device)?, divisor(cfg, &targets));
        let losses = self.network.loss_of_share(&inputs, &targets, divisor, &pass)?;

        // Of all processes: what one can't go on with, none can.
        let [value] = sum([f64::from(losses.total.to_scalar::<f32>()?)]);
        let value = value / world().size() as f64;
        if !value.is_finite() {
            return Err(self.non_finite("the loss", value, batch));
        }
        if part == 0 && (self.state.step + 1).is_multiple_of(train.log_every.max(1)) {
            interval.accuracy = Accuracy::of(cfg, &losses.logits, &losses.sequences, &batch.row_pad_hw())?;
        }
        interval.loss(value);
        let parts = parts(&losses)?;
        for &(name, part) in &parts {
            let (sum, batches) = self.state.loss_parts.entry(name.to_owned()).or_default();
            (*sum, *batches) = (*sum + part, *batches + 1);
        }
        interval.parts(parts);
        self.state.loss_sum += value;
        self.state.loss_batches += 1;
        let gradients = Gradients::take(&mut losses.total.backward()?, &self.trainable)?;
        Ok(gradients.mean_over_processes()?)
    }

    fn non_finite(&self, what: &'static str, value: f64, batch: &Batch) -> TrainError {
        let name = |row: &Row| {
            let expression = &self.train.referent(row.asked).expressions[row.expression];
            format!("{} \"{expression}\"", row.referent)
        };
        let rows = batch.rows.iter().map(name).collect::<Vec<_>>().join(", ");
        let TrainState { epoch, batch, step, .. } = self.state;
        TrainError::NonFinite { what, value, epoch: epoch + 1, batch, step, rows }
    }

    pub fn state(&self) -> &TrainState {
        &self.state
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn folder(&self) -> &RunFolder {
        &self.run
    }
}

/// What several processes divide a soft loss by: each by its own weights, the mean of their gradients would not
/// be that of the whole batch.
fn divisor(cfg: &ModelConfig, targets: &Targets) -> Option<f32> {
    if world().is_alone() || cfg.loss.soft_target_sigma <= 0.0 {
        return None;
    }
    let own = weight_sum(cfg, &Sequence::of_targets(cfg, targets), targets.weights.as_deref());
    let [all] = sum([f64::from(own)]);
    Some((all / world().size() as f64) as f32)
}

/// What the loss is made of, if of more than the tokens'; means over all processes.
fn parts(losses: &Losses) -> candle_core::Result<Vec<(&'static str, f64)>> {
    let mut named: Vec<_> = losses.auxiliary.parts().collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    named.insert(0, ("tokens", &losses.tokens));
    let values = named.iter().map(|(_, part)| Ok(f64::from(part.to_scalar::<f32>()?)));
    let mut values = values.collect::<candle_core::Result<Vec<f64>>>()?;
    world().sum_f64(&mut values);
    let size = world().size() as f64;
    Ok(named.iter().zip(values).map(|(&(name, _), value)| (name, value / size)).collect())
}

/// Sums over all processes.
fn sum<const N: usize>(mut values: [f64; N]) -> [f64; N] {
    world().sum_f64(&mut values);
    values
}

/// Replaces tensors of reals by their means over all processes.
fn average_over_processes(parameters: &[Parameter]) -> candle_core::Result<()> {
    if world().is_alone() {
        return Ok(());
    }
    let reals: Vec<&Parameter> = parameters.iter().filter(|p| p.var.dtype() == DType::F32).collect();
    let own = reals.iter().map(|parameter| parameter.var.as_detached_tensor()).collect();
    let means = world().means(own)?;
    reals.into_iter().zip(means).try_for_each(|(parameter, mean)| parameter.var.set(&mean))
}
