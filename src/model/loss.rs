//! The loss over tokens.

use candle_core::{Result, Tensor};

use super::quantise::Sequence;
use crate::config::{ModelConfig, Task};
use crate::nn::ops::{SoftTarget, cross_entropy};

/// What one position of the sequence should say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Goal {
    token: u32,
    /// The coordinate in bins, unrounded; None for the end token.
    position: Option<f32>,
    weight: f32,
    /// The vertex (x, y) it belongs to, in shares of the padded size.
    pub vertex: Option<[f32; 2]>,
}

/// The goals of a row: its tokens, each phase closed by the end token (quirk 16).
pub(super) fn goals(cfg: &ModelConfig, sequence: &Sequence) -> Vec<Goal> {
    let bounds = if cfg.task == Task::Segmentation { 0 } else { 4 };
    let vertex = |i: usize| {
        let first = i - i % 2;
        let [x, y] = [sequence.positions[first]?, sequence.positions[first + 1]?];
        Some([x / cfg.bins as f32, y / cfg.bins as f32]).filter(|_| i >= bounds)
    };
    let coordinates = sequence.tokens.iter().zip(&sequence.positions).enumerate();
    let mut goals: Vec<Goal> = coordinates
        .map(|(i, (&token, &position))| Goal { token, position, weight: 1.0, vertex: vertex(i) })
        .collect();
    let end = Goal { token: cfg.end_token(), position: None, weight: 1.0, vertex: None };
    if cfg.task == Task::MultiTask {
        goals.insert(4, end);
    }
    goals.push(end);
    match cfg.task {
        Task::Segmentation => {
            for goal in goals.iter_mut().filter(|goal| goal.token == cfg.end_token()) {
                goal.weight = cfg.loss.end_weight as f32;
            }
        }
        Task::Detection | Task::MultiTask => {
            for (goal, weight) in goals.iter_mut().zip(cfg.loss.box_weights) {
                goal.weight = weight as f32;
            }
        }
    }
    goals
}

/// Target tokens by row, the order of the logits.
pub fn target_tokens(cfg: &ModelConfig, sequences: &[Sequence]) -> Vec<Vec<u32>> {
    sequences.iter().map(|sequence| goals(cfg, sequence).iter().map(|goal| goal.token).collect()).collect()
}

/// The goals of all rows, one after the other. `weights`, one for each row, multiply those of its outline.
fn weighted_goals(cfg: &ModelConfig, sequences: &[Sequence], weights: Option<&[f32]>) -> Vec<Goal> {
    let of_box = match cfg.task {
        Task::Segmentation => 0,
        Task::Detection | Task::MultiTask => 5,
    };
    let mut rows: Vec<Vec<Goal>> = sequences.iter().map(|sequence| goals(cfg, sequence)).collect();
    for (row, &weight) in rows.iter_mut().zip(weights.unwrap_or_default()) {
        row.iter_mut().skip(of_box).for_each(|goal| goal.weight *= weight);
    }
    rows.concat()
}

fn sum(goals: &[Goal]) -> f32 {
    goals.iter().map(|goal| goal.weight).sum()
}

/// What the weights of all positions come to.
pub fn weight_sum(cfg: &ModelConfig, sequences: &[Sequence], weights: Option<&[f32]>) -> f32 {
    sum(&weighted_goals(cfg, sequences, weights))
}

/// Weighted cross entropy with label smoothing: mean over batch and length, padding included.
///
/// The target class gets 1 - e and every other class e / classes, so the sum is below 1
/// (quirk 16). With `soft_target_sigma` a coordinate's target is a Gaussian around it, without
/// smoothing, and the loss is the divergence from it divided by the sum of the weights, or by
/// `divisor` where rows are a share of a batch: the mean of [`weight_sum`] over the shares, so that the
/// mean of their losses is the loss of the batch.
/// `weights`, one for each row, multiply those of its outline. `logits` is `[B, L, bins + 1]`.
pub fn token_loss(
    cfg: &ModelConfig,
    logits: &Tensor,
    sequences: &[Sequence],
    weights: Option<&[f32]>,
    divisor: Option<f32>,
) -> Result<Tensor> {
    let (b, l, classes) = logits.dims3()?;
    let soft = cfg.loss.soft_target_sigma > 0.0;
    let goals = weighted_goals(cfg, sequences, weights);
    let total = match soft {
        // Nothing is to be learnt where all weights are 0.
        true => divisor.unwrap_or_else(|| sum(&goals)).max(f32::MIN_POSITIVE),
        false => (b * l) as f32,
    };
    let others = cfg.loss.label_smoothing / classes as f64;
    let mut entropy = 0.0;
    let targets = goals
        .iter()
        .map(|goal| {
            let weight = goal.weight / total;
            match goal.position {
                Some(position) if soft => {
                    let peaks = bell(cfg, position);
                    entropy -=
                        weight * peaks.iter().map(|(_, p)| p * p.max(f32::MIN_POSITIVE).ln()).sum::<f32>();
                    SoftTarget { weight, others: 0.0, peaks }
                }
                _ => {
                    let beyond = 1.0 - cfg.loss.label_smoothing - others;
                    let peaks = vec![(goal.token, beyond as f32)];
                    SoftTarget { weight, others: others as f32, peaks }
                }
            }
        })
        .collect();
    let loss = cross_entropy(logits, targets)?;
    if soft { loss - f64::from(entropy) } else { Ok(loss) }
}

/// A Gaussian over the bins around a position, counted from the middle of each bin.
fn bell(cfg: &ModelConfig, position: f32) -> Vec<(u32, f32)> {
    let sigma = cfg.loss.soft_target_sigma;
    // Beyond four deviations less than a ten-thousandth remains.
    let reach = (4.0 * sigma).ceil() as u32 + 1;
    let middle = (position as u32).min(cfg.end_token() - 1);
    let bins = middle.saturating_sub(reach)..(middle + reach + 1).min(cfg.end_token());
    // A place outside the bins counts as their edge; the nearest bin has the weight 1 however narrow the bell.
    let position = f64::from(position).clamp(0.0, f64::from(cfg.end_token()));
    let exponent = |bin: u32| -0.5 * ((f64::from(bin) + 0.5 - position) / sigma).powi(2);
    let largest = bins.clone().map(exponent).fold(f64::NEG_INFINITY, f64::max);
    let mut peaks: Vec<(u32, f32)> = bins.map(|bin| (bin, (exponent(bin) - largest).exp() as f32)).collect();
    let sum: f32 = peaks.iter().map(|(_, value)| value).sum();
    peaks.iter_mut().for_each(|(_, value)| *value /= sum);
    peaks
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Logits and sequences of two rows with different outlines.
    fn rows(cfg: &ModelConfig) -> Result<(Tensor, Vec<Sequence>)> {
        let sequence = |first: u32| {
            let tokens: Vec<u32> = (first..first + 2 * cfg.vertices as u32).collect();
            let positions = tokens.iter().map(|&token| Some(token as f32 + 0.3)).collect();
            Sequence { tokens, positions }
        };
        let (l, classes) = (2 * cfg.vertices + 1, cfg.bins + 1);
        let logits: Vec<f32> = (0..2 * l * classes).map(|i| (i as f32 * 0.7).sin()).collect();
        let logits = Tensor::from_vec(logits, (2, l, classes), &Device::Cpu)?;
        Ok((logits, vec![sequence(1), sequence(4)]))
    }

    #[test]
    fn weights_say_how_much_an_outline_counts() -> Result<()> {
        let mut cfg = ModelConfig { bins: 12, vertices: 3, ..ModelConfig::default() };
        let (logits, sequences) = rows(&cfg)?;
        let loss = |cfg: &ModelConfig, weights: Option<&[f32]>| {
            token_loss(cfg, &logits, &sequences, weights, None)?.to_scalar::<f32>()
        };
        let share = |cfg: &ModelConfig, row: usize, weights: Option<&[f32]>, divisor: Option<f32>| {
            let logits = logits.narrow(0, row, 1)?;
            token_loss(cfg, &logits, &sequences[row..=row], weights, divisor)?.to_scalar::<f32>()
        };
        let alone = |cfg: &ModelConfig, row: usize| share(cfg, row, None, None);
        for sigma in [0.0, 1.0] {
            cfg.loss.soft_target_sigma = sigma;
            let (first, second) = (alone(&cfg, 0)?, alone(&cfg, 1)?);
            assert!((loss(&cfg, None)? - (first + second) / 2.0).abs() < 1e-5);
            assert_eq!(loss(&cfg, Some(&[1.0, 1.0]))?, loss(&cfg, None)?);
            // Soft targets are a mean by weight, the reference's loss is a mean over all rows.
            let by = if sigma > 0.0 { 1.25 } else { 2.0 };
            let weighted = loss(&cfg, Some(&[1.0, 0.25]))?;
            assert!((weighted - (first + 0.25 * second) / by).abs() < 1e-5, "{weighted}");
            // As two processes have it, a row each.
            let divisor = weight_sum(&cfg, &sequences, Some(&[1.0, 0.25])) / 2.0;
            let shares =
                share(&cfg, 0, Some(&[1.0]), Some(divisor))? + share(&cfg, 1, Some(&[0.25]), Some(divisor))?;
            assert!((weighted - shares / 2.0).abs() < 1e-5, "{weighted} {shares}");
        }
        Ok(())
    }
}
