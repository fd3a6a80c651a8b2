//! Affine maps of the last dimension.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::nn::ops::{by_columns, linear, linear_relu};

/// A linear layer.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub fn new(inputs: usize, outputs: usize, weight: Init, bias: Init, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs), "weight", weight)?,
            bias: vb.get_with_hints(outputs, "bias", bias)?,
        })
    }

    /// The same layer for many calls with few rows each, as the tensors are now.
    pub fn for_few_rows(&self) -> Result<Self> {
        Ok(Self { weight: by_columns(&self.weight)?, bias: self.bias.clone() })
    }

    /// `[.., inputs]` -> `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, &self.bias)
    }

    /// As [`Linear::forward`], followed by a ReLU.
    pub fn forward_relu(&self, x: &Tensor) -> Result<Tensor> {
        linear_relu(x, &self.weight, &self.bias)
    }
}
