//! Size and cost of a network, from its configuration alone.

use super::rules::is_frozen_module;
use crate::config::{ModelConfig, Task};

/// A part of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    /// Batch-norm statistics not included.
    pub parameters: usize,
    pub trainable: usize,
    /// Multiplications of convolutions and matrix products for one image and one expression, the
    /// whole sequence decoded with kept keys and values.
    pub multiply_accumulates: usize,
}

impl Part {
    fn named(name: &'static str) -> Self {
        Self { name, parameters: 0, trainable: 0, multiply_accumulates: 0 }
    }

    fn add(&mut self, parameters: usize, trainable: bool, multiply_accumulates: usize) {
        self.parameters += parameters;
        self.trainable += if trainable { parameters } else { 0 };
        self.multiply_accumulates += multiply_accumulates;
    }

    /// Convolution, batch norm.
    fn unit(&mut self, inputs: usize, outputs: usize, kernel: usize, cells: usize, trainable: bool) {
        let weights = inputs * outputs * kernel * kernel;
        self.add(weights + 2 * outputs, trainable, weights * cells);
    }

    /// A linear layer for so many rows.
    fn linear(&mut self, inputs: usize, outputs: usize, rows: usize) {
        self.add(inputs * outputs + outputs, true, inputs * outputs * rows);
    }

    /// Weights of attention and the products of `queries` with `keys`; `pairs` are the pairs looked at.
    fn attention(&mut self, width: usize, queries: usize, keys: usize, pairs: usize) {
        let projections = 2 * width * width * (queries + keys);
        self.add(4 * width * width + 4 * width, true, projections + 2 * pairs * width);
    }

    fn norm(&mut self, width: usize) {
        self.add(2 * width, true, 0);
    }
}

/// Parts of the network for images of this padded height and width and so many words.
pub fn parts(cfg: &ModelConfig, vocabulary: usize, words: usize, image_hw: (usize, usize)) -> Vec<Part> {
    let cells = (image_hw.0 / cfg.darknet.stride()) * (image_hw.1 / cfg.darknet.stride());
    let mut parts = vec![
        darknet(cfg, image_hw),
        language(cfg, vocabulary, words),
        fusion(cfg, image_hw),
        encoder(cfg, cells),
        decoder(cfg, cells),
    ];
    if cfg.auxiliary.is_on() {
        parts.push(auxiliary(cfg));
    }
    parts
}

fn darknet(cfg: &ModelConfig, (height, width): (usize, usize)) -> Part {
    let mut part = Part::named("darknet");
    let net = &cfg.darknet;
    let trains = |module: usize| !is_frozen_module(cfg, module);
    let mut stride = 1;
    part.unit(3, net.widths[0], 3, height * width, trains(0));
    for stage in 0..5 {
        stride *= net.strides[stage];
        let cells = (height / stride) * (width / stride);
        let (inputs, outputs) = (net.widths[stage], net.widths[stage + 1]);
        part.unit(inputs, outputs, 3, cells, trains(2 * stage + 1));
        for _ in 0..net.blocks[stage] {
            part.unit(outputs, outputs / 2, 1, cells, trains(2 * stage + 2));
            part.unit(outputs / 2, outputs, 3, cells, trains(2 * stage + 2));
        }
    }
    let (top, cells) = (net.widths[5], (height / stride) * (width / stride));
    for module in std::iter::repeat_n(11, net.tail).chain([12]) {
        part.unit(top, top / 2, 1, cells, trains(module));
        part.unit(top / 2, top, 3, cells, trains(if module == 12 { 13 } else { module }));
    }
    part
}

fn language(cfg: &ModelConfig, vocabulary: usize, words: usize) -> Part {
    let mut part = Part::named("language");
    let (inputs, hidden) = (cfg.language.word_dim, cfg.language.hidden);
    part.add(vocabulary * inputs, cfg.language.trainable_words, 0);
    for _ in 0..2 {
        part.linear(inputs, 3 * hidden, words);
        part.linear(hidden, 3 * hidden, words);
    }
    part
}

fn fusion(cfg: &ModelConfig, (height, width): (usize, usize)) -> Part {
    let mut part = Part::named("fusion");
    let [.., low, middle, top] = cfg.darknet.widths;
    let at = |stride: usize| (height / stride) * (width / stride);
    let stride = cfg.darknet.stride();
    let (both, all) = (low + middle, low + middle + top);
    part.unit(both, both, 3, at(stride), true);
    part.unit(low, low, 3, at(stride / cfg.darknet.strides[4]), true);
    part.unit(all, all, 3, at(stride), true);
    part.unit(all, top, 1, at(stride), true);
    part
}

fn encoder(cfg: &ModelConfig, cells: usize) -> Part {
    let mut part = Part::named("encoder");
    let (d, n) = (cfg.d_model, cells + usize::from(cfg.language_token));
    part.linear(cfg.darknet.widths[5], d, n);
    part.norm(d);
    for _ in 0..cfg.encoder_layers {
        part.attention(d, n, n, n * n);
        part.linear(d, cfg.feed_forward, n);
        part.linear(cfg.feed_forward, d, n);
        part.norm(d);
        part.norm(d);
    }
    part
}

fn decoder(cfg: &ModelConfig, cells: usize) -> Part {
    let mut part = Part::named("decoder");
    let (d, n) = (cfg.d_model, cells + usize::from(cfg.language_token));
    let tokens = cfg.positions();
    for _ in 0..cfg.decoder_layers {
        part.attention(d, tokens, tokens, tokens * (tokens + 1) / 2);
        part.attention(d, tokens, n, tokens * n);
        part.linear(d, cfg.feed_forward, tokens);
        part.linear(cfg.feed_forward, d, tokens);
        (0..3).for_each(|_| part.norm(d));
        if cfg.point_modulation {
            let [first, second] = cfg.point_hidden;
            part.linear(d, first, tokens);
            part.linear(first, second, tokens);
            part.linear(second, 4 * cfg.heads, tokens);
        }
    }
    part.norm(d);
    let tables = cfg.positions()
        + cfg.bins
        + 1
        + usize::from(cfg.task_prompt)
        + if cfg.task == Task::MultiTask { 2 } else { 0 };
    part.add(tables * d, true, 0);
    part.linear(d, d, tokens);
    part.linear(d, d, tokens);
    part.linear(d, cfg.bins + 1, tokens);
    part
}

/// Only training runs these.
fn auxiliary(cfg: &ModelConfig) -> Part {
    let mut part = Part::named("auxiliary");
    if cfg.auxiliary.has_grounding() {
        part.linear(cfg.d_model, 5, 0);
    }
    if cfg.auxiliary.has_pretext() {
        let labels: usize = cfg.auxiliary.pretext_classes.iter().sum();
        part.linear(cfg.darknet.widths[5], labels + 4, 0);
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_network() {
        let parts = parts(&ModelConfig::default(), 64, 15, (640, 640));
        assert_eq!(parts.iter().map(|part| part.parameters).sum::<usize>(), 104_431_721);
        assert_eq!(parts.iter().map(|part| part.trainable).sum::<usize>(), 53_335_689);
        let tenths = |name: &str| {
            let part = parts.iter().find(|part| part.name == name).unwrap();
            (part.multiply_accumulates as f64 / 1e8).round() as usize
        };
        assert_eq!(["darknet", "fusion", "encoder", "decoder"].map(tenths), [643, 154, 25, 3]);
        let sum: usize = parts.iter().map(|part| part.multiply_accumulates).sum();
        assert_eq!((sum as f64 / 1e8).round() as usize, 825);
    }
}
