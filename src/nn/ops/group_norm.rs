//! Group normalisation of positions by channels.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::jobs::for_rows;
use super::simd::wide;
use super::storage::{is_f32_on_cpu, read, slice, tensor};

/// Normalises `x` `[n, positions, channels]` over all positions and the channels of a group (biased
/// variance), multiplies by `weight` `[channels]` and adds `bias` `[channels]`.
pub fn group_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, groups: usize, eps: f64) -> Result<Tensor> {
    let (n, positions, channels) = x.dims3()?;
    let affine = [weight, bias].iter().all(|t| t.dims() == [channels]);
    if !affine || groups == 0 || !channels.is_multiple_of(groups) || positions * channels == 0 {
        bail!("group norm: {:?} in {groups} groups, weight {:?}, bias {:?}", x, weight, bias)
    }
    if is_f32_on_cpu(x) && is_f32_on_cpu(weight) && is_f32_on_cpu(bias) {
        let op = GroupNorm { groups, positions, channels, eps };
        return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op);
    }
    let x = x.reshape((n, positions, groups, channels / groups))?;
    let centred = x.broadcast_sub(&x.mean_keepdim((1, 3))?)?;
    let variance = centred.sqr()?.mean_keepdim((1, 3))?;
    centred
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .reshape((n, positions, channels))?
        .broadcast_mul(weight)?
        .broadcast_add(bias)
}

struct GroupNorm {
    groups: usize,
    positions: usize,
    channels: usize,
    eps: f64,
}

/// Of each channel's group.
struct Statistics {
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

impl GroupNorm {
    /// The same number for all channels of a group, from their sums.
    fn by_group(&self, sums: &[f64], f: impl Fn(f64) -> f64) -> Vec<f32> {
        let width = self.channels / self.groups;
        let count = (self.positions * width) as f64;
        sums.chunks_exact(width)
            .flat_map(|group| std::iter::repeat_n(f(group.iter().sum::<f64>() / count) as f32, width))
            .collect()
    }

    fn statistics(&self, x: &[f32]) -> Statistics {
        let mut sums = vec![0f64; self.channels];
        channel_sums(x, &mut sums);
        let mean = self.by_group(&sums, |mean| mean);
        sums.fill(0.0);
        square_sums(x, &mean, &mut sums);
        Statistics { mean, inverse: self.by_group(&sums, |variance| (variance + self.eps).sqrt().recip()) }
    }

    /// Writes dx of one image; gives the gradients of the weight and of the bias.
    fn backward(&self, [x, weight, grad]: [&[f32]; 3], dx: &mut [f32]) -> [Vec<f64>; 2] {
        let Statistics { mean, inverse } = self.statistics(x);
        let (mut along, mut sums) = (vec![0f64; self.channels], vec![0f64; self.channels]);
        gradient_sums([x, grad], [&mean, &inverse], [&mut along, &mut sums]);
        let of_group = |sums: &[f64]| {
            let weighted: Vec<f64> = sums.iter().zip(weight).map(|(s, &w)| s * f64::from(w)).collect();
            self.by_group(&weighted, |mean| mean)
        };
        let (slope, shift) = (of_group(&along), of_group(&sums));
        input_gradient([x, grad], [&mean, &inverse, weight, &slope, &shift], dx);
        [along, sums]
    }
}

impl CustomOp3 for GroupNorm {
    fn name(&self) -> &'static str {
        "group_norm"
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
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let mut out = slice(x, x_layout)?.to_vec();
        for_rows(&mut out, self.positions * self.channels, 1, |_, image| {
            let Statistics { mean, inverse } = self.statistics(image);
            normalise(image, [&mean, &inverse, weight, bias]);
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let size = self.positions * self.channels;
        let mut dx = vec![0f32; x.elem_count()];
        let parts: Vec<[Vec<f64>; 2]> = read([x, weight, grad], |[x, weight, grad]| {
            let images = dx.par_chunks_mut(size).zip(x.par_chunks(size)).zip(grad.par_chunks(size));
            images.map(|((dx, x), grad)| self.backward([x, weight, grad], dx)).collect()
        })?;
        let total = |which: usize| -> Vec<f32> {
            let channel = |c: usize| parts.iter().map(|part| part[which][c]).sum::<f64>() as f32;
            (0..self.channels).map(channel).collect()
        };
        Ok((
            Some(tensor(dx, x.shape(), x)?),
            Some(tensor(total(0), weight.shape(), x)?),
            Some(tensor(total(1), weight.shape(), x)?),
        ))
    }
}

wide! {
    fn channel_sums(x: &[f32], sums: &mut [f64]) {
        for row in x.chunks_exact(sums.len()) {
            for (sum, &x) in sums.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
    }

    fn square_sums(x: &[f32], mean: &[f32], sums: &mut [f64]) {
        for row in x.chunks_exact(sums.len()) {
            for ((sum, &x), &mean) in sums.iter_mut().zip(row).zip(mean) {
                let centred = f64::from(x - mean);
                *sum += centred * centred;
            }
        }
    }

    fn normalise(image: &mut [f32], channels: [&[f32]; 4]) {
        let [mean, inverse, weight, bias] = channels;
        for row in image.chunks_exact_mut(mean.len()) {
            for (i, x) in row.iter_mut().enumerate() {
                *x = (*x - mean[i]) * inverse[i] * weight[i] + bias[i];
            }
        }
    }

    /// Adds the sums over positions of the gradient times the normal value, and of the gradient.
    fn gradient_sums(values: [&[f32]; 2], channels: [&[f32]; 2], sums: [&mut [f64]; 2]) {
        let ([x, grad], [mean, inverse], [along, sums]) = (values, channels, sums);
        let width = mean.len();
        for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
            for i in 0..width {
                along[i] += f64::from(grad[i] * ((x[i] - mean[i]) * inverse[i]));
                sums[i] += f64::from(grad[i]);
            }
        }
    }

    fn input_gradient(values: [&[f32]; 2], channels: [&[f32]; 5], dx: &mut [f32]) {
        let ([x, grad], [mean, inverse, weight, slope, shift]) = (values, channels);
        let width = mean.len();
        let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
        for ((x, grad), dx) in rows.zip(dx.chunks_exact_mut(width)) {
            for i in 0..width {
                let normal = (x[i] - mean[i]) * inverse[i];
                dx[i] = inverse[i] * (grad[i] * weight[i] - shift[i] - normal * slope[i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        for (shape, groups) in [((2, 5, 12), 3), ((3, 7, 6), 6), ((1, 4, 5), 1)] {
            let x = (random("x", shape)? + 0.5)?;
            let inputs = [x, random("w", shape.2)?, random("b", shape.2)?];
            check(|t| group_norm(&t[0], &t[1], &t[2], groups, 1e-3), &inputs, 1e-5)?;
        }
        Ok(())
    }
}
