//! Layer normalisation over the last dimension.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::jobs::for_rows;
use super::simd::{sum1, sum2, wide};
use super::storage::{has_kernels, read, slice, tensor};

/// Rows whose parameter gradients are summed before they join the others: fixed, so that the number
/// of threads does not show.
const ROWS: usize = 64;
/// Values that are worth a job of their own.
const JOB: usize = 1 << 13;

/// `(x - mean) / sqrt(variance + eps) weight + bias` over the last dimension (biased variance).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    if weight.dims() != [width] || bias.dims() != [width] || width == 0 {
        bail!("layer norm: {x:?} with weight {weight:?} and bias {bias:?}")
    }
    if has_kernels([x, weight, bias]) {
        let op = LayerNorm { width, eps: eps as f32 };
        return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op);
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)?.broadcast_mul(weight)?.broadcast_add(bias)
}

struct LayerNorm {
    width: usize,
    eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut out = slice(x, x_layout)?.to_vec();
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        for_rows(&mut out, self.width, JOB.div_ceil(self.width), |_, row| {
            normalise(row, weight, bias, self.eps);
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (weight, bias) = ((weight, weight_layout), (bias, bias_layout));
        Ok((super::cuda::layer_norm((x, x_layout), weight, bias, self.eps)?, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            let [dx, dw, db] = super::cuda::layer_norm_gradients([x, weight, bias], grad, self.eps)?;
            return Ok((dx, dw, db));
        }
        let (width, block) = (self.width, self.width * ROWS);
        let mut dx = vec![0f32; x.elem_count()];
        let partial: Vec<Vec<f32>> = read([x, weight, grad], |[x, weight, grad]| {
            dx.par_chunks_mut(block)
                .zip(x.par_chunks(block))
                .zip(grad.par_chunks(block))
                .map(|((dx, x), grad)| {
                    let mut sums = vec![0f32; 2 * width];
                    let (dw, db) = sums.split_at_mut(width);
                    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
                    for ((x, grad), dx) in rows.zip(dx.chunks_exact_mut(width)) {
                        gradients([x, grad, weight], self.eps, [&mut *dx, &mut *dw, &mut *db]);
                    }
                    sums
                })
                .collect()
        })?;
        let mut sums = vec![0f32; 2 * width];
        for part in partial {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let db = sums.split_off(width);
        let like = |data, t: &Tensor| t.track_op().then(|| tensor(data, t.shape(), x)).transpose();
        Ok((like(dx, x)?, like(sums, weight)?, like(db, bias)?))
    }
}

/// Mean and inverse standard deviation.
#[inline(always)]
fn statistics(x: &[f32], eps: f32) -> (f32, f32) {
    let mean = sum1(x, |x| x) / x.len() as f32;
    let variance = sum1(x, |x| (x - mean) * (x - mean)) / x.len() as f32;
    (mean, 1.0 / (variance + eps).sqrt())
}

wide! {
    fn normalise(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
        let (mean, inverse) = statistics(row, eps);
        for ((x, &weight), &bias) in row.iter_mut().zip(weight).zip(bias) {
            *x = (*x - mean) * inverse * weight + bias;
        }
    }

    /// Writes dx and adds to the gradients of weight and bias.
    fn gradients(values: [&[f32]; 3], eps: f32, sums: [&mut [f32]; 3]) {
        let ([x, grad, weight], [dx, dw, db]) = (values, sums);
        let (mean, inverse) = statistics(x, eps);
        for (i, dx) in dx.iter_mut().enumerate() {
            let normal = (x[i] - mean) * inverse;
            dw[i] += grad[i] * normal;
            db[i] += grad[i];
            *dx = grad[i] * weight[i];
        }
        let count = x.len() as f32;
        let average = sum1(dx, |g| g) / count;
        let along = sum2(dx, x, |g, x| g * ((x - mean) * inverse)) / count;
        for (dx, &x) in dx.iter_mut().zip(x) {
            *dx = inverse * (*dx - average - (x - mean) * inverse * along);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        for shape in [&[2, 3, 8][..], &[5, 19], &[130, 3]] {
            let width = shape[shape.len() - 1];
            let inputs = [(random("x", shape)? + 0.5)?, random("w", width)?, random("b", width)?];
            check(|t| layer_norm(&t[0], &t[1], &t[2], 1e-3), &inputs, 2e-5)?;
        }
        Ok(())
    }
}
