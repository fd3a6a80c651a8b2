//! Adam on a small regression.

use candle_core::{DType, Var};

use super::case::Record;
use super::finding::{Finding, Findings, difference, relative};
use super::{Golden, GoldenError};
use crate::config::TrainConfig;
use crate::nn::{Parameter, Role};
use crate::train::{Adam, Gradients, clip_factor};

impl Golden {
    /// One of [`super::OPTIMISERS`]: five steps on sum((tanh(X Wᵀ + B) - Y)²), the loss of step i times 0.3^i.
    /// With `interrupted` the optimiser is saved and restored before each.
    ///
    /// # Errors
    /// If the case can't be read.
    pub fn check_optimiser(&self, name: &str, interrupted: bool) -> Result<Vec<Finding>, GoldenError> {
        let record = Record::read(&self.folder, "optim/optim")?;
        let steps = record.json[name].as_array().ok_or_else(|| record.bad_field(name, "a list of steps"))?;
        let config = settings(name);
        let on_device = |name: &str| Ok::<_, GoldenError>(record.tensor(name)?.to_device(&self.device)?);
        let (x, y) = (on_device("X")?, on_device("Y")?);
        let (w, b) = (Var::from_tensor(&on_device("W0")?)?, Var::from_tensor(&on_device("B0")?)?);
        let parameters = [("W", &w), ("B", &b)].map(|(name, var)| Parameter {
            name: name.to_owned(),
            var: var.clone(),
            role: Role::Trainable,
        });
        let mut adam = Adam::new(&parameters, &config)?;
        let mut findings = Findings::of(name);
        let tolerance = self.tolerances.optimiser;
        for i in 0..steps.len() {
            let at = format!("step {}", i + 1);
            if interrupted {
                let state = adam.state()?;
                adam = Adam::new(&parameters, &config)?;
                adam.restore(&state)?;
            }
            let out = x.matmul(&w.t()?)?.broadcast_add(&b)?.tanh()?;
            let loss = ((out - &y)?.sqr()?.sum_all()? * 0.3f64.powi(i as i32))?;
            let expected = record.number(&format!("/{name}/{i}/loss"))?;
            let apart = (f64::from(loss.to_scalar::<f32>()?) - expected).abs();
            findings.note("losses", &at, apart, 10.0 * tolerance);
            let gradients = Gradients::take(&mut loss.backward()?, &parameters)?;
            let norm = gradients.norm()?;
            if let Ok(expected) = record.number(&format!("/{name}/{i}/grad_norm")) {
                findings.note("gradient norms", &at, relative(norm, expected), 10.0 * tolerance);
            }
            let scale = clip_factor(norm, config.clip);
            let clipped = (record.tensor(&format!("{name}.grad{}.W", i + 1))? * scale)?;
            let expected = record.tensor(&format!("{name}.clipped{}.W", i + 1))?;
            findings.note("clipped gradients", &at, difference(&clipped, expected)?, tolerance);
            adam.step(&gradients, scale, record.number(&format!("/{name}/{i}/lr"))?)?;
            for parameter in &parameters {
                let expected = record.tensor(&format!("{name}.{}{}", parameter.name, i + 1))?;
                findings.note("parameters", &at, difference(&parameter.var, expected)?, tolerance);
            }
        }
        for (key, found) in adam.state()? {
            let expected = record.tensor(&format!("{name}.state.{key}"))?;
            let exact = if key.ends_with(".step") { 0.0 } else { tolerance };
            findings.note("state", &key, difference(&found.to_dtype(DType::F32)?, expected)?, exact);
        }
        Ok(findings.done())
    }
}

/// What a case was recorded with; otherwise the reference's settings.
fn settings(name: &str) -> TrainConfig {
    let config = TrainConfig::default();
    match name {
        "adam_noclip" => TrainConfig { clip: 0.0, ..config },
        "adam_noamsgrad" => TrainConfig { amsgrad: false, ..config },
        "adam_wd" => TrainConfig { weight_decay: 0.01, ..config },
        _ => config,
    }
}
