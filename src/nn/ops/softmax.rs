//! Softmax over the last dimension.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor, bail};

use super::math::exp;
use super::parallel::for_rows;
use super::simd::{LANES, sum1, sum2, wide};
use super::storage::{is_f32_on_cpu, read, slice, tensor};

/// Values that are worth a job of their own.
const JOB: usize = 1 << 12;

/// `softmax(x + bias)` over the last dimension; `bias` broadcasts to the shape of `x` and may hide
/// places with negative infinity. A row that is hidden as a whole gives zeros on the CPU.
pub fn softmax(x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if !(is_f32_on_cpu(x) && bias.is_none_or(is_f32_on_cpu)) {
        let x = bias.map_or_else(|| Ok(x.clone()), |bias| x.broadcast_add(bias))?;
        // The maximum only steadies the exponentials and is no part of the graph.
        let exponentials = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?.exp()?;
        return exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?);
    }
    let x = x.contiguous()?;
    let Some(bias) = bias else { return x.apply_op1(Softmax) };
    let bias = bias.contiguous()?.broadcast_as(x.shape())?;
    let bias = if bias.stride().last() == Some(&1) { bias } else { bias.contiguous()? };
    x.apply_op2(&bias, Softmax)
}

/// Logarithm of the softmax over the last dimension, composed.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

struct Softmax;

impl Softmax {
    fn gradient(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let width = y.dim(D::Minus1)?.max(1);
        let mut dx = vec![0f32; y.elem_count()];
        read([y, grad], |[y, grad]| {
            for_rows(&mut dx, width, JOB.div_ceil(width), |row, dx| {
                let range = row * width..(row + 1) * width;
                softmax_gradient(&y[range.clone()], &grad[range], dx);
            });
        })?;
        tensor(dx, y.shape(), y)
    }
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = slice(x, layout)?.to_vec();
        let width = layout.dims().last().copied().unwrap_or(1).max(1);
        for_rows(&mut out, width, JOB.div_ceil(width), |_, row| softmax_row(row));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(Self::gradient(y, grad)?))
    }
}

impl CustomOp2 for Softmax {
    fn name(&self) -> &'static str {
        "softmax with bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let bias = bias.as_slice::<f32>()?;
        let (Some((&width, outer)), Some((1, strides))) =
            (layout.dims().split_last(), bias_layout.stride().split_last())
        else {
            bail!("softmax: the last dimension of the bias must be dense, found {bias_layout:?}")
        };
        let width = width.max(1);
        let mut out = vec![0f32; x.len()];
        for_rows(&mut out, width, JOB.div_ceil(width), |row, out| {
            let mut rest = row;
            let mut start = bias_layout.start_offset();
            for (&size, &stride) in outer.iter().zip(strides).rev() {
                start += rest % size * stride;
                rest /= size;
            }
            add(&x[row * width..(row + 1) * width], &bias[start..start + width], out);
            softmax_row(out);
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = Self::gradient(y, grad)?;
        // The gradient of the broadcast sums it over what was repeated.
        let db = bias.track_op().then(|| dx.clone());
        Ok((Some(dx), db))
    }
}

/// The largest value; negative infinity when there is none.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = if block[i] > lanes[i] { block[i] } else { lanes[i] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m })
}

wide! {
    fn add(x: &[f32], bias: &[f32], out: &mut [f32]) {
        for ((out, &x), &bias) in out.iter_mut().zip(x).zip(bias) {
            *out = x + bias;
        }
    }

    pub fn softmax_row(row: &mut [f32]) {
        let largest = largest(row);
        if largest == f32::NEG_INFINITY {
            return row.fill(0.0);
        }
        for x in row.iter_mut() {
            *x = exp(*x - largest);
        }
        let scale = 1.0 / sum1(row, |x| x);
        for x in row.iter_mut() {
            *x *= scale;
        }
    }

    pub fn softmax_gradient(y: &[f32], grad: &[f32], dx: &mut [f32]) {
        let mean = sum2(y, grad, |y, g| y * g);
        for ((dx, &y), &grad) in dx.iter_mut().zip(y).zip(grad) {
            *dx = y * (grad - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random, values};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        for shape in [&[3, 2, 5][..], &[4, 2], &[2, 37]] {
            check(|t| softmax(&(&t[0] * 5.0)?, None), &[random("x", shape)?], 1e-5)?;
        }
        let x = random("x", (2, 3, 4, 19))?;
        for bias in [&[2, 3, 4, 19][..], &[2, 1, 1, 19], &[4, 19], &[19]] {
            check(|t| softmax(&t[0], Some(&t[1])), &[x.clone(), random("bias", bias)?], 1e-5)?;
        }
        Ok(())
    }

    #[test]
    fn hidden_places_are_zero() -> Result<()> {
        let hidden = Tensor::new(
            &[[0f32, f32::NEG_INFINITY, 0.0], [f32::NEG_INFINITY; 3]],
            &candle_core::Device::Cpu,
        )?;
        let y = values(&softmax(&random("x", (2, 3))?, Some(&hidden))?);
        assert!(y[0] > 0.0 && y[2] > 0.0 && (y[0] + y[2] - 1.0).abs() < 1e-6);
        assert_eq!([y[1], y[3], y[4], y[5]], [0.0; 4]);
        Ok(())
    }
}
