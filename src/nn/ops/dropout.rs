//! Dropout drawn from a stream.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::jobs::for_rows;
use super::storage::{has_kernels, slice};
use crate::random::Stream;

/// Values of a job; even, as a draw decides on two.
const JOB: usize = 1 << 14;

/// Zeroes values with probability `p` and scales the others by `1 / (1 - p)`. Which ones depends on
/// the stream and the place alone; the mask is drawn again for the gradient, not kept.
pub fn dropout(x: &Tensor, p: f64, stream: &Stream) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        bail!("dropout: the probability must be at least 0 and below 1, found {p}")
    }
    if p == 0.0 {
        return Ok(x.clone());
    }
    let op = Dropout { mask: Mask::new(p, stream) };
    if has_kernels([x]) {
        return x.contiguous()?.apply_op1(op);
    }
    let mut scales = vec![1f32; x.elem_count()];
    op.mask.apply(&mut scales, 0);
    x * Tensor::from_vec(scales, x.shape(), x.device())?.to_dtype(x.dtype())?
}

/// Which places are kept.
#[derive(Clone, Debug)]
pub struct Mask {
    stream: Stream,
    /// Of 2^32.
    dropped: u64,
    scale: f32,
}

impl Mask {
    pub fn new(p: f64, stream: &Stream) -> Self {
        Self {
            stream: stream.clone(),
            dropped: (p * (1u64 << 32) as f64).round() as u64,
            scale: (1.0 / (1.0 - p)) as f32,
        }
    }

    /// Zeroes or scales values whose places start at `first`, which must be even.
    pub fn apply(&self, values: &mut [f32], first: usize) {
        let scale = |draw: u64| if draw < self.dropped { 0.0 } else { self.scale };
        let start = (first / 2) as u64;
        let (pairs, rest) = values.as_chunks_mut::<2>();
        let end = start + pairs.len() as u64;
        for (place, pair) in (start..end).zip(pairs) {
            let draw = self.stream.at(place);
            pair[0] *= scale(draw >> 32);
            pair[1] *= scale(draw & 0xffff_ffff);
        }
        for value in rest {
            *value *= scale(self.stream.at(end) >> 32);
        }
    }
}

struct Dropout {
    mask: Mask,
}

impl Dropout {
    fn masked(&self, x: &[f32]) -> Vec<f32> {
        let mut out = x.to_vec();
        for_rows(&mut out, JOB, 1, |job, values| self.mask.apply(values, job * JOB));
        out
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.masked(slice(x, layout)?)), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let Mask { stream, dropped, scale } = &self.mask;
        Ok((super::cuda::dropout((x, layout), stream, *dropped, *scale)?, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        grad.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random, values};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        let stream = Stream::new(1, "dropout");
        check(|t| dropout(&t[0], 0.3, &stream), &[random("x", (7, 19))?], 1e-6)
    }

    #[test]
    fn drops_its_share_wherever_a_job_begins() -> Result<()> {
        let x = Tensor::ones(3 * JOB + 1, candle_core::DType::F32, &candle_core::Device::Cpu)?;
        let y = values(&dropout(&x, 0.25, &Stream::new(1, "a"))?);
        for job in y.chunks(JOB).take(3) {
            let zeros = job.iter().filter(|&&v| v == 0.0).count() as f64;
            assert!((zeros / JOB as f64 - 0.25).abs() < 0.02, "{zeros} of {JOB}");
        }
        assert!(y.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.75).abs() < 1e-6));
        assert_ne!(y[..JOB], y[JOB..2 * JOB]);
        assert_ne!(y, values(&dropout(&x, 0.25, &Stream::new(2, "a"))?));
        Ok(())
    }
}
