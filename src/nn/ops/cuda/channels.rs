//! Channels of images with given statistics: what comes behind a convolution.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig};
use candle_core::{CudaStorage, DType, Layout, Result, Tensor, WithDType, bail};
use half::bf16;

use super::channels_last;
use super::launch::{Operand, THREADS, blocks, launch, made, over, room, size, view, views};
use crate::nn::ops::channels_last::{from_pixels, pixels};
use crate::nn::ops::moments::Sizes;

impl Sizes {
    pub fn planes(self) -> usize {
        self.images * self.channels
    }

    pub fn elements(self) -> usize {
        self.planes() * self.plane
    }

    /// Every element, plane by plane; large ones are shared by several blocks, so that few of them fill a card, too.
    pub fn each(self) -> Result<LaunchConfig> {
        let parts = size(self.plane)?.div_ceil(32 * THREADS).clamp(1, 1 << 15);
        let mut config = blocks(self.planes())?;
        config.grid_dim.1 = parts;
        Ok(config)
    }

    /// That each of these is `[channels]`.
    pub fn demand<const N: usize>(self, parameters: [&Layout; N]) -> Result<()> {
        match parameters.iter().find(|layout| layout.dims() != [self.channels]) {
            Some(other) => bail!("expected {} channels, found {:?}", self.channels, other.shape()),
            None => Ok(()),
        }
    }
}

/// Whether [`scale_shift`] does for `x` and two tensors of its channels: it has no gradient.
pub fn scales_and_shifts(all: [&Tensor; 3]) -> bool {
    are_for_kernels(all) && !all.iter().any(|tensor| tensor.track_op())
}

/// Whether kernels take `x` and two tensors of its channels.
pub fn are_for_kernels([x, weight, bias]: [&Tensor; 3]) -> bool {
    let on_cuda = [x, weight, bias].iter().all(|tensor| tensor.device().is_cuda());
    let of_channels = [weight, bias].iter().all(|tensor| tensor.dtype() == DType::F32);
    on_cuda && of_channels && matches!(x.dtype(), DType::F32 | DType::BF16)
}

/// `leaky(scale x + shift) + residual` with `scale` and `shift` `[c]` in f32 for `x` `[n, c, ...]` in f32 or bf16, of
/// which type residual and result are, too; computed in f32, without gradient. Where channels lie last they do so in
/// the result.
pub fn scale_shift([x, scale, shift]: [&Tensor; 3], residual: Option<&Tensor>, slope: f32) -> Result<Tensor> {
    if let Some(pixels) = pixels(x) {
        let residual = residual.map(|residual| residual.permute((0, 2, 3, 1))).transpose()?;
        return from_pixels(&channels_last::scale_shift([&pixels, scale, shift], residual.as_ref(), slope)?);
    }
    let added = demand_like(x, residual)?;
    made([x, scale, shift, residual.unwrap_or(x)], x.shape(), |all| match x.dtype() {
        DType::F32 => scaled_shifted::<f32>("scale_shift_f32", all, added, slope),
        DType::BF16 => scaled_shifted::<bf16>("scale_shift_bf16", all, added, slope),
        other => bail!("no kernel for {other:?}"),
    })
}

/// That a residual is like x; whether there is one.
pub fn demand_like(x: &Tensor, residual: Option<&Tensor>) -> Result<u32> {
    match residual {
        Some(other) if other.dims() != x.dims() || other.dtype() != x.dtype() => {
            bail!("a residual {:?} for {:?}", other, x)
        }
        residual => Ok(u32::from(residual.is_some())),
    }
}

fn scaled_shifted<T: WithDType + CudaDType + DeviceRepr>(
    name: &str,
    [x, scale, shift, residual]: [Operand; 4],
    added: u32,
    slope: f32,
) -> Result<CudaStorage> {
    let (device, sizes) = (x.0.device(), Sizes::of(x.1.shape())?);
    sizes.demand([scale.1, shift.1])?;
    let (plane, channels) = (size(sizes.plane)?, size(sizes.channels)?);
    let (x, residual) = (view::<T>(x)?, view::<T>(residual)?);
    let (scale, shift) = (view::<f32>(scale)?, view::<f32>(shift)?);
    // SAFETY: the kernel writes all of it.
    let mut y = unsafe { room::<T>(device, sizes.elements()) }?;
    // SAFETY: residual and y are as large as x, and scale and shift have its channels.
    unsafe {
        launch!(
            device,
            name,
            sizes.each()?,
            &plane,
            &channels,
            &slope,
            &added,
            &x,
            &scale,
            &shift,
            &residual,
            &mut y,
        )
    };
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// The scale and the shift, `[c]` each, that batch norm with given statistics comes down to.
pub fn folded(all: [&Tensor; 4], eps: f64) -> Result<[Tensor; 2]> {
    let n = all[0].elem_count();
    let (channels, eps) = (size(n)?, eps as f32);
    if all.iter().any(|tensor| tensor.dims() != [n]) {
        bail!("batch norm: {all:?}")
    }
    let folded = made(all, (2, n), |all| {
        let device = all[0].0.device();
        let [weight, bias, mean, variance] = views(all)?;
        // SAFETY: the kernel writes all of it.
        let mut folded = unsafe { room::<f32>(device, 2 * n) }?;
        // SAFETY: all are of n channels.
        unsafe {
            launch!(device, "fold", over(n), &channels, &eps, &weight, &bias, &mean, &variance, &mut folded)
        };
        Ok(CudaStorage::wrap_cuda_slice(folded, device.clone()))
    })?;
    Ok([folded.get(0)?, folded.get(1)?])
}
