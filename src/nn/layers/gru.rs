//! A bidirectional gated recurrent layer.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::nn::init;
use crate::nn::ops::{GruWeights, gru};

#[derive(Clone, Debug)]
struct Direction {
    input_weight: Tensor,
    hidden_weight: Tensor,
    input_bias: Tensor,
    hidden_bias: Tensor,
}

impl Direction {
    fn new(inputs: usize, hidden: usize, suffix: &str, vb: &VarBuilder) -> Result<Self> {
        let get = |shape: &[usize], name: &str| {
            vb.get_with_hints(shape, &format!("{name}_l0{suffix}"), init::fan_in(hidden))
        };
        Ok(Self {
            input_weight: get(&[3 * hidden, inputs], "weight_ih")?,
            hidden_weight: get(&[3 * hidden, hidden], "weight_hh")?,
            input_bias: get(&[3 * hidden], "bias_ih")?,
            hidden_bias: get(&[3 * hidden], "bias_hh")?,
        })
    }

    fn forward(&self, x: &Tensor, reverse: bool) -> Result<Tensor> {
        let weights = GruWeights {
            input_weight: &self.input_weight,
            hidden_weight: &self.hidden_weight,
            input_bias: &self.input_bias,
            hidden_bias: &self.hidden_bias,
        };
        gru(x, weights, reverse)
    }
}

/// One layer in both directions with PyTorch's parameter names.
#[derive(Clone, Debug)]
pub struct BiGru {
    forward: Direction,
    backward: Direction,
}

impl BiGru {
    /// `hidden` is the width of each direction.
    pub fn new(inputs: usize, hidden: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            forward: Direction::new(inputs, hidden, "", &vb)?,
            backward: Direction::new(inputs, hidden, "_reverse", &vb)?,
        })
    }

    /// `[B, T, inputs]` -> `[B, T, 2 * hidden]`, forward states first.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Tensor::cat(&[self.forward.forward(x, false)?, self.backward.forward(x, true)?], 2)
    }
}
