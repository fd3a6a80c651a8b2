//! Bottom-up fusion of the three levels, then the product with the language.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::darknet::Levels;
use crate::config::DarknetConfig;
use crate::nn::{ConvUnit, Pass};

/// Everything of the fusion that doesn't need the words. The product of both tanh is taken by the
/// network, once the image's cells have been handed to its rows.
#[derive(Clone, Debug)]
pub struct Fusion {
    pool_low: usize,
    pool_middle: usize,
    middle_to_top: ConvUnit,
    low_to_middle: ConvUnit,
    top: [ConvUnit; 2],
}

impl Fusion {
    pub fn new(cfg: &DarknetConfig, vb: VarBuilder) -> Result<Self> {
        let [.., low, middle, top] = cfg.widths;
        let (both, all) = (low + middle, low + middle + top);
        Ok(Self {
            pool_low: cfg.strides[3],
            pool_middle: cfg.strides[4],
            middle_to_top: ConvUnit::new(both, both, 3, 1, vb.pp("down_mid2top.1"))?,
            low_to_middle: ConvUnit::new(low, low, 3, 1, vb.pp("down_bot2mid.1"))?,
            top: [
                ConvUnit::new(all, all, 3, 1, vb.pp("top_project.0"))?,
                ConvUnit::new(all, top, 1, 1, vb.pp("top_project.1"))?,
            ],
        })
    }

    /// -> the fused map before its tanh, `[B, widths[5], h, w]`.
    pub fn forward(&self, levels: &Levels, pass: &Pass) -> Result<Tensor> {
        let low = self.low_to_middle.forward(&pool(&levels.low, self.pool_low)?, pass)?;
        let middle = Tensor::cat(&[&low, &levels.middle], 1)?;
        let middle = self.middle_to_top.forward(&pool(&middle, self.pool_middle)?, pass)?;
        let x = Tensor::cat(&[&middle, &levels.top], 1)?;
        self.top[1].forward(&self.top[0].forward(&x, pass)?, pass)
    }
}

fn pool(x: &Tensor, size: usize) -> Result<Tensor> {
    if size == 1 { Ok(x.clone()) } else { x.avg_pool2d(size) }
}
