//! Multi-head attention with packed projections.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::VarBuilder;

use super::grid::Grid;
use crate::nn::ops::{linear, product, softmax};
use crate::nn::{Linear, Pass, init};

/// Parameters as in PyTorch: `in_proj_weight` `[3D, D]` stacks query, key and value.
#[derive(Clone, Debug)]
pub struct Attention {
    heads: usize,
    dropout: f64,
    weight: Tensor,
    bias: Tensor,
    output: Linear,
}

/// Keys and values split into heads, ready for any number of queries.
#[derive(Clone, Debug)]
pub struct KeysValues {
    /// `[B, heads, N, D / heads]`, maybe strided; so are the values.
    keys: Tensor,
    values: Tensor,
}

impl KeysValues {
    /// With further positions behind.
    pub fn append(&self, next: &Self) -> Result<Self> {
        Ok(Self {
            keys: Tensor::cat(&[&self.keys, &next.keys], 2)?,
            values: Tensor::cat(&[&self.values, &next.values], 2)?,
        })
    }

    pub fn device(&self) -> &Device {
        self.keys.device()
    }

    /// The rows of the batch named by `rows` (u32).
    pub fn select(&self, rows: &Tensor) -> Result<Self> {
        let select = |t: &Tensor| t.contiguous()?.index_select(rows, 0);
        Ok(Self { keys: select(&self.keys)?, values: select(&self.values)? })
    }
}

impl Attention {
    /// `dropout` acts on the probabilities.
    pub fn new(width: usize, heads: usize, dropout: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            heads,
            dropout,
            weight: vb.get_with_hints(
                (3 * width, width),
                "in_proj_weight",
                init::xavier(3 * width, width),
            )?,
            bias: vb.get_with_hints(3 * width, "in_proj_bias", init::ZEROS)?,
            output: Linear::new(width, width, init::xavier(width, width), init::ZEROS, vb.pp("out_proj"))?,
        })
    }

    /// One of the three projections of `[B, N, D]`, split: `[B, N, heads, D / heads]`.
    fn project(&self, x: &Tensor, which: usize) -> Result<Tensor> {
        let (b, n, d) = x.dims3()?;
        linear(x, &self.weight.narrow(0, which * d, d)?, &self.bias.narrow(0, which * d, d)?)?.reshape((
            b,
            n,
            self.heads,
            d / self.heads,
        ))
    }

    /// From positions `[B, N, D]`.
    pub fn keys_values(&self, keys: &Tensor, values: &Tensor) -> Result<KeysValues> {
        Ok(KeysValues {
            keys: self.project(keys, 1)?.transpose(1, 2)?,
            values: self.project(values, 2)?.transpose(1, 2)?,
        })
    }

    /// Queries `[B, L, D]` -> `[B, L, D]` and the probabilities `[B, heads, L, N]` before dropout.
    /// `bias` is added to the logits and broadcasts to `[B, heads, L, N]`.
    pub fn attend(
        &self,
        queries: &Tensor,
        memory: &KeysValues,
        bias: Option<&Tensor>,
        pass: &Pass,
    ) -> Result<(Tensor, Tensor)> {
        let (b, l, d) = queries.dims3()?;
        let scale = 1.0 / ((d / self.heads) as f64).sqrt();
        let q = (self.project(queries, 0)? * scale)?.transpose(1, 2)?;
        let probabilities = softmax(&product(&q, &memory.keys.t()?)?, bias)?;
        let mixed = product(&pass.dropout(&probabilities, self.dropout)?, &memory.values)?;
        let mixed = mixed.transpose(1, 2)?.contiguous()?.reshape((b, l, d))?;
        Ok((self.output.forward(&mixed)?, probabilities))
    }
}

/// 0 where one of `n` queries behind `past` positions may look, -inf after itself: `[n, past + n]`.
pub fn causal_bias(past: usize, n: usize, like: &Tensor) -> Result<Tensor> {
    let keys = past + n;
    let hidden = |i: usize| i % keys > past + i / keys;
    let values: Vec<f32> = (0..n * keys).map(|i| if hidden(i) { f32::NEG_INFINITY } else { 0.0 }).collect();
    Tensor::from_vec(values, (n, keys), like.device())
}

/// 0 for valid cells and for `extra` positions behind them, -inf for padding:
/// `[B, 1, 1, cells + extra]`. None when there is no padding.
pub fn padding_bias(grid: &Grid, extra: usize, device: &Device) -> Result<Option<Tensor>> {
    if grid.padding.iter().flatten().all(|ignored| !ignored) {
        return Ok(None);
    }
    let keys = grid.cells() + extra;
    let mut values = Vec::with_capacity(grid.padding.len() * keys);
    for padding in &grid.padding {
        values.extend(padding.iter().map(|&ignored| if ignored { f32::NEG_INFINITY } else { 0.0 }));
        values.extend(std::iter::repeat_n(0.0, extra));
    }
    Tensor::from_vec(values, (grid.padding.len(), 1, 1, keys), device).map(Some)
}

/// Appends `extra` zero columns to a bias `[B, heads, L, N]`.
pub fn extend_bias(bias: &Tensor, extra: usize) -> Result<Tensor> {
    if extra == 0 { Ok(bias.clone()) } else { bias.pad_with_zeros(D::Minus1, 0, extra) }
}
