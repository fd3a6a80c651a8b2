//! Affine maps of the last dimension.

use std::ops::Range;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

use super::jobs::{for_rows, map_rows};
use super::matrix::{Matrix, all_threads, product};
use super::simd::wide;
use super::storage::{has_kernels, is_f32_on_cpu, read, slice, tensor, with_scratch};
use super::transpose::transposed;

/// `x w^T + bias` for `x` `[..., inputs]`, `w` `[outputs, inputs]` and `bias` `[outputs]`. `w` may come from
/// [`by_columns`].
pub fn linear(x: &Tensor, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
    affine(x, w, bias, Linear { relu: false, part: None })
}

/// [`linear`] with some of the outputs of a packed weight. Their gradient is put in its place here: candle would put
/// each part's among zeros of its own.
pub fn linear_part(x: &Tensor, w: &Tensor, bias: &Tensor, outputs: Range<usize>) -> Result<Tensor> {
    if !(has_kernels([x, w, bias]) && w.track_op() && w.is_contiguous()) {
        let part = |t: &Tensor| t.narrow(0, outputs.start, outputs.len());
        return linear(x, &part(w)?, &part(bias)?);
    }
    affine(x, w, bias, Linear { relu: false, part: Some(outputs) })
}

/// `max(x w^T + bias, 0)`; shapes as in [`linear`].
pub fn linear_relu(x: &Tensor, w: &Tensor, bias: &Tensor) -> Result<Tensor> {
    affine(x, w, bias, Linear { relu: true, part: None })
}

/// A weight `[outputs, inputs]` laid out column by column. Products with few rows spend much of their time on
/// packing a weight into this order. On the CPU only, and not for a weight that gradients go back to.
pub fn by_columns(w: &Tensor) -> Result<Tensor> {
    if !is_f32_on_cpu(w) || w.track_op() {
        return Ok(w.clone());
    }
    transposed(&w.unsqueeze(0)?)?.squeeze(0)?.t()
}

fn affine(x: &Tensor, w: &Tensor, bias: &Tensor, op: Linear) -> Result<Tensor> {
    let (outputs, inputs) = w.dims2()?;
    if x.dim(D::Minus1)? != inputs || bias.dims() != [outputs] || inputs * outputs == 0 {
        bail!("linear: {:?} with weight {:?} and bias {:?}", x.shape(), w.shape(), bias.shape())
    }
    if has_kernels([x, w, bias]) {
        return x.contiguous()?.apply_op3(w, &bias.contiguous()?, op);
    }
    let mut dims = x.dims().to_vec();
    dims.pop();
    let rows = dims.iter().product::<usize>();
    dims.push(outputs);
    let y = x.reshape((rows, inputs))?.matmul(&w.t()?)?.broadcast_add(bias)?.reshape(dims)?;
    if op.relu { y.relu() } else { Ok(y) }
}

/// Rows that are finished, or whose sums are taken, together: fixed, so that the number of threads
/// does not show.
const ROWS: usize = 256;

struct Linear {
    relu: bool,
    /// Of the outputs; all of them without.
    part: Option<Range<usize>>,
}

impl Linear {
    /// The outputs of a weight or a bias that are computed.
    fn layout(&self, whole: &Layout) -> Result<Layout> {
        match &self.part {
            Some(part) => whole.narrow(0, part.start, part.len()),
            None => Ok(whole.clone()),
        }
    }

    fn of(&self, whole: &Tensor) -> Result<Tensor> {
        match &self.part {
            Some(part) => whole.narrow(0, part.start, part.len()),
            None => Ok(whole.clone()),
        }
    }

    /// The gradient of all outputs from that of those that were computed.
    fn among_zeros(&self, gradient: Option<Tensor>, whole: &Tensor) -> Result<Option<Tensor>> {
        match (gradient, &self.part) {
            (Some(gradient), Some(part)) => {
                let all = whole.detach().zeros_like()?;
                all.slice_set(&gradient.contiguous()?, 0, part.start)?;
                Ok(Some(all))
            }
            (gradient, _) => Ok(gradient),
        }
    }
}

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
        let (w_layout, bias_layout) = (&self.layout(w_layout)?, &self.layout(bias_layout)?);
        let (outputs, inputs) = w_layout.shape().dims2()?;
        let rows = x_layout.shape().elem_count() / inputs;
        let x = Matrix::new(slice(x, x_layout)?, rows, inputs);
        let &[row_stride, column_stride] = w_layout.stride() else { bail!("linear: weight {w_layout:?}") };
        let w = &w.as_slice::<f32>()?[w_layout.start_offset()..];
        let w = Matrix::strided(w, [outputs, inputs], [row_stride, column_stride]).transposed();
        let bias = slice(bias, bias_layout)?;
        let mut out = product(x, w, all_threads());
        for_rows(&mut out, outputs * ROWS, 1, |_, rows| finish(rows, bias, self.relu));
        let mut dims = x_layout.dims().to_vec();
        dims.pop();
        dims.push(outputs);
        Ok((CpuStorage::F32(out), dims.into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        w: &CudaStorage,
        w_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (w_layout, bias_layout) = (&self.layout(w_layout)?, &self.layout(bias_layout)?);
        let y = super::cuda::linear((x, x_layout), (w, w_layout), (bias, bias_layout), self.relu)?;
        let mut dims = x_layout.dims().to_vec();
        dims.pop();
        dims.push(w_layout.dims()[0]);
        Ok((y, dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (whole_w, whole_bias) = (w, bias);
        let (w, bias) = (&self.of(w)?, &self.of(bias)?);
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [dx, dw, db] = super::cuda::linear_gradients([x, w, bias], self.relu.then_some(y), grad)?;
            return Ok((dx, self.among_zeros(dw, whole_w)?, self.among_zeros(db, whole_bias)?));
        }
        let (outputs, inputs) = w.dims2()?;
        let rows = x.elem_count() / inputs;
        let (dx, dw, db) = read([x, w, y, grad], |[xs, ws, ys, gs]| {
            let masked = if self.relu { gs.len() } else { 0 };
            with_scratch(masked, |masked| {
                let gs = if self.relu {
                    let size = outputs * ROWS;
                    for_rows(masked, size, 1, |i, to| {
                        let from = i * size..i * size + to.len();
                        where_positive(&ys[from.clone()], &gs[from], to);
                    });
                    &*masked
                } else {
                    gs
                };
                let (grad, all) = (Matrix::new(gs, rows, outputs), all_threads());
                let dx = x.track_op().then(|| product(grad, Matrix::new(ws, outputs, inputs), all));
                let xs = Matrix::new(xs, rows, inputs);
                let dw = w.track_op().then(|| product(grad.transposed(), xs, all));
                (dx, dw, bias.track_op().then(|| column_sums(gs, outputs)))
            })
        })?;
        let like = |data: Option<Vec<f32>>, t: &Tensor| data.map(|d| tensor(d, t.shape(), t)).transpose();
        let (dw, db) = (like(dw, w)?, like(db, bias)?);
        Ok((like(dx, x)?, self.among_zeros(dw, whole_w)?, self.among_zeros(db, whole_bias)?))
    }
}

pub fn repeat_row(row: &[f32], rows: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(row.len() * rows);
    (0..rows).for_each(|_| out.extend_from_slice(row));
    out
}

/// The sums over the rows of a matrix, in blocks of fixed size.
pub fn column_sums(matrix: &[f32], columns: usize) -> Vec<f32> {
    let partial = map_rows(matrix, ROWS * columns, 1, |_, block| {
        let mut sums = vec![0f32; columns];
        add_rows(block, &mut sums);
        sums
    });
    let mut sums = vec![0f32; columns];
    partial.iter().for_each(|part| add_rows(part, &mut sums));
    sums
}

wide! {
    /// Adds the rows of a matrix as wide as `sums`.
    fn add_rows(matrix: &[f32], sums: &mut [f32]) {
        for row in matrix.chunks_exact(sums.len()) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }

    /// Adds the bias to every row, with a ReLU if so wanted.
    fn finish(rows: &mut [f32], bias: &[f32], relu: bool) {
        let lowest = if relu { 0.0 } else { f32::NEG_INFINITY };
        for row in rows.chunks_exact_mut(bias.len()) {
            for (x, &bias) in row.iter_mut().zip(bias) {
                let y = *x + bias;
                *x = if y < lowest { lowest } else { y };
            }
        }
    }

    /// `grad` where `y` is positive, else 0.
    fn where_positive(y: &[f32], grad: &[f32], out: &mut [f32]) {
        for ((out, &grad), &y) in out.iter_mut().zip(grad).zip(y) {
            *out = if y > 0.0 { grad } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check, random, values};
    use super::*;

    #[test]
    fn parts_of_a_packed_weight() -> Result<()> {
        let inputs = [random("x", (2, 3, 4))?, random("w", (6, 4))?, random("b", 6)?];
        for part in [0..2, 2..4, 3..6, 0..6] {
            check(|t| linear_part(&t[0], &t[1], &t[2], part.clone()), &inputs, 3e-6)?;
        }
        assert!(linear_part(&inputs[0], &inputs[1], &inputs[2], 4..7).is_err());
        Ok(())
    }

    #[test]
    fn values_and_gradients() -> Result<()> {
        for (shape, outputs) in [(&[2, 3, 4][..], 5), (&[7], 2), (&[300, 3], 2)] {
            let inputs = shape[shape.len() - 1];
            let inputs = [random("x", shape)?, random("w", (outputs, inputs))?, random("b", outputs)?];
            check(|t| linear(&t[0], &t[1], &t[2]), &inputs, 3e-6)?;
            check(|t| linear_relu(&t[0], &t[1], &t[2]), &inputs, 3e-6)?;
            let [x, w, bias] = &inputs;
            let turned = by_columns(w)?;
            assert!(outputs == 1 || !turned.is_contiguous());
            check(
                |t| linear(&t[0], &turned.to_dtype(t[0].dtype())?, &t[1]),
                &[x.clone(), bias.clone()],
                3e-6,
            )?;
            for rows in [0..outputs, 1..outputs] {
                let part = |t: &Tensor| t.narrow(0, rows.start, rows.len());
                let [found, expected] = [&turned, w].map(|w| linear(x, &part(w)?, &part(bias)?));
                assert_close(&found?, &values(&expected?), 1e-6);
            }
        }
        Ok(())
    }
}
