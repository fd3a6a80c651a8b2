//! The gradients of one step, in the order of the parameters.

use candle_core::backprop::GradStore;
use candle_core::{Error, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use crate::nn::Parameter;
use crate::parallel::{ParallelError, world};

/// Elements that one task takes: fixed, so that a norm does not depend on the number of threads.
/// Smaller tensors are not worth waking a thread.
pub(super) const CHUNK: usize = 1 << 16;

/// One gradient per trainable parameter; `None` where the loss does not depend on it.
#[derive(Clone, Debug)]
pub struct Gradients(Vec<Option<Tensor>>);

impl Gradients {
    /// Takes the gradients of `parameters` out of what a backward pass left.
    pub fn take(store: &mut GradStore, parameters: &[Parameter]) -> Result<Self> {
        let take = |parameter: &Parameter| store.remove(&parameter.var).map(|g| g.contiguous()).transpose();
        parameters.iter().map(take).collect::<Result<_>>().map(Self)
    }

    #[cfg(all(test, feature = "cuda"))]
    pub(super) fn of(gradients: Vec<Option<Tensor>>) -> Self {
        Self(gradients)
    }

    /// The sum with those of another batch.
    pub fn plus(self, other: Self) -> Result<Self> {
        let pairs = self.0.into_iter().zip(other.0);
        let add = |pair: (Option<Tensor>, Option<Tensor>)| match pair {
            (Some(a), Some(b)) => a.add(&b).map(Some),
            (a, b) => Ok(a.or(b)),
        };
        pairs.map(add).collect::<Result<_>>().map(Self)
    }

    /// The mean with those of the other processes.
    pub fn mean_over_processes(self) -> Result<Self> {
        if world().is_alone() {
            return Ok(self);
        }
        // Sums of other things would go unnoticed.
        let places = self.0.iter().enumerate().filter(|(_, gradient)| gradient.is_some());
        let print = places.fold(0u64, |print, (i, _)| (print * 31 + i as u64 + 1) % (1 << 40)) as f64;
        let prints = world().share_f64(&[print]);
        if let Some(rank) = prints.iter().position(|other| *other != prints[0]) {
            return Err(Error::wrap(ParallelError::OtherGradients { rank }));
        }
        let mut means = world().means(self.0.iter().flatten().cloned().collect())?.into_iter();
        Ok(Self(self.0.into_iter().map(|gradient| gradient.and_then(|_| means.next())).collect()))
    }

    /// L2 norm over all elements of all gradients, summed in double precision; on CUDA so are sums of 16 384, each in single.
    pub fn norm(&self) -> Result<f64> {
        #[cfg(feature = "cuda")]
        if self.0.iter().flatten().any(|gradient| gradient.device().is_cuda()) {
            // The device is waited for once, not for every parameter.
            let gradients: Vec<&Tensor> = self.0.iter().flatten().collect();
            let sums = crate::nn::ops::cuda::square_sums(&gradients)?.to_vec1::<f32>()?;
            return Ok(sums.into_iter().map(f64::from).sum::<f64>().sqrt());
        }
        let sums = self.0.iter().flatten().map(square_sum).collect::<Result<Vec<_>>>()?;
        Ok(sums.iter().sum::<f64>().sqrt())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&Tensor>> {
        self.0.iter().map(Option::as_ref)
    }
}

fn square_sum(gradient: &Tensor) -> Result<f64> {
    let (storage, layout) = gradient.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        bail!("the norm of a gradient {layout:?} on {:?}", gradient.device())
    };
    let values = &storage.as_slice::<f32>()?[start..end];
    if values.len() <= CHUNK {
        return Ok(squares(values));
    }
    let parts: Vec<f64> = values.par_chunks(CHUNK).map(squares).collect();
    Ok(parts.iter().sum())
}

/// Eight sums side by side, which the processor can add at once.
fn squares(values: &[f32]) -> f64 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        for (sum, &x) in sums.iter_mut().zip(eight) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    let rest: f64 = rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    sums.iter().sum::<f64>() + rest
}

/// The factor that brings a gradient of this norm down to `limit`, as
/// `torch.nn.utils.clip_grad_norm_` has it; a `limit` of 0 is off.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if limit > 0.0 { (limit / (norm + 1e-6)).min(1.0) } else { 1.0 }
}
