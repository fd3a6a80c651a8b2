//! Convolution: patches straight into registers where they are small, else into a matrix product, or Winograd's
//! way where that is faster, with the gradients that are needed only. On CUDA cuDNN does both (feature `cudnn`).

mod blocked;
#[cfg(feature = "cudnn")]
mod cudnn;
mod direct;
mod finish;
mod im2col;
mod microkernel;
mod product;
mod tiles;
mod tiling;
mod transforms;
mod winograd;

#[cfg(feature = "cudnn")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
#[cfg(feature = "cudnn")]
use candle_core::{DType, cuda_backend::gemm_reduced_precision_f32};

use self::finish::Finishing;
use self::im2col::Geometry;
use self::product::{Kernels, Needed};
use self::tiling::TileSize;
use super::batch_norm::scale_shift;
use super::bf16::in_bf16;
#[cfg(feature = "cudnn")]
use super::channels_last::{for_tensor_cores, from_pixels, pixels};
use super::storage::{is_f32_on_cpu, read, slice, tensor};

/// `x` `[n, c, h, w]` convolved with `w` `[o, c, kh, kw]`, zero padding on all four sides, giving
/// `[n, o, h', w']` with `h' = (h + 2 padding - kh) / stride + 1`. Winograd's tiles are small here: through
/// the batch statistics of many layers the rounding of larger ones grows to some 2e-4 of the gradients.
pub fn conv2d(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if let Some(pixels) = pixels_for_cudnn(x, w) {
        return convolve_pixels(&pixels, x, w, Conv2d { stride, padding });
    }
    if !(is_ours(x) && is_ours(w)) {
        return x.conv2d(w, padding, stride, 1, 1);
    }
    x.contiguous()?.apply_op2(&w.contiguous()?, Conv2d { stride, padding })
}

/// As [`conv2d`], of images in bf16 ([`in_bf16`]) and of kernels in f32, which are rounded to it.
pub fn conv2d_bf16(x: &Tensor, w: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    // Where channels lie last the kernels are turned around, too, and rounded in passing.
    #[cfg(feature = "cudnn")]
    if let Some(pixels) = pixels_for_cudnn(x, w) {
        return convolve_pixels(&pixels, x, w, Conv2d { stride, padding });
    }
    conv2d(x, &in_bf16(w)?, stride, padding)
}

/// The pixels of images that cuDNN convolves with channels last.
#[cfg(feature = "cudnn")]
fn pixels_for_cudnn(x: &Tensor, w: &Tensor) -> Option<Tensor> {
    pixels(x).filter(|_| !x.track_op() && !w.track_op() && cudnn::applies(x))
}

/// Whether images or kernels are faster with channels last ([`for_tensor_cores`]).
#[cfg(feature = "cudnn")]
pub fn prefers_channels_last(x: &Tensor, bf16: bool) -> bool {
    let tensor_cores = bf16 || (x.dtype() == DType::F32 && gemm_reduced_precision_f32());
    cudnn::applies(x) && !x.track_op() && tensor_cores
}

/// `pixels` `[n, h, w, c]` of the images `x`, and kernels in the type of these or in f32.
#[cfg(feature = "cudnn")]
fn convolve_pixels(pixels: &Tensor, x: &Tensor, w: &Tensor, conv: Conv2d) -> Result<Tensor> {
    let kernels = for_tensor_cores(w, x.dtype() == DType::BF16)?.permute((0, 2, 3, 1))?.contiguous()?;
    match cudnn::convolve_pixels(&conv, (pixels, x.shape()), (&kernels, w.shape()))? {
        Some(y) => from_pixels(&y),
        None => convolve_turned_around(x, w, conv),
    }
}

/// The same where cuDNN has no way with channels last.
#[cfg(feature = "cudnn")]
fn convolve_turned_around(x: &Tensor, w: &Tensor, Conv2d { stride, padding }: Conv2d) -> Result<Tensor> {
    let bf16 = x.dtype() == DType::BF16;
    let w = if bf16 { in_bf16(w)? } else { w.clone() };
    for_tensor_cores(&conv2d(&x.contiguous()?, &w, stride, padding)?, bf16)
}

/// Whether [`Conv2d`] has a way for such tensors; others are convolved by candle.
fn is_ours(tensor: &Tensor) -> bool {
    #[cfg(feature = "cudnn")]
    if cudnn::applies(tensor) {
        return true;
    }
    is_f32_on_cpu(tensor)
}

/// What follows a convolution in evaluation.
#[derive(Clone, Copy)]
pub struct Ending<'a> {
    /// `[o]`.
    pub scale: &'a Tensor,
    /// `[o]`.
    pub shift: &'a Tensor,
    /// Of the leaky ReLU for negative values.
    pub slope: f64,
    /// Added in the end, `[n, o, h', w']`.
    pub residual: Option<&'a Tensor>,
}

/// `leaky(scale conv2d(x, w) + shift) + residual`: a convolution with its batch norm in evaluation. On the CPU,
/// and where no gradient is recorded, the planes are finished while they are written.
pub fn conv2d_finished(
    x: &Tensor,
    w: &Tensor,
    ending: Ending,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let Ending { scale, shift, slope, residual } = ending;
    let all = [x, w, scale, shift];
    if all.into_iter().chain(residual).any(|t| t.track_op() || !is_f32_on_cpu(t)) {
        return scale_shift(&conv2d(x, w, stride, padding)?, scale, shift, Some(slope), residual);
    }
    let (n, g, o) = geometry(x.shape(), w.shape(), stride, padding)?;
    let shape = (n, o, g.out_height, g.out_width);
    if scale.dims() != [o] || shift.dims() != [o] {
        bail!("{:?} scales and {:?} shifts for {o} channels", scale.shape(), shift.shape())
    }
    if let Some(residual) = residual.filter(|residual| residual.dims() != <[usize; 4]>::from(shape)) {
        bail!("a residual {:?} for an output {shape:?}", residual.shape())
    }
    let convolve = |[x, w, scales, shifts]: [&[f32]; 4], residual: Option<&[f32]>| {
        let finishing = Finishing { activation: Some((scales, shifts, slope as f32)), residual };
        Kernels { w, o, g: &g, tile: TileSize::Four }.forward(x, n, finishing)
    };
    let out = match residual {
        None => read(all, |all| convolve(all, None))?,
        Some(residual) => read([x, w, scale, shift, residual], |[x, w, scale, shift, residual]| {
            convolve([x, w, scale, shift], Some(residual))
        })?,
    };
    tensor(out, shape, x)
}

/// The number of images, the sizes and the channels of the output.
fn geometry(x: &Shape, w: &Shape, stride: usize, padding: usize) -> Result<(usize, Geometry, usize)> {
    let (n, channels, height, width) = x.dims4()?;
    let (o, kernel_channels, kh, kw) = w.dims4()?;
    if channels != kernel_channels
        || channels == 0
        || kh * kw == 0
        || stride == 0
        || height + 2 * padding < kh
        || width + 2 * padding < kw
    {
        bail!("can't convolve {x:?} with kernels {w:?}, stride {stride}, padding {padding}")
    }
    let out_height = (height + 2 * padding - kh) / stride + 1;
    let out_width = (width + 2 * padding - kw) / stride + 1;
    let kernel = [kh, kw];
    Ok((n, Geometry { channels, height, width, kernel, stride, padding, out_height, out_width }, o))
}

struct Conv2d {
    stride: usize,
    padding: usize,
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, g, o) = geometry(x_layout.shape(), w_layout.shape(), self.stride, self.padding)?;
        let kernels = Kernels { w: slice(w, w_layout)?, o, g: &g, tile: TileSize::Two };
        let out = kernels.forward(slice(x, x_layout)?, n, Finishing::default());
        Ok((CpuStorage::F32(out), (n, o, g.out_height, g.out_width).into()))
    }

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        w: &CudaStorage,
        w_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cudnn::forward(self, (x, x_layout), (w, w_layout))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cudnn")]
        if x.device().is_cuda() {
            return cudnn::backward(self, x, w, grad);
        }
        let (n, g, o) = geometry(x.shape(), w.shape(), self.stride, self.padding)?;
        let needed = Needed { x: x.track_op(), w: w.track_op() };
        let (dx, dw) = read([x, w, grad], |[x, w, grad]| {
            Kernels { w, o, g: &g, tile: TileSize::Two }.backward(x, grad, n, needed)
        })?;
        Ok((
            dx.map(|d| tensor(d, x.shape(), x)).transpose()?,
            dw.map(|d| tensor(d, w.shape(), w)).transpose()?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::super::testing::{assert_close, random, values};
    use super::*;

    /// (images, channels, height, width, out channels, kernel, stride, padding)
    type Case = (usize, usize, usize, usize, usize, [usize; 2], usize, usize);

    /// Single maps in one and several tiles, maps that share a product, pointwise, strides, odd sizes;
    /// then Winograd's way: several images in a piece, one of several pieces, many channels; stride 2;
    /// rows of 8 and of 16 places straight into registers.
    const CASES: [Case; 16] = [
        (2, 3, 40, 37, 5, [3, 3], 1, 1),
        (1, 200, 70, 61, 4, [3, 3], 1, 1),
        (5, 4, 9, 7, 6, [3, 3], 2, 1),
        (40, 30, 4, 3, 7, [3, 3], 1, 1),
        (3, 6, 20, 21, 4, [1, 1], 1, 0),
        (37, 6, 3, 3, 4, [1, 1], 1, 0),
        (2, 3, 11, 8, 4, [1, 1], 2, 0),
        (1, 2, 6, 9, 3, [5, 2], 3, 2),
        (2, 2, 1, 1, 3, [3, 3], 1, 1),
        (5, 17, 8, 8, 20, [3, 3], 1, 1),
        (2, 19, 27, 34, 16, [3, 3], 1, 1),
        (1, 200, 70, 61, 16, [3, 3], 1, 1),
        (3, 17, 19, 26, 20, [3, 3], 2, 1),
        (2, 40, 8, 40, 70, [3, 3], 2, 1),
        (3, 4, 9, 8, 9, [3, 3], 1, 1),
        (2, 4, 5, 32, 5, [3, 3], 2, 1),
    ];

    fn gradients(x: &Tensor, w: &Tensor, weight: &Tensor, case: Case, ours: bool) -> Result<[Tensor; 3]> {
        let (x, w) = (Var::from_tensor(x)?, Var::from_tensor(w)?);
        let y = if ours { conv2d(&x, &w, case.6, case.7)? } else { x.conv2d(&w, case.7, case.6, 1, 1)? };
        let grads = (&y * weight)?.sum_all()?.backward()?;
        Ok([y, grads.get(&x).unwrap().clone(), grads.get(&w).unwrap().clone()])
    }

    /// The convolution by its definition, in f64, as values and gradients.
    fn reference(x: &Tensor, w: &Tensor, weight: &Tensor, case: Case) -> Result<[Vec<f64>; 3]> {
        let (_, c, h, wd, o, [kh, kw], stride, padding) = case;
        let (_, _, oh, ow) = weight.dims4()?;
        let [xs, ws, gs] = [x, w, weight]
            .map(|t| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).map(|v| v.into_iter().map(f64::from)));
        let (xs, ws, gs): (Vec<f64>, Vec<f64>, Vec<f64>) = (xs?.collect(), ws?.collect(), gs?.collect());
        let (mut y, mut dx, mut dw) = (vec![0.0; gs.len()], vec![0.0; xs.len()], vec![0.0; ws.len()]);
        for (place, y) in y.iter_mut().enumerate() {
            let (i, co, oy, ox) = (place / (o * oh * ow), place / (oh * ow) % o, place / ow % oh, place % ow);
            for (k, ci) in (0..c * kh * kw).map(|k| (k, k / (kh * kw))) {
                let row = (oy * stride + k / kw % kh).checked_sub(padding).filter(|&r| r < h);
                let column = (ox * stride + k % kw).checked_sub(padding).filter(|&c| c < wd);
                let (Some(row), Some(column)) = (row, column) else { continue };
                let (from, kernel) = (((i * c + ci) * h + row) * wd + column, co * c * kh * kw + k);
                *y += xs[from] * ws[kernel];
                dx[from] += gs[place] * ws[kernel];
                dw[kernel] += gs[place] * xs[from];
            }
        }
        Ok([y, dx, dw])
    }

    #[test]
    fn values_and_gradients() -> Result<()> {
        for case in CASES {
            let (n, c, h, wd, o, [kh, kw], stride, padding) = case;
            let (oh, ow) = ((h + 2 * padding - kh) / stride + 1, (wd + 2 * padding - kw) / stride + 1);
            let (x, w) = (random("x", (n, c, h, wd))?, random("w", (o, c, kh, kw))?);
            let weight = random("weight", (n, o, oh, ow))?;
            let expected = reference(&x, &w, &weight, case)?;
            for (found, expected) in gradients(&x, &w, &weight, case, true)?.iter().zip(&expected) {
                assert_close(found, expected, 3e-6);
            }
        }
        Ok(())
    }

    #[test]
    fn large_tiles_in_evaluation() -> Result<()> {
        for case in &CASES[9..] {
            let &(n, c, h, wd, o, [kh, kw], stride, padding) = case;
            let (x, w) = (random("x", (n, c, h, wd))?, random("w", (o, c, kh, kw))?);
            let (one, zero) = (Tensor::ones(o, DType::F32, &Device::Cpu)?, random("b", o)?.zeros_like()?);
            let ending = Ending { scale: &one, shift: &zero, slope: 1.0, residual: None };
            let found = conv2d_finished(&x, &w, ending, stride, padding)?;
            let [expected, ..] = reference(&x, &w, &found.zeros_like()?, *case)?;
            assert_close(&found, &expected, 2e-5);
        }
        Ok(())
    }

    #[test]
    fn other_types_are_composed() -> Result<()> {
        let case = CASES[2];
        let f64s = |name, shape: [usize; 4]| random(name, &shape[..])?.to_dtype(DType::F64);
        let (x, w) = (f64s("x", [5, 4, 9, 7])?, f64s("w", [6, 4, 3, 3])?);
        let weight = f64s("weight", [5, 6, 5, 4])?;
        let [a, b] = [true, false].map(|ours| gradients(&x, &w, &weight, case, ours));
        for (a, b) in a?.iter().zip(b?) {
            assert_eq!((a - b)?.abs()?.max_all()?.to_scalar::<f64>()?, 0.0);
        }
        Ok(())
    }

    #[test]
    fn nothing_is_computed_for_frozen_arguments() -> Result<()> {
        let (x, w) = (random("x", (2, 3, 8, 8))?, random("w", (4, 3, 3, 3))?);
        let (x_var, w_var) = (Var::from_tensor(&x)?, Var::from_tensor(&w)?);
        let y = conv2d(&x, &w, 1, 1)?;
        let conv = Conv2d { stride: 1, padding: 1 };
        let (dx, dw) = conv.bwd(&x, &w_var, &y, &y)?;
        assert!(dx.is_none() && dw.is_some());
        let (dx, dw) = conv.bwd(&x_var, &w, &y, &y)?;
        assert!(dx.is_some() && dw.is_none());
        Ok(())
    }

    #[test]
    fn finished_planes_equal_the_separate_steps() -> Result<()> {
        for &(n, c, h, wd, o, [kh, kw], stride, padding) in &CASES[2..4] {
            let (x, w) = (random("x", (n, c, h, wd))?, random("w", (o, c, kh, kw))?);
            let (scale, shift) = (random("scale", o)?, random("shift", o)?);
            let steps = scale_shift(&conv2d(&x, &w, stride, padding)?, &scale, &shift, Some(0.1), None)?;
            let residual = random("residual", steps.shape())?;
            let ending = Ending { scale: &scale, shift: &shift, slope: 0.1, residual: None };
            let fused = conv2d_finished(&x, &w, ending, stride, padding)?;
            assert_eq!(values(&fused), values(&steps));
            let ending = Ending { residual: Some(&residual), ..ending };
            let fused = conv2d_finished(&x, &w, ending, stride, padding)?;
            assert_eq!(values(&fused), values(&(steps + residual)?));
        }
        Ok(())
    }

    #[test]
    fn large_tiles_are_finished_too() -> Result<()> {
        let (n, c, h, wd, o, _, stride, padding) = CASES[10];
        let (x, w) = (random("x", (n, c, h, wd))?, random("w", (o, c, 3, 3))?);
        let (scale, shift) = (random("scale", o)?, random("shift", o)?);
        let residual = random("residual", (n, o, h, wd))?;
        let ending = Ending { scale: &scale, shift: &shift, slope: 0.1, residual: Some(&residual) };
        let found = conv2d_finished(&x, &w, ending, stride, padding)?;
        let steps =
            (scale_shift(&conv2d(&x, &w, stride, padding)?, &scale, &shift, Some(0.1), None)? + residual)?;
        assert_close(&found, &values(&steps), 2e-5);
        Ok(())
    }

    #[test]
    fn threads_do_not_change_the_result() -> Result<()> {
        for case in [CASES[0], CASES[1], CASES[3], CASES[9], CASES[10], CASES[13]] {
            let (n, c, h, wd, o, [kh, kw], stride, _) = case;
            let (x, w) = (random("x", (n, c, h, wd))?, random("w", (o, c, kh, kw))?);
            let weight = random("weight", (n, o, h / stride, wd / stride))?;
            let run = |threads| -> Result<Vec<Vec<f32>>> {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| gradients(&x, &w, &weight, case, true))?;
                found.iter().map(|t| t.flatten_all()?.to_vec1()).collect()
            };
            let one = run(1)?;
            assert!(one == run(2)? && one == run(5)?);
        }
        Ok(())
    }
}
