//! The exponential moving average of the weights.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, Var};

use crate::nn::ops::blend;
use crate::nn::{Parameter, Role};

/// A shadow of parameters and buffers (quirk 48).
///
/// Update n (from 0) has decay d = min(`largest`, (n + 1) / (n + 10)): shadow = d shadow +
/// (1 - d) value, batch-norm statistics included; integer counters are truncated. The shadow
/// starts as a copy of the weights training starts from (the reference's starts from the ones
/// before a checkpoint is loaded; after a few updates nothing is left of either).
pub struct Ema {
    largest: f64,
    updates: u64,
    shadows: Vec<Shadow>,
}

struct Shadow {
    of: Parameter,
    /// The parameter's own variable if it is frozen.
    average: Var,
}

impl Ema {
    /// Copies what training changes; frozen parameters are shared.
    pub fn new(parameters: &[Parameter], largest: f64) -> Result<Self> {
        let shadow = |of: &Parameter| {
            let average = match of.role {
                Role::Frozen => of.var.clone(),
                Role::Trainable | Role::Buffer => Var::from_tensor(&of.var.copy()?.detach())?,
            };
            Ok(Shadow { of: of.clone(), average })
        };
        let shadows = parameters.iter().map(shadow).collect::<Result<_>>()?;
        Ok(Self { largest, updates: 0, shadows })
    }

    /// The decay of the next update.
    pub fn decay(&self) -> f64 {
        self.largest.min((self.updates + 1) as f64 / (self.updates + 10) as f64)
    }

    /// Moves the averages towards the present values.
    pub fn update(&mut self) -> Result<()> {
        let decay = self.decay();
        let changing = self.shadows.iter().filter(|shadow| shadow.of.role != Role::Frozen);
        let (f32s, others): (Vec<&Shadow>, Vec<&Shadow>) =
            changing.partition(|shadow| shadow.average.dtype() == DType::F32);
        let pairs: Vec<_> = f32s.iter().map(|s| (s.average.as_tensor(), s.of.var.as_tensor())).collect();
        let keep = decay as f32;
        blend(&pairs, [keep, 1.0 - keep])?;
        for Shadow { of, average } in others {
            let exact = if average.dtype().is_float() { average.dtype() } else { DType::F64 };
            let old = (average.as_detached_tensor().to_dtype(exact)? * decay)?;
            let new = (of.var.as_detached_tensor().to_dtype(exact)? * (1.0 - decay))?;
            average.set(&(old + new)?.to_dtype(average.dtype())?)?;
        }
        self.updates += 1;
        Ok(())
    }

    /// Updates so far. Kept over a resume (quirk 49).
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// All averaged weights by name. They share storage with the average and follow it.
    pub fn weights(&self) -> HashMap<String, Tensor> {
        let entry = |shadow: &Shadow| (shadow.of.name.clone(), shadow.average.as_detached_tensor());
        self.shadows.iter().map(entry).collect()
    }

    /// Goes on from saved weights after `updates` updates. Names that are absent keep their value.
    pub fn restore(&mut self, weights: &HashMap<String, Tensor>, updates: u64) -> Result<()> {
        for Shadow { of, average } in self.shadows.iter().filter(|shadow| shadow.of.role != Role::Frozen) {
            if let Some(saved) = weights.get(&of.name) {
                average.set(&saved.to_device(average.device())?.to_dtype(average.dtype())?)?;
            }
        }
        self.updates = updates;
        Ok(())
    }
}
