//! Values that contradict each other or make no sense.

use super::{Config, ConfigError, Transform};

fn demand(
    holds: bool,
    key: &'static str,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::Value { key, found: found.to_string(), expected: expected.into() })
    }
}

pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    bounds(config)?;
    let (model, data, train) = (&config.model, &config.data, &config.train);
    let d = model.d_model;
    demand(
        model.heads > 0 && d.is_multiple_of(model.heads),
        "model.heads",
        model.heads,
        format!("must divide model.d_model = {d}"),
    )?;
    demand(
        d > 0 && d.is_multiple_of(4),
        "model.d_model",
        d,
        "must be a multiple of 4 (sine code: two axes, sine and cosine)",
    )?;
    demand(
        model.input_groups > 0 && d.is_multiple_of(model.input_groups),
        "model.input_groups",
        model.input_groups,
        format!("must divide model.d_model = {d}"),
    )?;
    demand(model.vertices >= 3, "model.vertices", model.vertices, "an outline needs at least 3")?;
    demand(model.bins >= 2, "model.bins", model.bins, "must be at least 2")?;
    demand(model.decoder_layers > 0, "model.decoder_layers", 0, "must be at least 1")?;
    for (key, width) in [
        ("model.feed_forward", model.feed_forward),
        ("model.point_hidden", model.point_hidden[0].min(model.point_hidden[1])),
        ("model.language.word_dim", model.language.word_dim),
    ] {
        demand(width > 0, key, width, "must be at least 1")?;
    }
    demand(
        model.darknet.widths.iter().all(|width| *width > 0 && width.is_multiple_of(2)),
        "model.darknet.widths",
        format!("{:?}", model.darknet.widths),
        "each must be even and not 0",
    )?;
    let top = model.darknet.widths[5];
    demand(
        2 * model.language.hidden == top,
        "model.language.hidden",
        model.language.hidden,
        format!("twice this must equal the channels of the deepest map, model.darknet.widths[5] = {top}"),
    )?;
    demand(
        model.darknet.frozen <= 14,
        "model.darknet.frozen",
        model.darknet.frozen,
        "DarkNet has 14 modules",
    )?;
    demand(
        model.darknet.strides.iter().all(|s| [1, 2].contains(s)),
        "model.darknet.strides",
        format!("{:?}", model.darknet.strides),
        "each must be 1 or 2",
    )?;
    for (key, p) in
        [("model.dropout", model.dropout), ("model.cross_attention_dropout", model.cross_attention_dropout)]
    {
        demand((0.0..1.0).contains(&p), key, p, "must be in [0, 1)")?;
    }
    demand(data.image_size > 0, "data.image_size", 0, "must be positive")?;
    demand(data.max_words > 0, "data.max_words", 0, "must be positive")?;
    demand(data.referents_per_image > 0, "data.referents_per_image", 0, "must be at least 1")?;
    demand(
        data.jitter[0] > 0.0 && data.jitter[0] <= data.jitter[1],
        "data.jitter",
        format!("{:?}", data.jitter),
        "smallest and largest factor, both positive",
    )?;
    demand(
        data.train_transform != Transform::CloseUp || data.referents_per_image == 1,
        "data.referents_per_image",
        data.referents_per_image,
        "must be 1 with close-ups, which referents don't share",
    )?;
    let close_up = &data.close_up;
    for (key, number, most) in [
        ("data.close_up.margin", close_up.margin, 10.0),
        ("data.close_up.jitter", close_up.jitter, 1.0),
        ("data.close_up.rotation", close_up.rotation, 180.0),
        ("data.close_up.mirrored", close_up.mirrored, 1.0),
    ] {
        demand((0.0..=most).contains(&number), key, number, format!("must be between 0 and {most}"))?;
    }
    demand(train.epochs > 0, "train.epochs", 0, "must be at least 1")?;
    demand(train.batch_size > 0, "train.batch_size", 0, "must be at least 1")?;
    demand(train.accumulate > 0, "train.accumulate", 0, "must be at least 1")?;
    for (key, number) in [
        ("train.lr", train.lr),
        ("train.backbone_lr_factor", train.backbone_lr_factor),
        ("train.eps", train.eps),
        ("train.clip", train.clip),
        ("train.weight_decay", train.weight_decay),
        ("train.decay_factor", train.decay_factor),
        ("train.final_lr_fraction", train.final_lr_fraction),
        ("model.loss.soft_target_sigma", model.loss.soft_target_sigma),
        ("model.loss.token_weight", model.loss.token_weight),
        ("model.auxiliary.grounding_weight", model.auxiliary.grounding_weight),
        ("model.auxiliary.grounding_box_weight", model.auxiliary.grounding_box_weight),
        ("model.auxiliary.attention_weight", model.auxiliary.attention_weight),
        ("model.auxiliary.pretext_weight", model.auxiliary.pretext_weight),
    ] {
        demand(number.is_finite() && number >= 0.0, key, number, "must be a number that is not negative")?;
    }
    demand(train.eps as f32 > 0.0, "train.eps", train.eps, "must be positive, also as a 32-bit number")?;
    let smoothing = model.loss.label_smoothing;
    demand((0.0..1.0).contains(&smoothing), "model.loss.label_smoothing", smoothing, "must be in [0, 1)")?;
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

/// Widths of layers, and rows of tables.
const WIDTH: usize = 1 << 16;
/// Layers of a kind.
const LAYERS: usize = 1000;
/// Epochs, steps, rows.
const COUNT: usize = 1_000_000_000;

/// No network or training comes near these. A configuration that came with a stranger's checkpoint must
/// not take all memory, nor let counters overflow.
fn bounds(config: &Config) -> Result<(), ConfigError> {
    let (model, data, train) = (&config.model, &config.data, &config.train);
    let largest = |list: &[usize]| list.iter().copied().max().unwrap_or(0);
    for (key, found, most) in [
        ("model.d_model", model.d_model, WIDTH),
        ("model.vertices", model.vertices, WIDTH),
        ("model.bins", model.bins, WIDTH),
        ("model.encoder_layers", model.encoder_layers, LAYERS),
        ("model.decoder_layers", model.decoder_layers, LAYERS),
        ("model.feed_forward", model.feed_forward, WIDTH),
        ("model.point_hidden", largest(&model.point_hidden), WIDTH),
        ("model.darknet.widths", largest(&model.darknet.widths), WIDTH),
        ("model.darknet.blocks", largest(&model.darknet.blocks), LAYERS),
        ("model.darknet.tail", model.darknet.tail, LAYERS),
        ("model.language.word_dim", model.language.word_dim, WIDTH),
        ("model.language.hidden", model.language.hidden, WIDTH),
        ("model.auxiliary.pretext_classes", largest(&model.auxiliary.pretext_classes), WIDTH),
        ("model.auxiliary.pretext_classes", model.auxiliary.pretext_classes.len(), LAYERS),
        ("data.image_size", data.image_size, 1 << 14),
        ("data.max_words", data.max_words, WIDTH),
        ("data.referents_per_image", data.referents_per_image, WIDTH),
        ("data.workers", data.workers, 1024),
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
    ] {
        demand(found <= most, key, found, format!("must be at most {most}"))?;
    }
    Ok(())
}
