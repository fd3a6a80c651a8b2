//! The block of two linear layers.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::nn::{Linear, Pass, init};

/// Linear, ReLU, dropout, linear.
#[derive(Clone, Debug)]
pub struct FeedForward {
    first: Linear,
    second: Linear,
    dropout: f64,
}

impl FeedForward {
    pub fn new(width: usize, hidden: usize, dropout: f64, vb: &VarBuilder) -> Result<Self> {
        let layer = |inputs, outputs, name: &str| {
            Linear::new(inputs, outputs, init::xavier(outputs, inputs), init::fan_in(inputs), vb.pp(name))
        };
        Ok(Self {
            first: layer(width, hidden, "linear1")?,
            second: layer(hidden, width, "linear2")?,
            dropout,
        })
    }

    /// As [`Linear::for_few_rows`].
    pub fn for_few_rows(&self) -> Result<Self> {
        Ok(Self {
            first: self.first.for_few_rows()?,
            second: self.second.for_few_rows()?,
            dropout: self.dropout,
        })
    }

    pub fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.second.forward(&pass.dropout(&self.first.forward_relu(x)?, self.dropout)?)
    }
}
