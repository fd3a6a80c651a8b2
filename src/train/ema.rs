//! The exponential moving average of the weights.

use std::collections::HashMap;

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

/// A shadow of parameters and buffers (quirk 48).
///
/// Update n (from 0) has decay d = min(`largest`, (n + 1) / (n + 10)): shadow = d shadow +
/// (1 - d) value, batch-norm statistics included; integer counters are truncated. The shadow
/// starts as a copy of the weights training starts from (the reference's starts from the ones
/// before a checkpoint is loaded; after a few updates nothing is left of either).
pub struct Ema {
    largest: f64,
    updates: u64,
    shadow: Vec<(String, Var, Var)>,
}

impl Ema {
    /// Copies `state`: every parameter and buffer that training changes.
    pub fn new(state: &[(String, Var)], largest: f64) -> Result<Self> {
        let copy = |(name, var): &(String, Var)| {
            Ok((name.clone(), var.clone(), Var::from_tensor(&var.copy()?.detach())?))
        };
        let shadow = state.iter().map(copy).collect::<Result<_>>()?;
        Ok(Self { largest, updates: 0, shadow })
    }

    /// The decay of the next update.
    pub fn decay(&self) -> f64 {
        self.largest.min((self.updates + 1) as f64 / (self.updates + 10) as f64)
    }

    /// Moves the shadow towards the present values.
    pub fn update(&mut self) -> Result<()> {
        let decay = self.decay();
        for (_, value, shadow) in &self.shadow {
            if shadow.dtype() == DType::F32 && shadow.device().is_cpu() {
                shadow.inplace_op2(value.as_tensor(), &Blend(decay as f32))?;
                continue;
            }
            let blend = |dtype| -> Result<Tensor> {
                let old = (shadow.as_detached_tensor().to_dtype(dtype)? * decay)?;
                old + (value.as_detached_tensor().to_dtype(dtype)? * (1.0 - decay))?
            };
            let exact = if shadow.dtype().is_float() { shadow.dtype() } else { DType::F64 };
            shadow.set(&blend(exact)?.to_dtype(shadow.dtype())?)?;
        }
        self.updates += 1;
        Ok(())
    }

    /// Updates so far. Kept over a resume (quirk 49).
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The averaged weights by name.
    pub fn weights(&self) -> HashMap<String, Tensor> {
        let entry = |(name, _, shadow): &(String, Var, Var)| (name.clone(), shadow.as_detached_tensor());
        self.shadow.iter().map(entry).collect()
    }

    /// Goes on from saved weights after `updates` updates. Names that are absent keep their value.
    pub fn restore(&mut self, weights: &HashMap<String, Tensor>, updates: u64) -> Result<()> {
        for (name, _, shadow) in &self.shadow {
            if let Some(saved) = weights.get(name) {
                shadow.set(&saved.to_device(shadow.device())?.to_dtype(shadow.dtype())?)?;
            }
        }
        self.updates = updates;
        Ok(())
    }

    /// Exchanges the averaged with the present weights; a second call takes it back.
    pub fn swap(&self) -> Result<()> {
        for (_, value, shadow) in &self.shadow {
            let average = shadow.copy()?;
            shadow.set(&value.as_detached_tensor())?;
            value.set(&average)?;
        }
        Ok(())
    }
}

/// shadow <- decay * shadow + (1 - decay) * value.
struct Blend(f32);

impl InplaceOp2 for Blend {
    fn name(&self) -> &'static str {
        "ema"
    }

    fn cpu_fwd(
        &self,
        shadow: &mut CpuStorage,
        shadow_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<()> {
        let decay = self.0;
        let (Some((start, end)), Some((from, to))) =
            (shadow_layout.contiguous_offsets(), value_layout.contiguous_offsets())
        else {
            bail!("ema needs contiguous tensors")
        };
        let CpuStorage::F32(shadow) = shadow else { bail!("ema needs f32") };
        let value = &value.as_slice::<f32>()?[from..to];
        let parts = shadow[start..end].par_chunks_mut(1 << 14).zip(value.par_chunks(1 << 14));
        parts.for_each(|(shadow, value)| {
            shadow.iter_mut().zip(value).for_each(|(s, &v)| *s = decay * *s + (1.0 - decay) * v);
        });
        Ok(())
    }
}
