//! Multi-head attention with packed projections.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;

use super::grid::Grid;
use crate::nn::ops::{attention_mix, attention_weights, by_columns, linear_part, ready_keys, ready_values};
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

/// Keys and values, ready for any number of queries.
#[derive(Clone, Debug)]
pub struct KeysValues {
    /// `[B, N, D]`, as are the values.
    keys: Tensor,
    values: Tensor,
}

impl KeysValues {
    /// Room for `capacity` positions, with these at its beginning.
    pub fn with_room(&self, capacity: usize) -> Result<Self> {
        let room = |t: &Tensor| -> Result<Tensor> {
            let (batch, _, width) = t.dims3()?;
            let room = Tensor::zeros((batch, capacity, width), t.dtype(), t.device())?;
            room.slice_set(&t.contiguous()?, 1, 0)?;
            Ok(room)
        };
        Ok(Self { keys: room(&self.keys)?, values: room(&self.values)? })
    }

    /// Puts `next` behind the first `n` positions, in place, and gives back all up to there.
    pub fn extend(&self, n: usize, next: &Self) -> Result<Self> {
        let extend = |room: &Tensor, next: &Tensor| {
            room.slice_set(&next.contiguous()?, 1, n)?;
            room.narrow(1, 0, n + next.dim(1)?)
        };
        Ok(Self { keys: extend(&self.keys, &next.keys)?, values: extend(&self.values, &next.values)? })
    }

    fn ready(&self, heads: usize) -> Result<Self> {
        Ok(Self { keys: ready_keys(&self.keys, heads)?, values: ready_values(&self.values, heads)? })
    }

    pub fn device(&self) -> &Device {
        self.keys.device()
    }

    /// The rows of the batch named by `rows` (u32).
    pub fn select(&self, rows: &Tensor) -> Result<Self> {
        let select = |t: &Tensor| t.index_select(rows, 0);
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

    /// As [`Linear::for_few_rows`].
    pub fn for_few_rows(&self) -> Result<Self> {
        Ok(Self { weight: by_columns(&self.weight)?, output: self.output.for_few_rows()?, ..self.clone() })
    }

    /// One of the three projections of `[B, N, D]`; each head has its part of the channels.
    fn project(&self, x: &Tensor, which: usize) -> Result<Tensor> {
        let d = x.dim(2)?;
        linear_part(x, &self.weight, &self.bias, which * d..(which + 1) * d)
    }

    /// From positions `[B, N, D]`.
    pub fn keys_values(&self, keys: &Tensor, values: &Tensor) -> Result<KeysValues> {
        Ok(KeysValues { keys: self.project(keys, 1)?, values: self.project(values, 2)? })
    }

    /// As [`Attention::keys_values`], ready to be looked at many times but not to be appended to.
    pub fn source(&self, keys: &Tensor, values: &Tensor) -> Result<KeysValues> {
        self.keys_values(keys, values)?.ready(self.heads)
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
        let probabilities = attention_weights(&self.project(queries, 0)?, &memory.keys, bias, self.heads)?;
        let mixed = attention_mix(&pass.dropout(&probabilities, self.dropout)?, &memory.values)?;
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
