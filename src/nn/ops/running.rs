//! What a batch norm keeps in training, and what evaluation makes of it.

use candle_core::{DType, Result, Tensor, Var};

use super::batch_norm::BatchNormed;
use super::blend::blend;

/// What a batch norm keeps for evaluations.
pub struct Running {
    /// `[c]`.
    pub mean: Var,
    /// `[c]`.
    pub variance: Var,
    /// Batches so far, i64.
    pub batches: Var,
}

impl Running {
    /// running <- `(1 - momentum) running + momentum batch`, and one batch more.
    pub fn keep(&self, batch: &BatchNormed, momentum: f64) -> Result<()> {
        let (shares, statistics) =
            ([1.0 - momentum, momentum], [batch.mean.detach(), batch.variance.detach()]);
        let running = [&self.mean, &self.variance];
        if running.iter().all(|running| running.dtype() == DType::F32) {
            let (shares, [mean, variance]) = (shares.map(|share| share as f32), statistics);
            #[cfg(feature = "cuda")]
            if self.mean.device().is_cuda() {
                let kept = [self.mean.as_tensor(), &self.variance, &self.batches];
                return super::cuda::keep_running([&mean, &variance], kept, shares);
            }
            blend(&[(&self.mean, &mean.contiguous()?), (&self.variance, &variance.contiguous()?)], shares)?;
        } else {
            for (running, batch) in running.into_iter().zip(&statistics) {
                running.set(&((running.as_detached_tensor() * shares[0])? + (batch * shares[1])?)?)?;
            }
        }
        self.batches.set(&(self.batches.as_detached_tensor() + 1.0)?)
    }
}

/// The scale and the shift, `[c]` each, that batch norm with given statistics comes down to.
pub fn folded(
    weight: &Tensor,
    bias: &Tensor,
    (mean, variance): (&Tensor, &Tensor),
    eps: f64,
) -> Result<[Tensor; 2]> {
    #[cfg(feature = "cuda")]
    if super::cuda::scales_and_shifts([mean, weight, bias]) && super::storage::has_kernels([mean, variance]) {
        return super::cuda::folded([weight, bias, mean, variance], eps);
    }
    let scale = weight.div(&(variance + eps)?.sqrt()?)?;
    let shift = bias.sub(&mean.mul(&scale)?)?;
    Ok([scale, shift])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::batch_norm::{Rule, batch_norm_train};
    use super::super::testing::{assert_close, golden, values};
    use super::*;

    #[test]
    fn equals_the_reference() -> Result<()> {
        let golden = golden()?;
        let (one, zero) =
            (Tensor::ones(2, DType::F32, &Device::Cpu)?, Tensor::zeros(2, DType::F32, &Device::Cpu)?);
        let rule = Rule { eps: 1e-5, slope: None, joint: false };
        let normed = batch_norm_train(&golden["bn.x"], &one, &zero, rule, None)?;
        let running = Running {
            mean: Var::from_tensor(&zero)?,
            variance: Var::from_tensor(&one)?,
            batches: Var::new(6i64, &Device::Cpu)?,
        };
        running.keep(&normed, 0.1)?;
        assert_close(&running.mean, &values(&golden["bn.running_mean"]), 1e-6);
        assert_close(&running.variance, &values(&golden["bn.running_var"]), 1e-6);
        assert_eq!(running.batches.to_scalar::<i64>()?, 7);
        Ok(())
    }
}
