//! Point-modulated cross-attention (PMCA): each head looks around a point it predicts.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::grid::Grid;
use crate::nn::ops::{Map, point_bias};
use crate::nn::{Linear, Pass, init};

/// Predicts a Gaussian for each head: the first half of the outputs are centres (x, y), the
/// second half inverse widths (quirk 9).
#[derive(Clone, Debug)]
pub struct PointNet {
    heads: usize,
    layers: [Linear; 3],
}

impl PointNet {
    /// The last bias starts at zero, its matrix doesn't (quirk 10).
    pub fn new(width: usize, hidden: [usize; 2], heads: usize, vb: VarBuilder) -> Result<Self> {
        let [first, second] = hidden;
        let layer = |inputs, outputs, bias, name: usize| {
            Linear::new(inputs, outputs, init::xavier(outputs, inputs), bias, vb.pp(name))
        };
        Ok(Self {
            heads,
            layers: [
                layer(width, first, init::fan_in(width), 0)?,
                layer(first, second, init::fan_in(first), 2)?,
                layer(second, 4 * heads, init::ZEROS, 4)?,
            ],
        })
    }

    /// As [`Linear::for_few_rows`].
    pub fn for_few_rows(&self) -> Result<Self> {
        let [first, second, third] = &self.layers;
        let layers = [first.for_few_rows()?, second.for_few_rows()?, third.for_few_rows()?];
        Ok(Self { heads: self.heads, layers })
    }

    /// Queries `[B, L, D]` -> what is added to the attention logits of the cells and of `extra` positions
    /// behind them, `[B, heads, L, h * w + extra]`: minus an eighth of the squared scaled distance to the
    /// centre, and 0.
    pub fn bias(
        &self,
        queries: &Tensor,
        grid: &Grid,
        extra: usize,
        name: &str,
        pass: &Pass,
    ) -> Result<Tensor> {
        let x = self.layers[0].forward_relu(queries)?;
        let x = self.layers[1].forward_relu(&x)?;
        let x = self.layers[2].forward(&x)?;
        pass.watch(|| format!("{name}.point"), &x);
        let map = Map { height: grid.height, width: grid.width, extra, extent: grid.extent() };
        point_bias(&x, self.heads, &map)
    }
}
