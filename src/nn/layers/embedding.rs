//! Tables of vectors.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::nn::init;

/// A table `[rows, width]` with the framework's initial values, N(0, 1).
pub fn table(rows: usize, width: usize, vb: VarBuilder) -> Result<Tensor> {
    vb.get_with_hints((rows, width), "weight", init::STANDARD_NORMAL)
}

/// Rows of a table `[_, width]`: indices `[..]` u32 -> `[.., width]`.
pub fn lookup(table: &Tensor, indices: &Tensor) -> Result<Tensor> {
    let mut dims = indices.dims().to_vec();
    dims.push(table.dim(1)?);
    table.index_select(&indices.flatten_all()?, 0)?.reshape(dims)
}
