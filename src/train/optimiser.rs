//! Adam as PyTorch computes it: amsgrad, L2 in the gradient, updates in place.

use std::collections::HashMap;

use candle_core::{CpuStorage, DType, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;
use thiserror::Error;

use super::gradients::{CHUNK, Gradients};
use crate::config::TrainConfig;
use crate::model::BACKBONE;
use crate::nn::Parameter;
#[cfg(feature = "cuda")]
use crate::nn::ops::cuda::{AdamRule, AdamUpdate, adam};
use crate::nn::ops::wide;

/// A saved state that does not belong to these parameters.
#[derive(Debug, Error)]
pub enum StateError {
    #[error("optimizer state: `{0}` is missing; the file belongs to another model or configuration")]
    Missing(String),
    #[error("optimizer state: `{name}` has shape {found:?}, the parameter needs {expected:?}")]
    Shape { name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// What does not change from step to step.
#[derive(Clone, Copy, Debug)]
struct Rule {
    beta1: f32,
    beta2: f32,
    eps: f32,
    amsgrad: bool,
    weight_decay: f32,
}

struct Slot {
    name: String,
    var: Var,
    /// Its learning rate as a share of the others'.
    lr_factor: f64,
    /// Updates so far; a parameter without gradient is passed over and keeps its count.
    steps: u64,
    /// `[2 or 3, elements]`: first and second moment, with amsgrad the largest second moment.
    moments: Tensor,
}

/// Adam over named variables (Kingma and Ba 2015; amsgrad by Reddi et al. 2018).
///
/// m = m + (1 - b1)(g - m); v = b2 v + (1 - b2) g²; p -= lr / (1 - b1^t) * m / (sqrt(v^ / (1 - b2^t)) + eps),
/// with g the clipped gradient plus `weight_decay` * p, and v^ the largest v so far with amsgrad.
pub struct Adam {
    rule: Rule,
    betas: [f64; 2],
    slots: Vec<Slot>,
}

impl Adam {
    /// Zero moments for f32 `parameters`; betas, eps, amsgrad, weight decay and the backbone's rate come
    /// from `config`.
    pub fn new(parameters: &[Parameter], config: &TrainConfig) -> Result<Self> {
        let rows = if config.amsgrad { 3 } else { 2 };
        let slots = parameters.iter().map(|Parameter { name, var, .. }| {
            let moments = Tensor::zeros((rows, var.elem_count()), DType::F32, var.device())?;
            let lr_factor = if name.starts_with(BACKBONE) { config.backbone_lr_factor } else { 1.0 };
            Ok(Slot { name: name.clone(), var: var.clone(), lr_factor, steps: 0, moments })
        });
        let rule = Rule {
            beta1: config.betas[0] as f32,
            beta2: config.betas[1] as f32,
            eps: config.eps as f32,
            amsgrad: config.amsgrad,
            weight_decay: config.weight_decay as f32,
        };
        Ok(Self { rule, betas: config.betas, slots: slots.collect::<Result<_>>()? })
    }

    /// One update with the gradients times `scale` (clipping, averaging) at rate `lr`.
    pub fn step(&mut self, gradients: &Gradients, scale: f64, lr: f64) -> Result<()> {
        let mut updates = Vec::with_capacity(self.slots.len());
        for (slot, gradient) in self.slots.iter_mut().zip(gradients.iter()) {
            let Some(gradient) = gradient else { continue };
            slot.steps += 1;
            let correction = self.betas.map(|beta| 1.0 - beta.powf(slot.steps as f64));
            let update = Update {
                rule: self.rule,
                scale: scale as f32,
                step_size: (slot.lr_factor * lr / correction[0]) as f32,
                root_correction: correction[1].sqrt() as f32,
            };
            updates.push((&*slot, gradient, update));
        }
        #[cfg(feature = "cuda")]
        if updates.iter().any(|(slot, ..)| slot.var.device().is_cuda()) {
            return on_cuda(&updates);
        }
        for (slot, gradient, update) in updates {
            slot.moments.inplace_op3(gradient, &slot.var, &MomentsOp(update))?;
            slot.var.inplace_op2(&slot.moments, &ParameterOp(update))?;
        }
        Ok(())
    }

    /// The state by name: `NAME.exp_avg`, `NAME.exp_avg_sq`, `NAME.max_exp_avg_sq`, `NAME.step`.
    pub fn state(&self) -> Result<HashMap<String, Tensor>> {
        let mut state = HashMap::new();
        for slot in &self.slots {
            for (row, key) in moment_names(self.rule.amsgrad).enumerate() {
                let moment = slot.moments.get(row)?.reshape(slot.var.shape())?;
                state.insert(format!("{}.{key}", slot.name), moment);
            }
            let steps = Tensor::from_slice(&[slot.steps as i64], 1, &candle_core::Device::Cpu)?;
            state.insert(format!("{}.step", slot.name), steps);
        }
        Ok(state)
    }

    /// Puts back what [`Adam::state`] gave. Nothing is changed when an error is returned.
    pub fn restore(&mut self, state: &HashMap<String, Tensor>) -> std::result::Result<(), StateError> {
        let find = |name: String| state.get(&name).ok_or(StateError::Missing(name));
        let mut restored = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let mut rows = Vec::new();
            for key in moment_names(self.rule.amsgrad) {
                let name = format!("{}.{key}", slot.name);
                let moment = find(name.clone())?;
                if moment.dims() != slot.var.dims() {
                    let (found, expected) = (moment.dims().to_vec(), slot.var.dims().to_vec());
                    return Err(StateError::Shape { name, found, expected });
                }
                rows.push(moment.flatten_all()?.to_dtype(DType::F32)?);
            }
            let steps = find(format!("{}.step", slot.name))?.to_dtype(DType::I64)?;
            let steps = steps.flatten_all()?.get(0)?.to_scalar::<i64>()? as u64;
            restored.push((Tensor::stack(&rows, 0)?.to_device(slot.var.device())?, steps));
        }
        for (slot, (moments, steps)) in self.slots.iter_mut().zip(restored) {
            (slot.moments, slot.steps) = (moments, steps);
        }
        Ok(())
    }
}

fn moment_names(amsgrad: bool) -> impl Iterator<Item = &'static str> {
    ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"].into_iter().take(if amsgrad { 3 } else { 2 })
}

/// The scalars of one parameter's update.
#[derive(Clone, Copy)]
struct Update {
    rule: Rule,
    scale: f32,
    step_size: f32,
    root_correction: f32,
}

/// All parameters at once.
#[cfg(feature = "cuda")]
fn on_cuda(updates: &[(&Slot, &Tensor, Update)]) -> Result<()> {
    let Some((_, _, Update { rule, scale, .. })) = updates.first() else { return Ok(()) };
    let Rule { beta1, beta2, eps, amsgrad, weight_decay } = *rule;
    let rule = AdamRule { amsgrad, scale: *scale, weight_decay, betas: [beta1, beta2], eps };
    let updates = updates.iter().map(|(slot, gradient, update)| AdamUpdate {
        gradient,
        parameter: &slot.var,
        moments: &slot.moments,
        step_size: update.step_size,
        root_correction: update.root_correction,
    });
    adam(&rule, &updates.collect::<Vec<_>>())
}

fn span(layout: &Layout, name: &str) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("{name} needs contiguous tensors"),
    }
}

fn f32_slice<'a>(storage: &'a CpuStorage, layout: &Layout, name: &str) -> Result<&'a [f32]> {
    Ok(&storage.as_slice::<f32>()?[span(layout, name)?])
}

fn f32_slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout, name: &str) -> Result<&'a mut [f32]> {
    let span = span(layout, name)?;
    match storage {
        CpuStorage::F32(values) => Ok(&mut values[span]),
        other => bail!("{name} needs f32, not {:?}", candle_core::backend::BackendStorage::dtype(other)),
    }
}

/// moments <- (gradient, parameter).
struct MomentsOp(Update);

impl InplaceOp3 for MomentsOp {
    fn name(&self) -> &'static str {
        "adam moments"
    }

    fn cpu_fwd(
        &self,
        moments: &mut CpuStorage,
        moments_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
        parameter: &CpuStorage,
        parameter_layout: &Layout,
    ) -> Result<()> {
        let Update { rule: Rule { beta1, beta2, amsgrad, weight_decay, .. }, scale, .. } = self.0;
        let gradient = f32_slice(gradient, gradient_layout, self.name())?;
        let parameter = f32_slice(parameter, parameter_layout, self.name())?;
        let moments = f32_slice_mut(moments, moments_layout, self.name())?;
        let (first, rest) = moments.split_at_mut(gradient.len());
        let (second, largest) = rest.split_at_mut(gradient.len());
        let factors = [scale, weight_decay, beta1, beta2];
        let advance = |first: &mut [f32], second: &mut [f32], gradient: &[f32], parameter: &[f32]| {
            advance(first, second, [gradient, parameter], factors);
        };
        if gradient.len() <= CHUNK {
            advance(first, second, gradient, parameter);
            if amsgrad {
                raise(largest, second);
            }
            return Ok(());
        }
        let inputs = gradient.par_chunks(CHUNK).zip(parameter.par_chunks(CHUNK));
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        moments.zip(inputs).for_each(|((m, v), (g, p))| advance(m, v, g, p));
        if amsgrad {
            largest.par_chunks_mut(CHUNK).zip(second.par_chunks(CHUNK)).for_each(|(l, v)| raise(l, v));
        }
        Ok(())
    }
}

/// parameter <- moments.
struct ParameterOp(Update);

impl InplaceOp2 for ParameterOp {
    fn name(&self) -> &'static str {
        "adam parameter"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        moments: &CpuStorage,
        moments_layout: &Layout,
    ) -> Result<()> {
        let Update { rule, step_size, root_correction, .. } = self.0;
        let moments = f32_slice(moments, moments_layout, self.name())?;
        let parameter = f32_slice_mut(parameter, parameter_layout, self.name())?;
        let n = parameter.len();
        let second = if rule.amsgrad { &moments[2 * n..] } else { &moments[n..] };
        let first = &moments[..n];
        let factors = [step_size, root_correction, rule.eps];
        let descend = |parameter: &mut [f32], first: &[f32], second: &[f32]| {
            descend(parameter, first, second, factors);
        };
        if n <= CHUNK {
            descend(parameter, first, second);
            return Ok(());
        }
        let moments = first.par_chunks(CHUNK).zip(second.par_chunks(CHUNK));
        parameter.par_chunks_mut(CHUNK).zip(moments).for_each(|(p, (m, v))| descend(p, m, v));
        Ok(())
    }
}

wide! {
    /// First and second moments from gradients and parameters.
    fn advance(first: &mut [f32], second: &mut [f32], inputs: [&[f32]; 2], factors: [f32; 4]) {
        let ([gradient, parameter], [scale, weight_decay, beta1, beta2]) = (inputs, factors);
        let inputs = gradient.iter().zip(parameter);
        for ((m, v), (&g, &p)) in first.iter_mut().zip(second).zip(inputs) {
            let g = g * scale + weight_decay * p;
            *m += (1.0 - beta1) * (g - *m);
            *v = *v * beta2 + (1.0 - beta2) * g * g;
        }
    }

    fn raise(largest: &mut [f32], second: &[f32]) {
        for (largest, &v) in largest.iter_mut().zip(second) {
            *largest = if v > *largest { v } else { *largest };
        }
    }

    fn descend(parameter: &mut [f32], first: &[f32], second: &[f32], factors: [f32; 3]) {
        let [step_size, root_correction, eps] = factors;
        for ((p, &m), &v) in parameter.iter_mut().zip(first).zip(second) {
            *p -= step_size * (m / (v.sqrt() / root_correction + eps));
        }
    }
}

#[cfg(all(test, feature = "cuda"))]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Role;
    use crate::random::Stream;

    /// Three steps of parameters of many sizes, one of which has no gradient in the second step.
    #[test]
    #[ignore = "needs a GPU"]
    fn cuda_moves_parameters_as_the_cpu_does() -> Result<()> {
        let sizes = [3, 40_000, 1, 1 << 14, (1 << 14) + 1, 70];
        let moved = |device: &Device, amsgrad: bool| -> Result<Vec<Vec<f32>>> {
            let mut stream = Stream::new(0, "adam");
            let mut random = |n: usize| {
                let numbers: Vec<f32> = (0..n).map(|_| stream.range(-1.0, 1.0) as f32).collect();
                Tensor::from_vec(numbers, n, device)
            };
            let parameters = sizes.iter().enumerate().map(|(i, &n)| {
                let name = if i == 1 { format!("{BACKBONE}weight") } else { format!("weight{i}") };
                Ok(Parameter { name, var: Var::from_tensor(&random(n)?)?, role: Role::Trainable })
            });
            let parameters = parameters.collect::<Result<Vec<_>>>()?;
            let config = TrainConfig {
                amsgrad,
                backbone_lr_factor: 0.1,
                weight_decay: 0.01,
                ..TrainConfig::default()
            };
            let mut adam = Adam::new(&parameters, &config)?;
            for step in 0..3 {
                let gradients = parameters.iter().enumerate().map(|(i, parameter)| {
                    let gradient = random(parameter.var.elem_count())?;
                    Ok((step != 1 || i != 3).then_some(gradient))
                });
                adam.step(&Gradients::of(gradients.collect::<Result<_>>()?), 0.5, 0.1)?;
            }
            parameters.iter().map(|parameter| parameter.var.as_detached_tensor().to_vec1()).collect()
        };
        for amsgrad in [false, true] {
            let (found, expected) = (moved(&Device::new_cuda(0)?, amsgrad)?, moved(&Device::Cpu, amsgrad)?);
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!((found - expected).abs() <= 1e-5, "{found} on CUDA, {expected} on the CPU");
            }
        }
        Ok(())
    }
}
