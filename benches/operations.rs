//! Operations on tensors, at the sizes that they have for one image of 640 pixels, and of RefShapes where it says so.

use candle_core::{Device, Result, Tensor, Var};
use divan::Bencher;
use divan::counter::ItemsCount;
use partial_res::nn::ops::{attention_mix, attention_weights, conv2d, layer_norm, linear_relu};

fn random(shape: &[usize]) -> Var {
    Var::rand(-1f32, 1f32, shape, &Device::Cpu).expect("a tensor")
}

/// A convolution of DarkNet: the side of its kernel, its stride, channels, outputs, the side of the map.
#[derive(Clone, Copy)]
struct Convolution(usize, usize, usize, usize, usize);

impl std::fmt::Display for Convolution {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self(kernel, stride, channels, outputs, side) = self;
        write!(f, "{kernel}x{kernel}/{stride} {channels}->{outputs} of {side}x{side}")
    }
}

const CONVOLUTIONS: [Convolution; 4] = [
    Convolution(3, 1, 128, 256, 80),
    Convolution(3, 1, 512, 1024, 20),
    Convolution(3, 2, 128, 256, 160),
    Convolution(1, 1, 256, 128, 80),
];

impl Convolution {
    fn inputs(self, images: usize) -> [Var; 2] {
        let Self(kernel, _, channels, outputs, side) = self;
        [random(&[images, channels, side, side]), random(&[outputs, channels, kernel, kernel])]
    }

    fn run(self, [x, w]: [&Tensor; 2]) -> Result<Tensor> {
        conv2d(x, w, self.1, self.0 / 2)
    }

    /// Multiplications of the plain algorithm.
    fn count(self) -> ItemsCount {
        let Self(kernel, stride, channels, outputs, side) = self;
        ItemsCount::new(kernel * kernel * channels * outputs * (side / stride).pow(2))
    }
}

#[divan::bench(args = CONVOLUTIONS)]
fn conv_forward(bencher: Bencher, conv: Convolution) {
    let [x, w] = conv.inputs(1).map(|var| var.as_detached_tensor());
    bencher.counter(conv.count()).bench(|| conv.run([&x, &w]).expect("a map"));
}

/// The first ones on RefShapes, with so many images.
const OF_FEW_CHANNELS: [Convolution; 3] =
    [Convolution(3, 1, 3, 8, 64), Convolution(3, 2, 8, 8, 64), Convolution(3, 1, 4, 8, 32)];
const IMAGES: usize = 32;

#[divan::bench(args = OF_FEW_CHANNELS)]
fn conv_of_few_channels(bencher: Bencher, conv: Convolution) {
    let [x, w] = conv.inputs(IMAGES).map(|var| var.as_detached_tensor());
    bencher.bench(|| conv.run([&x, &w]).expect("a map"));
}

/// Of a loss's gradient, with respect to input and weights.
#[divan::bench(args = CONVOLUTIONS)]
fn conv_backward(bencher: Bencher, conv: Convolution) {
    let [x, w] = conv.inputs(1);
    let outputs = || conv.run([&x, &w]).and_then(|y| y.sum_all()).expect("a loss");
    bencher.with_inputs(outputs).bench_values(|loss| loss.backward().expect("gradients"));
}

/// Queries and keys of the decoder's look at the memory, and of the encoder's at itself.
const ATTENTIONS: [(usize, usize); 2] = [(37, 401), (401, 401)];
const WIDTH: usize = 256;
const HEADS: usize = 8;

fn attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    attention_weights(q, k, None, HEADS).and_then(|weights| attention_mix(&weights, v)).expect("a mixture")
}

#[divan::bench(args = ATTENTIONS)]
fn attention_forward(bencher: Bencher, (queries, keys): (usize, usize)) {
    let [q, k, v] = [queries, keys, keys].map(|n| random(&[1, n, WIDTH]).as_detached_tensor());
    bencher.bench(|| attention(&q, &k, &v));
}

#[divan::bench(args = ATTENTIONS)]
fn attention_backward(bencher: Bencher, (queries, keys): (usize, usize)) {
    let [q, k, v] = [queries, keys, keys].map(|n| random(&[1, n, WIDTH]));
    let loss = || attention(&q, &k, &v).sum_all().expect("a loss");
    bencher.with_inputs(loss).bench_values(|loss| loss.backward().expect("gradients"));
}

#[divan::bench]
fn layer_norm_forward_and_backward(bencher: Bencher) {
    let (x, weight, bias) = (random(&[401, WIDTH]), random(&[WIDTH]), random(&[WIDTH]));
    let normed = || layer_norm(&x, &weight, &bias, 1e-5).and_then(|y| y.sum_all()).expect("a loss");
    bencher.bench(|| normed().backward().expect("gradients"));
}

#[divan::bench]
fn linear_forward_and_backward(bencher: Bencher) {
    const HIDDEN: usize = 1024;
    let (x, w, bias) = (random(&[401, WIDTH]), random(&[HIDDEN, WIDTH]), random(&[HIDDEN]));
    let loss = || linear_relu(&x, &w, &bias).and_then(|y| y.sum_all()).expect("a loss");
    bencher.bench(|| loss().backward().expect("gradients"));
}
