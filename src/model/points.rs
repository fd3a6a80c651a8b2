//! Point-modulated cross-attention (PMCA): each head looks around a point it predicts.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::grid::Grid;
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

    /// Queries `[B, L, D]` -> what is added to the attention logits of the cells,
    /// `[B, heads, L, h * w]`: minus an eighth of the squared scaled distance to the centre.
    pub fn bias(&self, queries: &Tensor, grid: &Grid, name: &str, pass: &Pass) -> Result<Tensor> {
        let (b, l, _) = queries.dims3()?;
        let x = self.layers[0].forward(queries)?.relu()?;
        let x = self.layers[1].forward(&x)?.relu()?;
        let x = self.layers[2].forward(&x)?;
        pass.watch(|| format!("{name}.point"), &x);
        let x = x.reshape((b, l, 2, self.heads, 2))?;
        let centre = candle_nn::ops::sigmoid(&x.narrow(2, 0, 1)?.contiguous()?)?;
        // [B, L, 1, heads, 2] * [B, 1, 1, 1, 2]
        let centre = centre.broadcast_mul(&grid.extent(queries)?.reshape((b, 1, 1, 1, 2))?)?;
        let inverse_width = x.narrow(2, 1, 1)?.sqr()?;
        // Along one axis: [B, L, heads, 1] and cell centres [n] -> [B, heads, L, n].
        let along = |axis: usize, n: usize| {
            let cells = Tensor::arange(0f32, n as f32, queries.device())?.affine(1.0, 0.5)?;
            let pick = |t: &Tensor| t.narrow(4, axis, 1)?.reshape((b, l, self.heads, 1))?.transpose(1, 2);
            let distance = pick(&centre)?.broadcast_sub(&cells)?.sqr()?;
            distance.broadcast_mul(&(pick(&inverse_width)? * -0.125)?)
        };
        let columns = along(0, grid.width)?.unsqueeze(3)?;
        let rows = along(1, grid.height)?.unsqueeze(4)?;
        rows.broadcast_add(&columns)?.reshape((b, self.heads, l, grid.height * grid.width))
    }
}
