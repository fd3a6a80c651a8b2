//! The gradients of one step, in the order of the parameters.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Storage, Tensor};
use rayon::prelude::*;

use crate::nn::Parameter;

/// Elements summed by one task: fixed, so that a norm does not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// One gradient per trainable parameter; `None` where the loss does not depend on it.
#[derive(Clone, Debug)]
pub struct Gradients(Vec<Option<Tensor>>);

impl Gradients {
    /// Takes the gradients of `parameters` out of what a backward pass left.
    pub fn take(store: &mut GradStore, parameters: &[Parameter]) -> Result<Self> {
        let take = |parameter: &Parameter| store.remove(&parameter.var).map(|g| g.contiguous()).transpose();
        parameters.iter().map(take).collect::<Result<_>>().map(Self)
    }

    /// The sum with those of another batch.
    pub fn add(self, other: Self) -> Result<Self> {
        let pairs = self.0.into_iter().zip(other.0);
        let add = |pair: (Option<Tensor>, Option<Tensor>)| match pair {
            (Some(a), Some(b)) => a.add(&b).map(Some),
            (a, b) => Ok(a.or(b)),
        };
        pairs.map(add).collect::<Result<_>>().map(Self)
    }

    /// L2 norm over all elements of all gradients, summed in double precision.
    pub fn norm(&self) -> Result<f64> {
        let mut total = 0.0;
        for gradient in self.0.iter().flatten() {
            total += square_sum(gradient)?;
        }
        Ok(total.sqrt())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&Tensor>> {
        self.0.iter().map(Option::as_ref)
    }
}

fn square_sum(tensor: &Tensor) -> Result<f64> {
    let (storage, layout) = tensor.storage_and_layout();
    if let (Storage::Cpu(cpu), Some((start, end))) = (&*storage, layout.contiguous_offsets()) {
        let values = &cpu.as_slice::<f32>()?[start..end];
        let squares = |part: &[f32]| part.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let parts: Vec<f64> = values.par_chunks(CHUNK).map(squares).collect();
        return Ok(parts.iter().sum());
    }
    drop(storage);
    tensor.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar()
}

/// The factor that brings a gradient of this norm down to `limit`, as
/// `torch.nn.utils.clip_grad_norm_` has it; a `limit` of 0 is off.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if limit > 0.0 { (limit / (norm + 1e-6)).min(1.0) } else { 1.0 }
}
