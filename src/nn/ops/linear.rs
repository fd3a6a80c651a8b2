//! Affine maps of the last dimension.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::matrix::{Matrix, Target, all_threads, multiply};
use super::storage::{is_f32_on_cpu, read, slice, tensor};

/// `x w^T + bias` for `x` `[..., inputs]`, `w` `[outputs, inputs]` and `bias` `[outputs]`.
pub fn linear(x: &Tensor, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = w.dims2()?;
    if x.dim(D::Minus1)? != inputs || bias.dims() != [outputs] || inputs * outputs == 0 {
        bail!("linear: {:?} with weight {:?} and bias {:?}", x.shape(), w.shape(), bias.shape())
    }
    if is_f32_on_cpu(x) && is_f32_on_cpu(w) && is_f32_on_cpu(bias) {
        return x.contiguous()?.apply_op3(&w.contiguous()?, &bias.contiguous()?, Linear);
    }
    let mut dims = x.dims().to_vec();
    dims.pop();
    let rows = dims.iter().product::<usize>();
    dims.push(outputs);
    x.reshape((rows, inputs))?.matmul(&w.t()?)?.broadcast_add(bias)?.reshape(dims)
}

struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = w_layout.shape().dims2()?;
        let rows = x_layout.shape().elem_count() / inputs;
        let x = Matrix::new(slice(x, x_layout)?, rows, inputs);
        let w = Matrix::new(slice(w, w_layout)?, outputs, inputs).transposed();
        let mut out = repeat_row(slice(bias, bias_layout)?, rows);
        multiply(x, w, Target { data: &mut out, stride: outputs, add: true }, all_threads());
        let mut dims = x_layout.dims().to_vec();
        dims.pop();
        dims.push(outputs);
        Ok((CpuStorage::F32(out), dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (outputs, inputs) = w.dims2()?;
        let rows = x.elem_count() / inputs;
        let (dx, dw, db) = read([x, w, grad], |[xs, ws, gs]| {
            let grad = Matrix::new(gs, rows, outputs);
            let dx = x.track_op().then(|| product(grad, Matrix::new(ws, outputs, inputs)));
            let dw = w.track_op().then(|| product(grad.transposed(), Matrix::new(xs, rows, inputs)));
            (dx, dw, bias.track_op().then(|| column_sums(gs, outputs)))
        })?;
        let like = |data: Option<Vec<f32>>, t: &Tensor| data.map(|d| tensor(d, t.shape(), t)).transpose();
        Ok((like(dx, x)?, like(dw, w)?, like(db, bias)?))
    }
}

pub fn repeat_row(row: &[f32], rows: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(row.len() * rows);
    (0..rows).for_each(|_| out.extend_from_slice(row));
    out
}

/// `a b` in new memory.
pub fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    let mut out = vec![0f32; a.rows() * b.columns()];
    multiply(a, b, Target { data: &mut out, stride: b.columns(), add: false }, all_threads());
    out
}

/// The sums over the rows of a matrix, in blocks of fixed size.
pub fn column_sums(matrix: &[f32], columns: usize) -> Vec<f32> {
    const ROWS: usize = 256;
    let partial: Vec<Vec<f32>> = matrix
        .par_chunks(ROWS * columns)
        .map(|block| {
            let mut sums = vec![0f32; columns];
            block.chunks_exact(columns).for_each(|row| add(&mut sums, row));
            sums
        })
        .collect();
    let mut sums = vec![0f32; columns];
    partial.iter().for_each(|part| add(&mut sums, part));
    sums
}

fn add(sums: &mut [f32], row: &[f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        for (shape, outputs) in [(&[2, 3, 4][..], 5), (&[7], 2), (&[300, 3], 2)] {
            let inputs = shape[shape.len() - 1];
            let inputs = [random("x", shape)?, random("w", (outputs, inputs))?, random("b", outputs)?];
            check(|t| linear(&t[0], &t[1], &t[2]), &inputs, 3e-6)?;
        }
        Ok(())
    }
}
