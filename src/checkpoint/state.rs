//! Where a training stands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Pointer;
use crate::report::{Protocol, ResultRow, Weights};

/// All that a resumed training needs besides tensors and configuration.
///
/// Random streams and the order of the data are pure functions of `train.seed` and of the counters
/// here: an epoch's order of (seed, epoch), a sample's jitter of its position in it, dropout of
/// (seed, step). A resumed run therefore draws exactly what the unbroken run would have drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Finished epochs.
    pub epoch: usize,
    /// Batches used of the epoch in progress.
    pub batch: usize,
    /// Batches that epoch had when they were counted; 0 where that is not known.
    #[serde(default)]
    pub epoch_batches: usize,
    /// Finished optimizer steps.
    pub step: usize,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Updates of the averaged weights (quirk 49).
    pub ema_updates: u64,
    /// Images of the epoch in progress that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_images: Vec<PathBuf>,
    /// Sum of the losses of the batches since the last evaluation, and their number.
    pub loss_sum: f64,
    pub loss_batches: usize,
    /// The same of what these losses are made of, by name; none where it is the tokens' alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loss_parts: BTreeMap<String, (f64, usize)>,
    /// Rows trained on since the last evaluation, and the seconds that took.
    pub samples: usize,
    pub sample_seconds: f64,
    /// Seconds of training so far, pauses not counted.
    pub seconds: f64,
    /// Best mIoU on `val` (standard protocol) of the averaged weights, of the raw ones without.
    pub best_segm: Option<f64>,
    /// Best box accuracy on `val`, of the same weights.
    pub best_det: Option<f64>,
    /// The rows of `results.csv`.
    pub scores: Vec<ResultRow>,
}

impl TrainState {
    /// The epoch in progress has so many batches. If it had another number of them (another batch size, number of
    /// processes or training set), `batch` becomes the same share of it, at the beginning of a step of `accumulate`
    /// batches; returns what it had.
    pub(crate) fn divide_epoch(&mut self, batches: usize, accumulate: usize) -> Option<usize> {
        let before = std::mem::replace(&mut self.epoch_batches, batches);
        if self.batch == 0 || before == 0 || before == batches {
            return None;
        }
        self.batch = match self.batch < before {
            true => {
                (self.batch as u128 * batches as u128 / before as u128) as usize / accumulate * accumulate
            }
            // Only its evaluation is left.
            false => batches,
        };
        Some(before)
    }

    /// The step at which the best score was reached that a pointer stands for, as far as `scores` tells.
    pub(super) fn best_step(&self, pointer: Pointer) -> Option<usize> {
        let (best, score): (_, fn(&ResultRow) -> Option<f64>) = match pointer {
            Pointer::Latest => return Some(self.step),
            Pointer::DetBest => (self.best_det?, |row| row.box_acc),
            Pointer::SegmBest => (self.best_segm?, |row| row.miou),
        };
        // Of the weights that are judged: a raw row may have the same score by chance.
        let averaged = |step| self.scores.iter().any(|row| row.step == step && row.weights == Weights::Ema);
        let judged = |row: &&ResultRow| {
            row.protocol == Protocol::Standard && (row.weights == Weights::Ema || !averaged(row.step))
        };
        self.scores.iter().filter(judged).find(|row| score(row) == Some(best)).map(|row| row.step)
    }

    /// A counter that no training reaches, and what it says. Reckoning on with it would overflow.
    pub(super) fn overflow(&self) -> Option<(&'static str, u64)> {
        let counters = [
            ("epoch", self.epoch as u64),
            ("batch", self.batch as u64),
            ("epoch_batches", self.epoch_batches as u64),
            ("step", self.step as u64),
            ("ema_updates", self.ema_updates),
            ("loss_batches", self.loss_batches as u64),
            ("samples", self.samples as u64),
        ];
        counters.into_iter().find(|(_, count)| *count > 1 << 50)
    }
}
