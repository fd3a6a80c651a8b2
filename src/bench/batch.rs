//! Batches of noise.

use candle_core::{Device, Result, Tensor};

use super::Sizes;
use crate::config::Config;
use crate::model::{Inputs, Targets};
use crate::random::Stream;

/// Images of noise without padding, each with the same number of expressions of eight words.
pub fn inputs(config: &Config, sizes: &Sizes, device: &Device) -> Result<Inputs> {
    const WORDS: usize = 8;
    let Sizes { images, expressions, words, .. } = *sizes;
    let side = side(config);
    let mut stream = Stream::new(0, "bench");
    let pixels = (0..images * 3 * side * side).map(|_| stream.range(0.0, 255.0) as f32).collect();
    let rows = images * expressions;
    let width = config.data.max_words;
    let ids = (0..rows * width)
        .map(|place| if place % width < WORDS { 1 + stream.below(words - 1) as u32 } else { 0 })
        .collect();
    Ok(Inputs {
        images: Tensor::from_vec(pixels, (images, 3, side, side), &Device::Cpu)?.to_device(device)?,
        image_hw: vec![(side, side); images],
        image_of: (0..rows).map(|row| (row / expressions) as u32).collect(),
        words: Tensor::from_vec::<_, u32>(ids, (rows, width), device)?,
    })
}

/// A box and an outline for every row.
pub fn targets(config: &Config, sizes: &Sizes) -> Targets {
    let rows = sizes.images * sizes.expressions;
    let side = side(config);
    let mut stream = Stream::new(0, "bench targets");
    let mut place = || stream.range(0.0, side as f64);
    let boxes = (0..rows)
        .map(|_| {
            let [a, b, c, d] = std::array::from_fn(|_| place());
            [f64::min(a, b), f64::min(c, d), f64::max(a, b) + 1.0, f64::max(c, d) + 1.0]
        })
        .collect();
    let outline = |place: &mut dyn FnMut() -> f64| {
        (0..config.model.vertices).map(|_| [place() as f32, place() as f32]).collect()
    };
    let vertices = (0..rows).map(|_| outline(&mut place)).collect();
    let pad_hw = vec![(side, side); rows];
    let labels = Some(vec![vec![0; config.model.auxiliary.pretext_classes.len()]; rows]);
    Targets { pad_hw, boxes: Some(boxes), vertices: Some(vertices), labels, weights: None }
}

/// Pixels of the square images.
pub fn side(config: &Config) -> usize {
    config.data.image_size.next_multiple_of(config.model.darknet.stride())
}
