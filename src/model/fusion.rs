//! Bottom-up fusion of the three levels, then the product with the language.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::darknet::Levels;
use crate::config::DarknetConfig;
use crate::nn::ops::{average_pool, in_bf16, joined};
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
        let bf16 = pass.is_bf16(false);
        let unit = |unit: &ConvUnit, x: &Tensor| match bf16 {
            true => unit.forward_bf16(None, &in_bf16(x)?, pass),
            false => unit.forward(x, pass),
        };
        let low = unit(&self.low_to_middle, &average_pool(&levels.low, self.pool_low)?)?;
        let middle = joined(&low, &levels.middle)?;
        let middle = unit(&self.middle_to_top, &average_pool(&middle, self.pool_middle)?)?;
        let x = unit(&self.top[0], &joined(&middle, &levels.top)?)?;
        unit(&self.top[1], &x)
    }
}
