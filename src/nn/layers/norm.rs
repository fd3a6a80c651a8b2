//! Normalisation layers.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::nn::init;
use crate::nn::ops::{group_norm, layer_norm};

const EPSILON: f64 = 1e-5;

fn scale_and_shift(width: usize, vb: &VarBuilder) -> Result<(Tensor, Tensor)> {
    Ok((vb.get_with_hints(width, "weight", init::ONES)?, vb.get_with_hints(width, "bias", init::ZEROS)?))
}

/// Over the last dimension.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub fn new(width: usize, vb: VarBuilder) -> Result<Self> {
        let (weight, bias) = scale_and_shift(width, &vb)?;
        Ok(Self { weight, bias })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, EPSILON)
    }
}

/// Over all positions and the channels of a group.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    groups: usize,
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    pub fn new(groups: usize, width: usize, vb: VarBuilder) -> Result<Self> {
        let (weight, bias) = scale_and_shift(width, &vb)?;
        Ok(Self { groups, weight, bias })
    }

    /// `[B, N, C]` -> `[B, N, C]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        group_norm(x, &self.weight, &self.bias, self.groups, EPSILON)
    }
}
