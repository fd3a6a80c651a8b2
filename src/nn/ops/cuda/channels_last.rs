//! Images whose channels lie last, `[n, h, w, c]`, in f32 or bf16: what comes behind a convolution and between them.
//! Nothing here has a gradient.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig};
use candle_core::{CudaStorage, DType, Layout, Result, Shape, Tensor, WithDType, bail};
use half::bf16;

use super::channels::demand_like;
use super::launch::{Operand, blocks, demand, launch, made, over, room, size, view, views, warps};
use crate::nn::ops::BatchNormed;

/// Channels that a thread takes at once, where their number and their place in memory allow it.
const AT_ONCE: usize = 4;
/// Channels of a block of `moments_last` are these times those at once.
const LANES: usize = 32;
/// Parts of the rows whose moments are joined, at most.
const MOST_PARTS: usize = 4096;
const FEWEST_ROWS: usize = 64;

/// Numbers of images, by the name they have in kernels.
trait Element: WithDType + CudaDType + DeviceRepr {
    const NAME: &'static str;
}

impl Element for f32 {
    const NAME: &'static str = "f32";
}

impl Element for bf16 {
    const NAME: &'static str = "bf16";
}

/// Calls a function that is generic in the type of an image's numbers.
macro_rules! by_type {
    ($dtype:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $dtype {
            DType::F32 => $function::<f32>($($argument),*),
            DType::BF16 => $function::<bf16>($($argument),*),
            other => bail!("no kernel for {other:?}"),
        }
    };
}

/// The channels of images, which are the last of their dimensions.
fn channels_of(layout: &Layout) -> Result<usize> {
    match layout.dims() {
        &[.., channels] if channels > 0 => Ok(channels),
        _ => bail!("expected [n, h, w, c], found {:?}", layout.shape()),
    }
}

/// The kernel for such a number of channels in tensors that begin at their offsets.
fn kernel<T: Element>(name: &str, channels: usize, layouts: &[&Layout]) -> (String, usize) {
    let in_place = |layout: &&Layout| layout.start_offset().is_multiple_of(AT_ONCE);
    match channels.is_multiple_of(AT_ONCE) && layouts.iter().all(in_place) {
        true => (format!("{name}_by_{AT_ONCE}_{}", T::NAME), AT_ONCE),
        false => (format!("{name}_{}", T::NAME), 1),
    }
}

/// `leaky(scale x + shift) + residual` with `scale` and `shift` `[c]` in f32, in the type of `x`.
pub fn scale_shift([x, scale, shift]: [&Tensor; 3], residual: Option<&Tensor>, slope: f32) -> Result<Tensor> {
    let added = demand_like(x, residual)?;
    made([x, scale, shift, residual.unwrap_or(x)], x.shape(), |all| {
        by_type!(x.dtype(), scaled_shifted(all, added, slope))
    })
}

fn scaled_shifted<T: Element>(all: [Operand; 4], added: u32, slope: f32) -> Result<CudaStorage> {
    let ([x, scale, shift, residual], device) = (all, all[0].0.device());
    let (channels, n) = (channels_of(x.1)?, x.1.shape().elem_count());
    demand(channels, scale.1.shape().elem_count())?;
    demand(channels, shift.1.shape().elem_count())?;
    let (name, at_once) = kernel::<T>("scale_shift_last", channels, &all.map(|operand| operand.1));
    let (count, channels) = (n as u64, size(channels)?);
    let (x, residual) = (view::<T>(x)?, view::<T>(residual)?);
    let (scale, shift) = (view::<f32>(scale)?, view::<f32>(shift)?);
    // SAFETY: the kernel writes all of it.
    let mut y = unsafe { room::<T>(device, n) }?;
    let config = over(n / at_once);
    // SAFETY: residual and y are as large as x, and scale and shift have its channels.
    unsafe {
        launch!(
            device, &name, config, &count, &channels, &slope, &added, &x, &scale, &shift, &residual, &mut y
        )
    };
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// As [`crate::nn::ops::batch_norm_train`], with the statistics of this process.
pub fn batch_norm(
    [x, weight, bias]: [&Tensor; 3],
    residual: Option<&Tensor>,
    eps: f64,
    slope: f32,
) -> Result<BatchNormed> {
    let channels = channels_of(x.layout())?;
    let rows = x.elem_count() / channels;
    let part = rows.div_ceil(MOST_PARTS).max(FEWEST_ROWS);
    let parts = rows.div_ceil(part);
    let moments =
        made([x], (parts, channels, 2), |[x]| by_type!(x.0.dtype(), moments(x, rows, channels, part)))?;
    let joined = made([&moments, weight, bias], (4, channels), |all| {
        let device = all[0].0.device();
        let [moments, weight, bias] = views(all)?;
        demand(channels, weight.len())?;
        demand(channels, bias.len())?;
        let [of_rows, of_channels, of_part] = [rows, channels, part].map(size);
        let (of_rows, of_channels, of_part, eps) = (of_rows?, of_channels?, of_part?, eps as f32);
        // SAFETY: the kernel writes all of it.
        let mut joined = unsafe { room::<f32>(device, 4 * channels) }?;
        let config = warps(channels)?;
        // SAFETY: there are two moments of each channel of each part, and a weight and a bias of each channel.
        unsafe {
            launch!(
                device,
                "join_last",
                config,
                &of_rows,
                &of_channels,
                &of_part,
                &eps,
                &moments,
                &weight,
                &bias,
                &mut joined
            )
        };
        Ok(CudaStorage::wrap_cuda_slice(joined, device.clone()))
    })?;
    let [mean, variance, scale, shift] = [0, 1, 2, 3].map(|row| joined.get(row));
    let output = scale_shift([x, &scale?, &shift?], residual, slope)?;
    Ok(BatchNormed { output, mean: mean?, variance: variance? })
}

fn moments<T: Element>(x: Operand, rows: usize, channels: usize, part: usize) -> Result<CudaStorage> {
    let (device, parts) = (x.0.device(), rows.div_ceil(part));
    let (name, at_once) = kernel::<T>("moments_last", channels, &[x.1]);
    let [of_rows, of_channels, of_part] = [rows, channels, part].map(size);
    let (of_rows, of_channels, of_part, x) = (of_rows?, of_channels?, of_part?, view::<T>(x)?);
    demand(rows * channels, x.len())?;
    // SAFETY: the kernel writes all of it.
    let mut moments = unsafe { room::<f32>(device, 2 * parts * channels) }?;
    let config =
        LaunchConfig { grid_dim: (size(channels.div_ceil(LANES * at_once))?, size(parts)?, 1), ..over(1) };
    // SAFETY: x has so many rows of channels, and there is room for two moments of each channel of each part.
    unsafe { launch!(device, &name, config, &of_rows, &of_channels, &of_part, &x, &mut moments) };
    Ok(CudaStorage::wrap_cuda_slice(moments, device.clone()))
}

/// Means of squares of `side` x `side` pixels: `[n, h, w, c]` -> `[n, h / side, w / side, c]`.
pub fn average_pool(x: &Tensor, side: usize) -> Result<Tensor> {
    let (n, height, width, channels) = x.dims4()?;
    if side == 0 || !height.is_multiple_of(side) || !width.is_multiple_of(side) {
        bail!("maps of {height} x {width} in squares of {side} x {side}")
    }
    let shape = Shape::from((n, height / side, width / side, channels));
    let elements = shape.elem_count();
    made([x], shape, |[x]| by_type!(x.0.dtype(), pooled(x, [side, width, channels], elements)))
}

fn pooled<T: Element>(
    x: Operand,
    [side, width, channels]: [usize; 3],
    elements: usize,
) -> Result<CudaStorage> {
    let (device, x) = (x.0.device(), view::<T>(x)?);
    let (count, side, width, channels) = (elements as u64, size(side)?, size(width)?, size(channels)?);
    let name = format!("pool_last_{}", T::NAME);
    // SAFETY: the kernel writes all of it.
    let mut y = unsafe { room::<T>(device, elements) }?;
    // SAFETY: height and width are multiples of the side, and y has an element for each square.
    unsafe { launch!(device, &name, over(elements), &count, &side, &width, &channels, &x, &mut y) };
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// `[b, m, n]` -> `[b, n, m]`, in f32 or bf16, rounded to the nearest.
pub fn turned(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let (b, m, n) = x.dims3()?;
    if m == 1 || n == 1 {
        return x.to_dtype(dtype)?.reshape((b, n, m));
    }
    made([x], (b, n, m), |[x]| match x.0.dtype() {
        DType::F32 => by_type!(dtype, turned_f32(x, [b, m, n])),
        DType::BF16 => by_type!(dtype, turned_bf16(x, [b, m, n])),
        other => bail!("no kernel for {other:?}"),
    })
}

fn turned_f32<To: Element>(x: Operand, sizes: [usize; 3]) -> Result<CudaStorage> {
    turn::<f32, To>(x, sizes)
}

fn turned_bf16<To: Element>(x: Operand, sizes: [usize; 3]) -> Result<CudaStorage> {
    turn::<bf16, To>(x, sizes)
}

fn turn<From: Element, To: Element>(x: Operand, [b, m, n]: [usize; 3]) -> Result<CudaStorage> {
    const TILE: usize = 32;
    let (device, x, name) = (x.0.device(), view::<From>(x)?, format!("turn_{}_{}", From::NAME, To::NAME));
    let config = blocks(b * m.div_ceil(TILE) * n.div_ceil(TILE))?;
    demand(b * m * n, x.len())?;
    let (m, n) = (size(m)?, size(n)?);
    // SAFETY: the kernel writes all of it.
    let mut y = unsafe { room::<To>(device, x.len()) }?;
    // SAFETY: there is a block for each tile of x, and y is as large.
    unsafe { launch!(device, &name, config, &m, &n, &x, &mut y) };
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}
