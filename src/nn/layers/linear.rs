//! Affine maps of the last dimension.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// `x W^T + b` for `x` of any rank with `inputs` last; `weight` is `[outputs, inputs]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let inputs = dims.pop().unwrap_or(0);
    let rows = dims.iter().product::<usize>();
    dims.push(weight.dim(0)?);
    x.reshape((rows, inputs))?.matmul(&weight.t()?)?.broadcast_add(bias)?.reshape(dims)
}

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

    /// `[.., inputs]` -> `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, &self.bias)
    }
}
