//! Timing a network on noise.

use std::time::Instant;

use candle_core::Device;
use candle_core::cuda::set_gemm_reduced_precision_f32;

use super::batch::{inputs, side, targets};
use super::cpu_seconds;
use crate::config::{Config, Precision};
use crate::model::info::parts;
use crate::model::{Constraint, ModelError, Network, Phase as Spelling, Strategy};
use crate::nn::Pass;
use crate::random::Stream;
use crate::train::{Adam, Gradients, clip_factor};

/// What is timed.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub images: usize,
    /// Of each image.
    pub expressions: usize,
    /// Rows of the word table, at least 2.
    pub words: usize,
    /// Runs that are timed, after one that is not.
    pub runs: usize,
}

/// A part of a run.
#[derive(Clone, Debug)]
pub struct Phase {
    pub name: &'static str,
    /// By the clock, of every run.
    pub seconds: Vec<f64>,
    /// Of all threads, of every run; NaN where the system does not tell.
    pub cpu_seconds: Vec<f64>,
    /// Multiplications of convolutions and matrix products in a run, as `partial-res info` counts them.
    pub multiply_accumulates: f64,
}

impl Phase {
    pub(super) fn new(name: &'static str, multiply_accumulates: f64) -> Self {
        Self { name, seconds: Vec::new(), cpu_seconds: Vec::new(), multiply_accumulates }
    }

    /// Does and times one run's part.
    fn time<R>(
        &mut self,
        device: &Device,
        work: impl FnOnce() -> Result<R, ModelError>,
    ) -> Result<R, ModelError> {
        let (started, used) = (Instant::now(), cpu_seconds());
        let result = work()?;
        device.synchronize()?;
        self.seconds.push(started.elapsed().as_secs_f64());
        let used = used.and_then(|before| cpu_seconds().map(|after| after - before));
        self.cpu_seconds.push(used.unwrap_or(f64::NAN));
        Ok(result)
    }

    fn forget_warm_up(mut self) -> Self {
        self.seconds.remove(0);
        self.cpu_seconds.remove(0);
        self
    }
}

/// Multiplications of the parts before the words, of reading them, of decoding, and of all that is
/// trained: a part that is frozen in part counts by the share of its parameters.
fn costs(config: &Config, sizes: &Sizes) -> ([f64; 3], f64) {
    let side = side(config);
    let (mut costs, mut trained) = ([0.0; 3], 0.0);
    for part in parts(&config.model, sizes.words, config.data.max_words, (side, side)) {
        let (stage, times) = match part.name {
            "darknet" | "fusion" => (0, sizes.images),
            "decoder" => (2, sizes.images * sizes.expressions),
            _ => (1, sizes.images * sizes.expressions),
        };
        let cost = (part.multiply_accumulates * times) as f64;
        costs[stage] += cost;
        trained += cost * part.trainable as f64 / part.parameters.max(1) as f64;
    }
    (costs, trained)
}

/// Forbids the end, so that every sequence has its full length whatever the weights.
struct ToTheEnd(u32);

impl Constraint for ToTheEnd {
    fn allows(&self, _: usize, _: Spelling, _: usize, token: u32) -> bool {
        token != self.0
    }
}

/// Convolutions, encoding and greedy decoding in evaluation, with initial weights.
///
/// # Errors
/// As [`Network::forward`].
pub fn evaluation(config: &Config, sizes: &Sizes, device: &Device) -> Result<Vec<Phase>, ModelError> {
    set_gemm_reduced_precision_f32(config.train.tf32);
    let (_, parameters) = Network::create(&config.model, sizes.words, 0, device)?;
    let network = Network::new(&config.model, sizes.words, parameters.inference())?;
    let inputs = inputs(config, sizes, device)?;
    let ([visual_cost, encode_cost, decode_cost], _) = costs(config, sizes);
    let mut visual = Phase::new("convolutions", visual_cost);
    let mut encode = Phase::new("encoding", encode_cost);
    let mut decode = Phase::new("decoding", decode_cost);
    let pass = Pass::evaluation().in_bf16(config.train.precision == Precision::Bf16);
    let all = ToTheEnd(config.model.end_token());
    for _ in 0..=sizes.runs {
        let seen = visual.time(device, || network.visual(&inputs.images, &inputs.image_hw, &pass))?;
        let encoded =
            encode.time(device, || Ok(network.encode(&seen, &inputs.image_of, &inputs.words, &pass)?))?;
        decode.time(device, || {
            Ok(network.generate(&encoded, config.model.task, Strategy::Greedy, Some(&all))?)
        })?;
    }
    Ok([visual, encode, decode].map(Phase::forget_warm_up).into())
}

/// Steps of training from initial weights: forward, backward, clipping and Adam. A backward pass counts
/// as two forward passes of what is trained.
///
/// # Errors
/// As [`Network::loss`].
pub fn training(config: &Config, sizes: &Sizes, device: &Device) -> Result<Vec<Phase>, ModelError> {
    set_gemm_reduced_precision_f32(config.train.tf32);
    let (network, parameters) = Network::create(&config.model, sizes.words, 0, device)?;
    let (inputs, targets) = (inputs(config, sizes, device)?, targets(config, sizes));
    let trainable = parameters.trainable();
    let mut adam = Adam::new(&trainable, &config.train)?;
    let (costs, trained) = costs(config, sizes);
    let mut forward = Phase::new("forward", costs.iter().sum());
    let mut backward = Phase::new("backward", 2.0 * trained);
    let mut update = Phase::new("update", 0.0);
    for run in 0..=sizes.runs {
        let pass = Pass::training(Stream::new(0, "dropout").child(run as u64));
        let pass = pass.in_bf16(config.train.precision == Precision::Bf16);
        let losses = forward.time(device, || network.loss(&inputs, &targets, &pass))?;
        let gradients =
            backward.time(device, || Ok(Gradients::take(&mut losses.total.backward()?, &trainable)?))?;
        drop(losses);
        update.time(device, || {
            let clip = clip_factor(gradients.norm()?, config.train.clip);
            Ok(adam.step(&gradients, clip, config.train.lr)?)
        })?;
    }
    Ok([forward, backward, update].map(Phase::forget_warm_up).into())
}
