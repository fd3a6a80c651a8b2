//! A bidirectional gated recurrent layer.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::linear;
use crate::nn::init;

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
        let (b, steps, _) = x.dims3()?;
        let gates = linear(x, &self.input_weight, &self.input_bias)?;
        let width = self.hidden_weight.dim(1)?;
        let mut h = Tensor::zeros((b, width), x.dtype(), x.device())?;
        let mut states = Vec::with_capacity(steps);
        for i in 0..steps {
            let t = if reverse { steps - 1 - i } else { i };
            let from_input = gates.narrow(1, t, 1)?.squeeze(1)?.chunk(3, 1)?;
            let from_hidden = linear(&h, &self.hidden_weight, &self.hidden_bias)?.chunk(3, 1)?;
            let reset = candle_nn::ops::sigmoid(&(&from_input[0] + &from_hidden[0])?)?;
            let update = candle_nn::ops::sigmoid(&(&from_input[1] + &from_hidden[1])?)?;
            let new = (&from_input[2] + (reset * &from_hidden[2])?)?.tanh()?;
            h = (&new + (update * (h - &new)?)?)?;
            states.push(h.clone());
        }
        if reverse {
            states.reverse();
        }
        Tensor::stack(&states, 1)
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
