//! How well the network finishes the true sequences of a training batch.

use candle_core::{D, Tensor};

use crate::config::{ModelConfig, Task};
use crate::eval::box_iou;
use crate::mask::Rle;
use crate::model::{Sequence, quantise};

/// Means over the rows of a batch, in percent. With teacher forcing every token is the best guess
/// after *true* ones, so these are higher than what an evaluation gives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accuracy {
    /// Share of boxes with IoU > 0.5.
    pub box_acc: Option<f64>,
    /// Mean IoU with the outline of the target's vertices.
    pub miou: Option<f64>,
}

impl Accuracy {
    /// From logits `[rows, L, bins + 1]`. `pad_hw` is the padded size of each row's image.
    pub fn of(
        cfg: &ModelConfig,
        logits: &Tensor,
        sequences: &[Sequence],
        pad_hw: &[(usize, usize)],
    ) -> candle_core::Result<Self> {
        let guesses = logits.detach().argmax(D::Minus1)?.to_vec2::<u32>()?;
        let rows = sequences.len() as f64;
        let (mut hits, mut iou) = (0.0, 0.0);
        for ((guess, truth), &hw) in guesses.iter().zip(sequences).zip(pad_hw) {
            if cfg.task != Task::Segmentation {
                let corners = |tokens: &[u32]| {
                    quantise::dequantise_box(cfg, std::array::from_fn(|i| tokens[i]), hw).map(f64::from)
                };
                hits += f64::from(box_iou(corners(guess), corners(&truth.tokens)) > 0.5);
            }
            // In the multi-task sequence a box of four and its end token come first.
            let (of_guess, of_truth) = if cfg.task == Task::MultiTask { (5, 4) } else { (0, 0) };
            if cfg.task != Task::Detection {
                let mask = |tokens: &[u32]| outline(cfg, tokens, hw);
                iou += match (mask(&guess[of_guess..]), mask(&truth.tokens[of_truth..])) {
                    (Some(guess), Some(truth)) => guess.iou(&truth, false).unwrap_or(0.0),
                    _ => 0.0,
                };
            }
        }
        let percent = |sum: f64| 100.0 * sum / rows;
        Ok(Self {
            box_acc: (cfg.task != Task::Segmentation).then(|| percent(hits)),
            miou: (cfg.task != Task::Detection).then(|| percent(iou)),
        })
    }
}

/// Nothing where there are too few points for a polygon.
fn outline(cfg: &ModelConfig, tokens: &[u32], hw: (usize, usize)) -> Option<Rle> {
    let points: Vec<f64> = quantise::outline(cfg, tokens, hw).concat();
    Rle::from_polygon(hw.0, hw.1, &points).ok().filter(|_| points.len() >= 6)
}
