//! Decoding where the referents' boxes are known.

use std::ops::RangeInclusive;

use crate::config::ModelConfig;
use crate::data::Batch;
use crate::model::quantise::quantise;
use crate::model::{Constraint, Phase};

/// Coordinates of an outline fall into the box of their row's referent and a margin around it; an
/// outline has three vertices at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithinBoxes {
    /// Tokens of x and of y, for each row.
    allowed: Vec<[RangeInclusive<u32>; 2]>,
    end: u32,
}

impl WithinBoxes {
    /// `margin` is a share of the box's sides.
    pub fn new(cfg: &ModelConfig, batch: &Batch, margin: f64) -> Self {
        let rows = batch.rows.iter().zip(batch.row_pad_hw());
        let allowed = rows.map(|(row, (height, width))| {
            let [x1, y1, x2, y2] = row.bbox;
            let bins = |low: f64, high: f64, size: usize| {
                let more = margin * (high - low);
                let bin = |at: f64| quantise(at, size, cfg.bins).clamp(0, i64::from(cfg.end_token()) - 1);
                // A side at the upper edge of a pixel belongs to that pixel's bin.
                bin(low - more) as u32..=bin((high + more - 1e-6).max(low)) as u32
            };
            [bins(x1, x2, width), bins(y1, y2, height)]
        });
        Self { allowed: allowed.collect(), end: cfg.end_token() }
    }
}

impl Constraint for WithinBoxes {
    fn allows(&self, row: usize, phase: Phase, step: usize, token: u32) -> bool {
        match phase {
            Phase::Outline if token == self.end => step >= 6 && step.is_multiple_of(2),
            Phase::Outline | Phase::Box => self.allowed[row][step % 2].contains(&token),
        }
    }
}
