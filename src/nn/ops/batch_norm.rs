//! Batch normalisation together with the leaky ReLU that follows it.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::activation::leaky_relu;
use super::moments::{BLOCK, Moments, Sizes, joined, summed};
use super::simd::{sum2, wide};
use super::storage::{is_f32_on_cpu, read, slice, tensor};
use crate::parallel::world;

/// How [`batch_norm_train`] normalises.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub eps: f64,
    /// Of the leaky ReLU for negative values; none without.
    pub slope: Option<f64>,
    /// Whether the batch is that of all processes together ([`crate::parallel`]).
    pub joint: bool,
}

/// What [`batch_norm_train`] gives.
pub struct BatchNormed {
    /// The shape of the input.
    pub output: Tensor,
    /// `[c]`, without gradient.
    pub mean: Tensor,
    /// `[c]`, unbiased, without gradient.
    pub variance: Tensor,
}

/// Normalises `x` `[n, c, ...]` with the statistics of this batch, multiplies by `weight` `[c]`, adds
/// `bias` `[c]` and, with a slope, applies a leaky ReLU. The caller keeps the running statistics with
/// [`Running::keep`](super::Running::keep) (quirk 2: every batch norm does so in training, frozen ones too). A residual
/// as large as `x` is added in the end.
pub fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    rule: Rule,
    residual: Option<&Tensor>,
) -> Result<BatchNormed> {
    let Rule { eps, slope, joint } = rule;
    let sizes = Sizes::of(x.shape())?;
    let count = sizes.images * sizes.plane;
    if count < 2 {
        bail!("batch norm needs more than one value per channel to train, found {:?}", x.shape())
    }
    if !(is_f32_on_cpu(x) && is_f32_on_cpu(weight) && is_f32_on_cpu(bias)) {
        if joint && !world().is_alone() {
            bail!("joint batch statistics of several processes are there for f32 on the CPU only")
        }
        let unbiased = count as f64 / (count as f64 - 1.0);
        #[cfg(feature = "cuda")]
        if super::cuda::normalises([x, weight, bias]) {
            return super::cuda::batch_norm([x, weight, bias], residual, eps, slope.unwrap_or(1.0) as f32);
        }
        let flat = x.reshape((sizes.images, sizes.channels, sizes.plane))?;
        // First along the planes, of which there are many: CUDA sums each with one block.
        let mean = flat.mean_keepdim(2)?.mean_keepdim(0)?;
        let centred = flat.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(2)?.mean_keepdim(0)?;
        let scale = (&variance + eps)?.sqrt()?.recip()?;
        let column = (1, sizes.channels, 1);
        let output = centred
            .broadcast_mul(&scale)?
            .broadcast_mul(&weight.reshape(column)?)?
            .broadcast_add(&bias.reshape(column)?)?
            .reshape(x.shape())?;
        let output = slope.map_or_else(|| Ok(output.clone()), |slope| leaky_relu(&output, slope))?;
        let output = onto(residual, output)?;
        let mean = mean.flatten_all()?.detach();
        let variance = (variance.flatten_all()? * unbiased)?.detach();
        return Ok(BatchNormed { output, mean, variance });
    }
    let x = x.contiguous()?;
    let mut moments = read([&x], |[x]| sizes.moments(x))?;
    if joint {
        moments = joined(&moments);
    }
    let count = moments[0].count;
    let unbiased = count / (count - 1.0);
    let f32s = |f: &dyn Fn(&Moments) -> f64| moments.iter().map(|m| f(m) as f32).collect::<Vec<f32>>();
    let mean = tensor(f32s(&|m| m.mean), sizes.channels, &x)?;
    let variance = tensor(f32s(&|m| m.variance() * unbiased), sizes.channels, &x)?;
    let batch = moments.iter().map(|m| (m.mean, (m.variance() + eps).sqrt().recip())).collect();
    let op = Normalise { batch, count, joint, slope: slope.unwrap_or(1.0) as f32 };
    let output = onto(residual, x.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?)?;
    Ok(BatchNormed { output, mean, variance })
}

/// `leaky(scale x + shift) + residual` with `scale` and `shift` `[c]` for `x` `[n, c, ...]`.
pub fn scale_shift(
    x: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    slope: Option<f64>,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    if !(is_f32_on_cpu(x) && is_f32_on_cpu(scale) && is_f32_on_cpu(shift)) {
        #[cfg(feature = "cuda")]
        if super::cuda::scales_and_shifts([x, scale, shift]) && !residual.is_some_and(Tensor::track_op) {
            return super::cuda::scale_shift([x, scale, shift], residual, slope.unwrap_or(1.0) as f32);
        }
        let mut column = vec![1; x.rank()];
        column[1] = x.dim(1)?;
        let y = x.broadcast_mul(&scale.reshape(&column[..])?)?.broadcast_add(&shift.reshape(&column[..])?)?;
        return onto(residual, slope.map_or_else(|| Ok(y.clone()), |slope| leaky_relu(&y, slope))?);
    }
    let op = Normalise { batch: Vec::new(), count: 0.0, joint: false, slope: slope.unwrap_or(1.0) as f32 };
    onto(residual, x.contiguous()?.apply_op3(&scale.contiguous()?, &shift.contiguous()?, op)?)
}

fn onto(residual: Option<&Tensor>, y: Tensor) -> Result<Tensor> {
    match residual {
        Some(residual) => residual + y,
        None => Ok(y),
    }
}

/// `leaky(scale x + shift)`, where scale and shift are the weight and the bias, or normalise first
/// with the mean and the inverse standard deviation of the batch.
struct Normalise {
    /// Of every channel; empty for given statistics.
    batch: Vec<(f64, f64)>,
    /// Values of a channel that the statistics are of.
    count: f64,
    /// Whether they are of all processes.
    joint: bool,
    /// 1: no activation.
    slope: f32,
}

/// What happens to the values of one channel: `leaky(scale x + shift)`.
#[derive(Clone, Copy)]
pub(super) struct Channel {
    pub scale: f32,
    pub shift: f32,
    /// 1: no activation.
    pub slope: f32,
}

impl Channel {
    #[inline(always)]
    pub fn output(self, x: f32) -> f32 {
        let z = self.scale * x + self.shift;
        if z > 0.0 { z } else { self.slope * z }
    }

    /// The gradient before the activation.
    #[inline(always)]
    fn gradient(self, x: f32, grad: f32) -> f32 {
        if self.scale * x + self.shift > 0.0 { grad } else { self.slope * grad }
    }
}

impl Normalise {
    fn channel(&self, index: usize, weight: f32, bias: f32) -> Channel {
        let slope = self.slope;
        match self.batch.get(index) {
            Some((mean, inverse)) => {
                let scale = f64::from(weight) * inverse;
                Channel { scale: scale as f32, shift: (f64::from(bias) - mean * scale) as f32, slope }
            }
            None => Channel { scale: weight, shift: bias, slope },
        }
    }

    fn channels(&self, weight: &[f32], bias: &[f32]) -> Vec<Channel> {
        weight.iter().zip(bias).enumerate().map(|(i, (&w, &b))| self.channel(i, w, b)).collect()
    }

    /// Gradients of x, the weight and the bias.
    fn backward(&self, sizes: Sizes, [x, weight, bias, grad]: [&[f32]; 4], needs_x: bool) -> [Vec<f32>; 3] {
        let channels = self.channels(weight, bias);
        let batch = |c: usize| self.batch.get(c).copied().unwrap_or((0.0, 1.0));
        let sums = sizes.per_plane(x, |plane, c, xs| {
            let gs = &grad[plane * sizes.plane..(plane + 1) * sizes.plane];
            let mean = batch(c).0 as f32;
            xs.chunks(BLOCK).zip(gs.chunks(BLOCK)).fold((0.0, 0.0), |(g, gx), (xs, gs)| {
                let (block_g, block_gx) = gradient_sums(xs, gs, channels[c], mean);
                (g + f64::from(block_g), gx + f64::from(block_gx))
            })
        });
        let mut totals = vec![(0.0, 0.0); sizes.channels];
        for (plane, (g, gx)) in sums.into_iter().enumerate() {
            let total = &mut totals[plane % sizes.channels];
            *total = (total.0 + g, total.1 + gx);
        }
        // The other processes' losses reach x too; the parameters' gradients are summed by the trainer.
        let all = if self.joint { summed(&totals) } else { totals.clone() };
        // Through the mean and the deviation of the batch every value depends on every other.
        let lines: Vec<[f32; 2]> = (0..sizes.channels)
            .map(|c| match self.batch.get(c) {
                Some((mean, inverse)) => {
                    let scale = f64::from(weight[c]) * inverse;
                    let slope = -scale * inverse * inverse * all[c].1 / self.count;
                    [slope as f32, (-scale * all[c].0 / self.count - slope * mean) as f32]
                }
                None => [0.0, 0.0],
            })
            .collect();
        let mut dx = vec![0f32; if needs_x { x.len() } else { 0 }];
        sizes.fill(&mut dx, |plane, c, to| {
            let range = plane * sizes.plane..(plane + 1) * sizes.plane;
            input_gradient(&x[range.clone()], &grad[range], to, channels[c], lines[c]);
        });
        let d_weight = (0..sizes.channels).map(|c| (totals[c].1 * batch(c).1) as f32).collect();
        [dx, d_weight, totals.iter().map(|t| t.0 as f32).collect()]
    }
}

impl CustomOp3 for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
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
        let sizes = Sizes::of(x_layout.shape())?;
        let (x, weight, bias) =
            (slice(x, x_layout)?, slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        if weight.len() != sizes.channels || bias.len() != sizes.channels {
            bail!("{} weights and {} biases for {:?}", weight.len(), bias.len(), x_layout.shape())
        }
        let channels = self.channels(weight, bias);
        let mut out = vec![0f32; x.len()];
        sizes.fill(&mut out, |plane, c, to| {
            activate(&x[plane * sizes.plane..(plane + 1) * sizes.plane], to, channels[c]);
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::of(x.shape())?;
        let needs_x = x.track_op();
        let [dx, dw, db] = read([x, weight, bias, grad], |slices| self.backward(sizes, slices, needs_x))?;
        let dx = if needs_x { Some(tensor(dx, x.shape(), x)?) } else { None };
        Ok((dx, Some(tensor(dw, weight.shape(), x)?), Some(tensor(db, bias.shape(), x)?)))
    }
}

wide! {
    fn activate(x: &[f32], out: &mut [f32], channel: Channel) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = channel.output(x);
        }
    }

    pub(super) fn activate_in_place(x: &mut [f32], channel: Channel) {
        for x in x {
            *x = channel.output(*x);
        }
    }

    fn gradient_sums(x: &[f32], grad: &[f32], channel: Channel, mean: f32) -> (f32, f32) {
        let g = sum2(x, grad, #[inline(always)] |x, g| channel.gradient(x, g));
        (g, sum2(x, grad, #[inline(always)] |x, g| channel.gradient(x, g) * (x - mean)))
    }

    fn input_gradient(x: &[f32], grad: &[f32], out: &mut [f32], channel: Channel, line: [f32; 2]) {
        for ((out, &x), &grad) in out.iter_mut().zip(x).zip(grad) {
            *out = channel.scale * channel.gradient(x, grad) + (line[0] * x + line[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::running::folded;
    use super::super::testing::{assert_close, check, golden, random, values};
    use super::*;

    const SHAPES: [&[usize]; 4] = [&[3, 2, 4, 5], &[2, 3, 1, 1], &[5, 4], &[2, 1, 67, 3]];

    #[test]
    fn training_values_and_gradients() -> Result<()> {
        for shape in SHAPES {
            for slope in [None, Some(0.1)] {
                let inputs = [random("x", shape)?, random("w", shape[1])?, random("b", shape[1])?];
                let norm = |t: &[Tensor]| {
                    Ok(batch_norm_train(&t[0], &t[1], &t[2], Rule { eps: 1e-2, slope, joint: false }, None)?
                        .output)
                };
                check(norm, &inputs, 2e-5)?;
            }
        }
        Ok(())
    }

    #[test]
    fn evaluation_values_and_gradients() -> Result<()> {
        for shape in SHAPES {
            let c = shape[1];
            let inputs = [random("x", shape)?, random("w", c)?, random("b", c)?];
            let (mean, variance) = (random("mean", c)?, (random("var", c)?.sqr()? + 0.1)?);
            let norm = |t: &[Tensor]| {
                let as_x = |s: &Tensor| s.to_dtype(t[0].dtype());
                let [scale, shift] = folded(&t[1], &t[2], (&as_x(&mean)?, &as_x(&variance)?), 1e-5)?;
                scale_shift(&t[0], &scale, &shift, Some(0.1), None)
            };
            check(norm, &inputs, 1e-5)?;
        }
        Ok(())
    }

    /// Far from zero, in several blocks: the variance must not cancel.
    #[test]
    fn statistics_of_large_offsets() -> Result<()> {
        let x = (random("x", (3, 2, 100, 101))? + 1000.0)?;
        let (one, zero) =
            (Tensor::ones(2, DType::F32, &Device::Cpu)?, Tensor::zeros(2, DType::F32, &Device::Cpu)?);
        let f32s = batch_norm_train(&x, &one, &zero, Rule { eps: 1e-5, slope: None, joint: false }, None)?;
        let [x, one, zero] = [&x, &one, &zero].map(|t| t.to_dtype(DType::F64));
        let f64s = batch_norm_train(&x?, &one?, &zero?, Rule { eps: 1e-5, slope: None, joint: false }, None)?;
        assert_close(&f32s.mean, &values(&f64s.mean), 1e-7);
        assert_close(&f32s.variance, &values(&f64s.variance), 1e-6);
        Ok(())
    }

    #[test]
    fn equals_the_reference() -> Result<()> {
        let golden = golden()?;
        let (one, zero) =
            (Tensor::ones(2, DType::F32, &Device::Cpu)?, Tensor::zeros(2, DType::F32, &Device::Cpu)?);
        let normed = batch_norm_train(
            &golden["bn.x"],
            &one,
            &zero,
            Rule { eps: 1e-5, slope: None, joint: false },
            None,
        )?;
        assert_close(&normed.output, &values(&golden["bn.y"]), 1e-6);
        Ok(())
    }

    #[test]
    fn one_value_per_channel_is_refused() {
        let x = random("x", (1, 3, 1, 1)).unwrap();
        let c = random("c", 3).unwrap();
        let error = batch_norm_train(&x, &c, &c, Rule { eps: 1e-5, slope: None, joint: false }, None)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("more than one value per channel"), "{error}");
    }
}
