//! What a network can be.

use super::{LAYERS, WIDTH, at_most, demand, not_negative};
use crate::config::{ConfigError, ModelConfig, Task};

impl ModelConfig {
    /// Whether a network of these sizes can be built.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the first key that doesn't fit.
    pub fn check(&self) -> Result<(), ConfigError> {
        let model = self;
        let largest = |list: &[usize]| list.iter().copied().max().unwrap_or(0);
        at_most([
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
        ])?;
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
        demand(
            model.task == Task::Detection || model.vertices >= 3,
            "model.vertices",
            model.vertices,
            "an outline needs at least 3",
        )?;
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
        for (key, p) in [
            ("model.dropout", model.dropout),
            ("model.cross_attention_dropout", model.cross_attention_dropout),
        ] {
            demand((0.0..1.0).contains(&p), key, p, "must be in [0, 1)")?;
        }
        not_negative([
            ("model.loss.soft_target_sigma", model.loss.soft_target_sigma),
            ("model.loss.token_weight", model.loss.token_weight),
            ("model.auxiliary.grounding_weight", model.auxiliary.grounding_weight),
            ("model.auxiliary.grounding_box_weight", model.auxiliary.grounding_box_weight),
            ("model.auxiliary.attention_weight", model.auxiliary.attention_weight),
            ("model.auxiliary.pretext_weight", model.auxiliary.pretext_weight),
        ])?;
        let smoothing = model.loss.label_smoothing;
        demand(
            (0.0..1.0).contains(&smoothing),
            "model.loss.label_smoothing",
            smoothing,
            "must be in [0, 1)",
        )?;
        Ok(())
    }
}
