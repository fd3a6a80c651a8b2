//! Batch normalisation with the statistics of the batch, and its gradient.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, WithDType, bail,
};
use half::bf16;

use super::channels::{are_for_kernels, demand_like};
use super::channels_last;
use super::launch::{Operand, blocks, demand, launch, made, on_cuda, over, room, size, view, views};
use crate::nn::ops::BatchNormed;
use crate::nn::ops::channels_last::{from_pixels, pixels};
use crate::nn::ops::moments::Sizes;

/// Whether [`batch_norm`] does for `x`, the weight and the bias: in bf16 it has no gradient.
pub fn normalises(all: [&Tensor; 3]) -> bool {
    are_for_kernels(all) && (all[0].dtype() == DType::F32 || !all.iter().any(|tensor| tensor.track_op()))
}

/// Of the channels of `x` `[n, c, ...]` in f32 or bf16 the means, the unbiased variances and
/// `1 / sqrt(biased variance + eps)`: `[3, c]` in f32, without gradient.
fn statistics(x: &Tensor, eps: f64) -> Result<Tensor> {
    let sizes = Sizes::of(x.shape())?;
    let moments = made([x], (sizes.planes(), 2), |[x]| match x.0.dtype() {
        DType::F32 => plane_moments::<f32>("plane_moments_f32", x, sizes),
        DType::BF16 => plane_moments::<bf16>("plane_moments_bf16", x, sizes),
        other => bail!("no kernel for {other:?}"),
    })?;
    let [images, channels, plane] = [sizes.images, sizes.channels, sizes.plane].map(size);
    let (images, channels, plane, eps) = (images?, channels?, plane?, eps as f32);
    made([&moments], (3, sizes.channels), |[moments]| {
        let device = moments.0.device();
        let moments = view::<f32>(moments)?;
        // SAFETY: the kernel writes all of it.
        let mut joined = unsafe { room::<f32>(device, 3 * sizes.channels) }?;
        let config = over(sizes.channels);
        // SAFETY: there are two moments of each plane, and room for three numbers of each channel.
        unsafe {
            launch!(device, "join_moments", config, &images, &channels, &plane, &eps, &moments, &mut joined)
        };
        Ok(CudaStorage::wrap_cuda_slice(joined, device.clone()))
    })
}

fn plane_moments<T: WithDType + CudaDType + DeviceRepr>(
    name: &str,
    x: Operand,
    sizes: Sizes,
) -> Result<CudaStorage> {
    let (device, plane, x) = (x.0.device(), size(sizes.plane)?, view::<T>(x)?);
    // SAFETY: the kernel writes all of it.
    let mut moments = unsafe { room::<f32>(device, 2 * sizes.planes()) }?;
    // SAFETY: x has as many planes as there are blocks.
    unsafe { launch!(device, name, blocks(sizes.planes())?, &plane, &x, &mut moments) };
    Ok(CudaStorage::wrap_cuda_slice(moments, device.clone()))
}

/// As [`crate::nn::ops::batch_norm_train`], with the statistics of this process; 1 is no activation. Where channels lie
/// last and there are no gradients they do so in the result.
pub fn batch_norm(
    [x, weight, bias]: [&Tensor; 3],
    residual: Option<&Tensor>,
    eps: f64,
    slope: f32,
) -> Result<BatchNormed> {
    demand_like(x, residual)?;
    let tracked = [x, weight, bias].into_iter().chain(residual).any(|tensor| tensor.track_op());
    if let Some(pixels) = pixels(x).filter(|_| !tracked) {
        let residual = residual.map(|residual| residual.permute((0, 2, 3, 1))).transpose()?;
        let mut normed = channels_last::batch_norm([&pixels, weight, bias], residual.as_ref(), eps, slope)?;
        normed.output = from_pixels(&normed.output)?;
        return Ok(normed);
    }
    let statistics = statistics(x, eps)?;
    let (mean, variance) = (statistics.get(0)?, statistics.get(1)?);
    // In the graph it is a sum of its own.
    let added = residual.filter(|_| !tracked);
    let residual_inside = added.map(|residual| residual.contiguous()).transpose()?;
    let op = Normalise { statistics, slope, residual: residual_inside };
    let mut output = x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?;
    if let (Some(residual), None) = (residual, added) {
        output = (residual + output)?;
    }
    Ok(BatchNormed { output, mean, variance })
}

/// `x` `[n, c, ...]`, normalised, times the weight, plus the bias, with a leaky ReLU, and a residual on top.
struct Normalise {
    statistics: Tensor,
    slope: f32,
    residual: Option<Tensor>,
}

impl Normalise {
    fn run<T: WithDType + CudaDType + DeviceRepr>(
        &self,
        name: &str,
        [x, weight, bias]: [Operand; 3],
    ) -> Result<CudaStorage> {
        let (device, sizes) = (x.0.device(), Sizes::of(x.1.shape())?);
        sizes.demand([weight.1, bias.1])?;
        let (plane, channels, added) =
            (size(sizes.plane)?, size(sizes.channels)?, u32::from(self.residual.is_some()));
        let (statistics, statistics_layout) = self.statistics.storage_and_layout();
        let statistics = view::<f32>((on_cuda(&statistics)?, statistics_layout))?;
        let residual = self.residual.as_ref().map(Tensor::storage_and_layout);
        let residual = match &residual {
            Some((storage, layout)) => view::<T>((on_cuda(storage)?, layout))?,
            None => view::<T>(x)?,
        };
        let (x, weight, bias) = (view::<T>(x)?, view::<f32>(weight)?, view::<f32>(bias)?);
        // SAFETY: the kernel writes all of it.
        let mut y = unsafe { room::<T>(device, sizes.elements()) }?;
        let config = sizes.each()?;
        // SAFETY: residual and y are as large as x, and the statistics and parameters are of its channels.
        unsafe {
            launch!(
                device,
                name,
                config,
                &plane,
                &channels,
                &self.slope,
                &added,
                &x,
                &weight,
                &bias,
                &statistics,
                &residual,
                &mut y,
            )
        };
        Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
    }
}

impl CustomOp3 for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("statistics on CUDA for tensors on the CPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let all = [(x, x_layout), (weight, weight_layout), (bias, bias_layout)];
        let y = match x.dtype() {
            DType::F32 => self.run::<f32>("normalise_f32", all)?,
            DType::BF16 => self.run::<bf16>("normalise_bf16", all)?,
            other => bail!("no kernel for {other:?}"),
        };
        Ok((y, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] = gradients([x, weight, bias], &self.statistics, grad, self.slope)?;
        Ok((dx, dw, db))
    }
}

/// The gradients of x, the weight and the bias, of those that are tracked, in f32.
fn gradients(
    [x, weight, bias]: [&Tensor; 3],
    statistics: &Tensor,
    grad: &Tensor,
    slope: f32,
) -> Result<[Option<Tensor>; 3]> {
    let sizes = Sizes::of(x.shape())?;
    let (images, channels, plane) = (size(sizes.images)?, size(sizes.channels)?, size(sizes.plane)?);
    demand(sizes.elements(), grad.elem_count())?;
    let sums = made([x, weight, bias, statistics, grad], (sizes.planes(), 2), |all| {
        let device = all[0].0.device();
        let [x, weight, bias, statistics, grad] = views(all)?;
        // SAFETY: the kernel writes all of it.
        let mut sums = unsafe { room::<f32>(device, 2 * sizes.planes()) }?;
        let config = blocks(sizes.planes())?;
        // SAFETY: a block for each plane, and the rest is of its channels.
        unsafe {
            launch!(
                device,
                "normalise_sums",
                config,
                &plane,
                &channels,
                &slope,
                &x,
                &weight,
                &bias,
                &statistics,
                &grad,
                &mut sums,
            )
        };
        Ok(CudaStorage::wrap_cuda_slice(sums, device.clone()))
    })?;
    let lines = made([weight, statistics, &sums], (4, sizes.channels), |all| {
        let device = all[0].0.device();
        let [weight, statistics, sums] = views(all)?;
        // SAFETY: the kernel writes all of it.
        let mut lines = unsafe { room::<f32>(device, 4 * sizes.channels) }?;
        let config = over(sizes.channels);
        // SAFETY: there are two sums of each plane, and room for four numbers of each channel.
        unsafe {
            launch!(
                device,
                "normalise_lines",
                config,
                &images,
                &channels,
                &plane,
                &weight,
                &statistics,
                &sums,
                &mut lines,
            )
        };
        Ok(CudaStorage::wrap_cuda_slice(lines, device.clone()))
    })?;
    let dx = || {
        made([x, weight, bias, statistics, &lines, grad], x.shape(), |all| {
            let device = all[0].0.device();
            let [x, weight, bias, statistics, lines, grad] = views(all)?;
            // SAFETY: the kernel writes all of it.
            let mut dx = unsafe { room::<f32>(device, sizes.elements()) }?;
            let config = sizes.each()?;
            // SAFETY: x, its gradient and the result are as large, and the rest is of its channels.
            unsafe {
                launch!(
                    device,
                    "normalise_gradient",
                    config,
                    &plane,
                    &channels,
                    &slope,
                    &x,
                    &weight,
                    &bias,
                    &statistics,
                    &lines,
                    &grad,
                    &mut dx,
                )
            };
            Ok(CudaStorage::wrap_cuda_slice(dx, device.clone()))
        })
    };
    Ok([
        x.track_op().then(dx).transpose()?,
        weight.track_op().then(|| lines.get(0)).transpose()?,
        bias.track_op().then(|| lines.get(1)).transpose()?,
    ])
}
