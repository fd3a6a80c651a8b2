//! The smallest network that has every part, and a sound checkpoint of it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use partial_res::checkpoint::{Checkpoint, Snapshot, TrainState};
use partial_res::config::{Config, DarknetConfig, LanguageConfig, ModelConfig, TrainConfig};
use partial_res::model::Network;
use partial_res::nn::Parameters;
use partial_res::report::{Protocol, ResultRow, Scores, Weights};
use partial_res::text::Vocabulary;
use partial_res::train::{Adam, Ema};

pub fn config() -> Config {
    let model = ModelConfig {
        vertices: 3,
        bins: 2,
        d_model: 4,
        heads: 1,
        encoder_layers: 1,
        decoder_layers: 1,
        feed_forward: 2,
        input_groups: 1,
        point_hidden: [2, 2],
        darknet: DarknetConfig { widths: [2; 6], blocks: [0; 5], strides: [1; 5], tail: 0, frozen: 14 },
        language: LanguageConfig { word_dim: 2, hidden: 1, trainable_words: false },
        ..ModelConfig::default()
    };
    Config { model, train: TrainConfig { batch_size: 2, ..TrainConfig::default() }, ..Config::default() }
}

pub fn vocabulary() -> Vocabulary {
    Vocabulary::build(["a red star"])
}

pub fn parameters(config: &Config) -> Parameters {
    Network::create(&config.model, vocabulary().len(), 1, &Device::Cpu).expect("a small network").1
}

/// The optimiser's state and the averaged weights, as a training begins with them.
pub fn optimiser(parameters: &Parameters, config: &Config) -> (Adam, Ema) {
    let adam = Adam::new(&parameters.trainable(), &config.train).expect("room");
    (adam, Ema::new(&parameters.all(), config.train.ema_decay).expect("room"))
}

/// Writes a checkpoint with all that one can hold.
pub fn checkpoint(folder: &Path) -> Checkpoint {
    let config = config();
    let parameters = parameters(&config);
    let (adam, ema) = optimiser(&parameters, &config);
    let scores = Scores { miou: Some(1.5), ..Scores::default() };
    let row = ResultRow::new((1, 7), "val", Weights::Ema, Protocol::Standard, &scores);
    let state = TrainState { epoch: 1, step: 7, scores: vec![row], ..TrainState::default() };
    let model: HashMap<String, Tensor> =
        parameters.all().into_iter().map(|p| (p.name, p.var.as_detached_tensor())).collect();
    let snapshot = Snapshot {
        config: &config,
        vocabulary: &vocabulary(),
        state: &state,
        model,
        ema: Some(ema.weights()),
        optimizer: Some(adam.state().expect("room")),
    };
    snapshot.write(folder).expect("room");
    Checkpoint::open(folder).expect("what was written is read")
}

/// A seed for the fuzzer, where it is told to leave some ($SEEDS, a folder).
pub fn seed(name: &str, bytes: &[u8]) {
    if let Some(folder) = std::env::var_os("SEEDS").map(PathBuf::from) {
        fs::write(folder.join(name), bytes).expect("room");
    }
}
