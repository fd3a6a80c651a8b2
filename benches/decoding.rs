//! Saying an outline, token by token.

use candle_core::{DType, Device, Tensor};
use divan::Bencher;
use divan::counter::ItemsCount;
use partial_res::config::{ModelConfig, Task};
use partial_res::model::{Constraint, Inputs, Network, Phase, Strategy};
use partial_res::nn::Pass;

/// Forbids the end, so that every outline has its full length.
struct ToTheEnd(u32);

impl Constraint for ToTheEnd {
    fn allows(&self, _: usize, _: Phase, _: usize, token: u32) -> bool {
        token != self.0
    }
}

/// Tokens a second about an image of 640 pixels, for one expression and for sixteen at once.
#[divan::bench(args = [1, 16])]
fn decode_step(bencher: Bencher, expressions: usize) {
    const WORDS: usize = 64;
    const SIDE: usize = 640;
    let cfg = ModelConfig::default();
    let (_, parameters) = Network::create(&cfg, WORDS, 0, &Device::Cpu).expect("a network");
    let network = Network::new(&cfg, WORDS, parameters.inference()).expect("a network");
    let inputs = Inputs {
        images: Tensor::zeros((1, 3, SIDE, SIDE), DType::F32, &Device::Cpu).expect("an image"),
        image_hw: vec![(SIDE, SIDE)],
        image_of: vec![0; expressions],
        words: Tensor::ones((expressions, 15), DType::U32, &Device::Cpu).expect("words"),
    };
    let encoded = network.forward(&inputs, &Pass::evaluation()).expect("a memory");
    let whole = ToTheEnd(cfg.end_token());
    let tokens = expressions * (2 * cfg.vertices + 1);
    bencher.counter(ItemsCount::new(tokens)).bench_local(|| {
        network.generate(&encoded, Task::Segmentation, Strategy::Greedy, Some(&whole)).expect("outlines")
    });
}
