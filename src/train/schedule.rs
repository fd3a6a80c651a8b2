//! The learning rate of a step.

use crate::config::{Schedule, TrainConfig};

/// The learning rate of optimizer step `step` (from 0) of epoch `epoch` (from 0), where an epoch
/// has `steps_per_epoch` of them.
///
/// Warm-up is linear by epoch: (epoch + 1) / (warmup_epochs + 1), or by step with `warmup_steps`
/// (which multiplies the rest). Then, `step`: times
/// `decay_factor` from each of `decay_epochs` on (counted from 1; quirk 47). `linear`: down by
/// equal parts, so that the epoch after the last would have 0. `cosine`: by step, from the peak
/// down to `final_lr_fraction`.
pub fn learning_rate(config: &TrainConfig, epoch: usize, step: usize, steps_per_epoch: usize) -> f64 {
    let warmup = config.warmup_epochs;
    let lr = match config.warmup_steps {
        0 => config.lr,
        steps => config.lr * ((epoch * steps_per_epoch + step + 1) as f64 / steps as f64).min(1.0),
    };
    if epoch < warmup {
        return lr * ((epoch + 1) as f64 / (warmup + 1) as f64);
    }
    let after_warmup = config.epochs.saturating_sub(warmup).max(1) as f64;
    let factor = match config.schedule {
        Schedule::Step => {
            let passed = config.decay_epochs.iter().filter(|&&decay| epoch + 1 >= decay).count();
            config.decay_factor.powi(passed as i32)
        }
        Schedule::Linear => 1.0 - (epoch - warmup) as f64 / after_warmup,
        Schedule::Cosine => {
            let steps_per_epoch = steps_per_epoch.max(1) as f64;
            let done = (epoch - warmup) as f64 + step as f64 / steps_per_epoch;
            let last = (after_warmup - 1.0 / steps_per_epoch).max(f64::MIN_POSITIVE);
            let cosine = 0.5 + 0.5 * (std::f64::consts::PI * (done / last).min(1.0)).cos();
            config.final_lr_fraction + (1.0 - config.final_lr_fraction) * cosine
        }
    };
    lr * factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_warm_up_rise_to_the_rate() {
        let config = TrainConfig { warmup_epochs: 0, warmup_steps: 20, lr: 1.0, ..TrainConfig::default() };
        let at = |epoch, step| learning_rate(&config, epoch, step, 10);
        assert_eq!([at(0, 0), at(0, 9), at(1, 4), at(1, 9), at(2, 0)], [0.05, 0.5, 0.75, 1.0, 1.0]);
    }

    #[test]
    fn cosine_goes_from_the_peak_to_the_final_share() {
        let config = TrainConfig {
            schedule: Schedule::Cosine,
            warmup_epochs: 1,
            epochs: 3,
            lr: 1e-3,
            final_lr_fraction: 0.02,
            ..TrainConfig::default()
        };
        let at = |epoch, step| learning_rate(&config, epoch, step, 10);
        assert_eq!(at(0, 9), 5e-4);
        assert_eq!(at(1, 0), 1e-3);
        assert!((at(2, 9) - 2e-5).abs() < 1e-12);
        assert!(at(1, 5) > at(1, 6) && at(1, 9) > at(2, 0));
    }
}
