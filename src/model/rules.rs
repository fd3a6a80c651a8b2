//! Which parameters stay as they are, and which start equal.

use candle_core::Shape;

use crate::config::ModelConfig;
use crate::nn::Rules;

/// Begins the names of the backbone's parameters.
pub const BACKBONE: &str = "vis_enc.";
/// A row for each word of the vocabulary.
pub const WORD_TABLE: &str = "lan_enc.embedding.weight";
/// A row for each place in the sequence of tokens.
pub const POSITION_TABLE: &str = "head.transformer.seq_positional_encoding.embedding.weight";

/// Whether this module of DarkNet keeps its parameters.
pub fn is_frozen_module(cfg: &ModelConfig, module: usize) -> bool {
    module < cfg.darknet.frozen
}

impl Rules for ModelConfig {
    /// The first modules of DarkNet and the word table (quirk 3).
    fn frozen(&self, name: &str) -> bool {
        if name == WORD_TABLE {
            return !self.language.trainable_words;
        }
        name.strip_prefix("vis_enc.darknet.")
            .and_then(|rest| rest.split('.').next()?.parse::<usize>().ok())
            .is_some_and(|module| is_frozen_module(self, module))
    }

    /// The reference clones the first layer of encoder and decoder before it draws the matrices:
    /// vectors are equal in all layers (quirk 10).
    fn drawn_as(&self, name: &str, shape: &Shape) -> String {
        let Some((stack, rest)) = name.split_once(".layers.") else { return name.to_owned() };
        match rest.split_once('.') {
            Some((_, tail)) if shape.rank() == 1 => format!("{stack}.layers.0.{tail}"),
            _ => name.to_owned(),
        }
    }
}
