//! What a training can be.

use super::{COUNT, WIDTH, at_most, demand, not_negative};
use crate::config::{ConfigError, TrainConfig};

pub(super) fn check(train: &TrainConfig) -> Result<(), ConfigError> {
    at_most([
        ("train.epochs", train.epochs, COUNT),
        ("train.epoch_steps", train.epoch_steps, COUNT),
        ("train.batch_size", train.batch_size, WIDTH),
        ("train.accumulate", train.accumulate, COUNT),
        ("train.warmup_epochs", train.warmup_epochs, COUNT),
        ("train.warmup_steps", train.warmup_steps, COUNT),
        ("train.eval_every", train.eval_every, COUNT),
        ("train.log_every", train.log_every, COUNT),
        ("train.save_every", train.save_every, COUNT),
        ("train.keep", train.keep, COUNT),
    ])?;
    demand(train.epochs > 0, "train.epochs", 0, "must be at least 1")?;
    demand(train.batch_size > 0, "train.batch_size", 0, "must be at least 1")?;
    demand(train.accumulate > 0, "train.accumulate", 0, "must be at least 1")?;
    not_negative([
        ("train.lr", train.lr),
        ("train.backbone_lr_factor", train.backbone_lr_factor),
        ("train.eps", train.eps),
        ("train.clip", train.clip),
        ("train.weight_decay", train.weight_decay),
        ("train.decay_factor", train.decay_factor),
        ("train.final_lr_fraction", train.final_lr_fraction),
    ])?;
    demand(train.eps as f32 > 0.0, "train.eps", train.eps, "must be positive, also as a 32-bit number")?;
    demand((0.0..=1.0).contains(&train.ema_decay), "train.ema_decay", train.ema_decay, "must be in [0, 1]")?;
    demand(
        train.betas.iter().all(|b| (0.0..1.0).contains(b)),
        "train.betas",
        format!("{:?}", train.betas),
        "both in [0, 1)",
    )?;
    demand(train.shuffle_fraction <= 1.0, "train.shuffle_fraction", train.shuffle_fraction, "at most 1")?;
    for (key, every) in [
        ("train.eval_every", train.eval_every),
        ("train.log_every", train.log_every),
        ("train.save_every", train.save_every),
        ("train.keep", train.keep),
    ] {
        demand(every > 0, key, every, "must be at least 1")?;
    }
    Ok(())
}
