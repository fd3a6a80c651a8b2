//! A network that learns nothing, quickly, over every part of the real one.

use partial_res::config::{DarknetConfig, LanguageConfig, ModelConfig};

/// Outlines of 6 vertices on maps of 64-pixel images; trainable words, the first modules frozen.
pub fn model() -> ModelConfig {
    ModelConfig {
        vertices: 6,
        bins: 64,
        d_model: 16,
        heads: 2,
        encoder_layers: 1,
        decoder_layers: 1,
        feed_forward: 16,
        input_groups: 4,
        point_hidden: [8, 8],
        darknet: DarknetConfig {
            widths: [4, 4, 8, 8, 16, 16],
            blocks: [1; 5],
            strides: [2, 2, 2, 2, 1],
            tail: 1,
            frozen: 2,
        },
        language: LanguageConfig { word_dim: 8, hidden: 8, trainable_words: true },
        ..ModelConfig::default()
    }
}
