//! The first steps of a training.

use super::case::Case;
use super::finding::{Finding, Findings, relative};
use super::{Golden, GoldenError, TRAINED};
use crate::config::TrainConfig;
use crate::nn::Pass;
use crate::random::Stream;
use crate::train::{Adam, Gradients, clip_factor};

impl Golden {
    /// Four steps of Adam (amsgrad, clip 0.15) on the same batch: losses, and norms of the gradients before
    /// clipping.
    ///
    /// # Errors
    /// If the case can't be read, or the network refuses it.
    pub fn check_curve(&self) -> Result<Vec<Finding>, GoldenError> {
        const STEPS: u64 = 4;
        let case = Case::read(&self.folder, TRAINED)?;
        let (network, parameters) = self.filled_network(&case)?;
        let (trainable, config) = (parameters.trainable(), TrainConfig::default());
        let mut adam = Adam::new(&trainable, &config)?;
        let mut findings = Findings::of("curve");
        for step in 0..STEPS {
            let pass = Pass::training(Stream::new(0, "dropout").child(step));
            let loss = network.loss(&case.inputs(&self.device)?, &case.targets()?, &pass)?.total;
            let gradients = Gradients::take(&mut loss.backward()?, &trainable)?;
            let norm = gradients.norm()?;
            let at = format!("step {}", step + 1);
            let recorded = |key: &str| case.record.number(&format!("/train_curve/{key}/{step}"));
            let apart = relative(f64::from(loss.to_scalar::<f32>()?), recorded("loss")?);
            findings.note("losses", &at, apart, self.tolerances.curve);
            let apart = relative(norm, recorded("grad_norm_before_clip")?);
            findings.note("gradient norms", &at, apart, self.tolerances.curve_norms);
            adam.step(&gradients, clip_factor(norm, config.clip), config.lr)?;
        }
        Ok(findings.done())
    }
}
