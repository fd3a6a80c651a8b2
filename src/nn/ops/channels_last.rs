//! Images whose channels lie last: tensors `[n, c, h, w]` that are views of `[n, h, w, c]`.
//!
//! Tensor cores convolve those; cuDNN turns others around and back. So on CUDA what has no gradient goes this way where
//! tensor cores are used, in bf16 and in TF32: [`for_tensor_cores`] begins it, convolutions, batch norms, pools and
//! joins give what they are given, and [`in_planes`] and [`positions`] end it. Other operations see a tensor that is not
//! contiguous.

use candle_core::{DType, Result, Tensor};

use super::bf16::in_bf16;
use super::transpose::transposed;

/// The dense `[n, h, w, c]` that `x` `[n, c, h, w]` is a view of, without gradient; none where channels don't lie last.
pub(super) fn pixels(x: &Tensor) -> Option<Tensor> {
    if x.rank() != 4 || x.is_contiguous() {
        return None;
    }
    let pixels = x.detach().permute((0, 2, 3, 1)).ok()?;
    pixels.is_contiguous().then_some(pixels)
}

/// `[n, h, w, c]` as `[n, c, h, w]`.
pub(super) fn from_pixels(pixels: &Tensor) -> Result<Tensor> {
    pixels.permute((0, 3, 1, 2))
}

/// Images `[n, c, h, w]`, or kernels `[o, c, kh, kw]`, as convolutions on this device are fastest with: rounded to bf16 if wanted ([`in_bf16`]),
/// on CUDA with channels last where tensor cores are used.
pub fn for_tensor_cores(x: &Tensor, bf16: bool) -> Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if super::conv::prefers_channels_last(x, bf16) {
        let (n, c, h, w) = x.dims4()?;
        let dtype = if bf16 { DType::BF16 } else { x.dtype() };
        let pixels = super::cuda::turned(&x.detach().reshape((n, c, h * w))?, dtype)?;
        return from_pixels(&pixels.reshape((n, h, w, c))?);
    }
    if bf16 { in_bf16(x) } else { Ok(x.clone()) }
}

/// `x` in f32, plane by plane.
pub fn in_planes(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(pixels) = pixels(x).filter(|_| x.device().is_cuda() && !x.track_op()) {
        let (n, h, w, c) = pixels.dims4()?;
        let planes = super::cuda::turned(&pixels.reshape((n, h * w, c))?, DType::F32)?;
        return planes.reshape((n, c, h, w));
    }
    x.to_dtype(DType::F32)?.contiguous()
}

/// What each place of a map holds, in f32: `[n, c, h, w]` -> `[n, h * w, c]`.
pub fn positions(x: &Tensor) -> Result<Tensor> {
    match pixels(x).filter(|_| !x.track_op()) {
        Some(pixels) => pixels.flatten(1, 2)?.to_dtype(DType::F32),
        None => transposed(&x.to_dtype(DType::F32)?.flatten_from(2)?),
    }
}

/// Means of squares of `side` x `side` pixels, `[n, c, h, w]` -> `[n, c, h / side, w / side]`.
pub fn average_pool(x: &Tensor, side: usize) -> Result<Tensor> {
    if side == 1 {
        return Ok(x.clone());
    }
    #[cfg(feature = "cuda")]
    if let Some(pixels) = pixels(x).filter(|_| x.device().is_cuda() && !x.track_op()) {
        return from_pixels(&super::cuda::average_pool(&pixels, side)?);
    }
    x.to_dtype(DType::F32)?.avg_pool2d(side)?.to_dtype(x.dtype())
}

/// The channels of both, `[n, a, h, w]` and `[n, b, h, w]` -> `[n, a + b, h, w]`.
pub fn joined(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match [a, b].map(|x| pixels(x).filter(|_| !x.track_op())) {
        [Some(a), Some(b)] => from_pixels(&Tensor::cat(&[a, b], 3)?),
        _ => Tensor::cat(&[a, b], 1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{random, values};
    use super::*;

    #[test]
    fn the_order_in_memory_changes_nothing() -> Result<()> {
        let planes = random("x", (2, 3, 4, 6))?;
        let last = from_pixels(&planes.permute((0, 2, 3, 1))?.contiguous()?)?;
        assert!(pixels(&planes).is_none());
        assert_eq!(pixels(&last).expect("channels lie last").dims(), [2, 4, 6, 3]);
        assert!(pixels(&last.narrow(1, 0, 2)?).is_none());
        let same = |f: &dyn Fn(&Tensor) -> Result<Tensor>| -> Result<()> {
            let (found, expected) = (f(&last)?, f(&planes)?);
            assert_eq!(found.dims(), expected.dims());
            assert_eq!(values(&found), values(&expected));
            Ok(())
        };
        same(&in_planes)?;
        same(&positions)?;
        same(&|x| average_pool(x, 2))?;
        same(&|x| joined(x, &(x * 2.0)?))?;
        assert!(pixels(&joined(&last, &last)?).is_some());
        Ok(())
    }
}
