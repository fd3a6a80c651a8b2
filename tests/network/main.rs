//! What holds for a network of any size, on a small one with random weights.

mod decoding;
mod learning;
mod precision;

use candle_core::{Device, Result, Tensor};
use partial_res::config::{CoContentAxes, DarknetConfig, LanguageConfig, ModelConfig, Task};
use partial_res::model::{Inputs, Network, Targets};
use partial_res::nn::Parameters;
use partial_res::random::Stream;

const VOCABULARY: usize = 9;

fn small(task: Task, additions: bool) -> ModelConfig {
    ModelConfig {
        task,
        vertices: 4,
        bins: 20,
        d_model: 24,
        heads: 3,
        encoder_layers: 2,
        decoder_layers: 2,
        feed_forward: 32,
        dropout: 0.1,
        input_groups: 4,
        point_hidden: [12, 10],
        language_token: additions,
        point_modulation: additions,
        task_prompt: additions,
        co_content: additions,
        darknet: DarknetConfig {
            widths: [4, 6, 8, 10, 12, 16],
            blocks: [1, 1, 1, 1, 1],
            strides: [2, 2, 2, 1, 1],
            tail: 0,
            frozen: 3,
        },
        language: LanguageConfig { word_dim: 7, hidden: 8, trainable_words: false },
        ..ModelConfig::default()
    }
}

fn variants() -> Vec<ModelConfig> {
    let tasks = [Task::Segmentation, Task::Detection, Task::MultiTask];
    let mut variants: Vec<ModelConfig> =
        tasks.iter().flat_map(|&task| [small(task, true), small(task, false)]).collect();
    variants.push(ModelConfig {
        co_content_axes: CoContentAxes::Aligned,
        sine_in_values: true,
        decode_at_centre: true,
        ..small(Task::Segmentation, true)
    });
    variants
}

/// Three images of 32 x 48 pixels, one with padding.
fn inputs(image_of: &[u32]) -> Result<Inputs> {
    let mut stream = Stream::new(1, "images");
    let pixels: Vec<f32> = (0..3 * 3 * 32 * 48).map(|_| stream.below(256) as f32).collect();
    let words: Vec<u32> = image_of
        .iter()
        .enumerate()
        .flat_map(|(row, _)| [2 + row as u32 % 7, 3, 4 + row as u32 % 5, 0])
        .collect();
    Ok(Inputs {
        images: Tensor::from_vec(pixels, (3, 3, 32, 48), &Device::Cpu)?,
        image_hw: vec![(32, 48), (20, 30), (32, 48)],
        image_of: image_of.to_vec(),
        words: Tensor::from_vec(words, (image_of.len(), 4), &Device::Cpu)?,
    })
}

fn targets(rows: usize) -> Targets {
    let vertices = vec![[3.0, 4.0], [20.0, 5.5], [18.0, 19.0]];
    Targets {
        pad_hw: vec![(32, 48); rows],
        boxes: Some(vec![[3.0, 4.0, 20.0, 19.0]; rows]),
        vertices: Some(vec![vertices; rows]),
        labels: Some(vec![vec![2, u32::MAX]; rows]),
        weights: None,
    }
}

/// A network with lively weights: the initial ones hardly look at the image.
fn create(cfg: &ModelConfig, seed: u64) -> Result<(Network, Parameters)> {
    let (network, parameters) = Network::create(cfg, VOCABULARY, seed, &Device::Cpu).unwrap();
    for name in ["head.predictor.2.fc.weight", "head.transformer.input_proj.conv.weight"] {
        let var = parameters.get(name).unwrap().var;
        var.set(&(var.as_detached_tensor() * 3.0)?)?;
    }
    Ok((network, parameters))
}
