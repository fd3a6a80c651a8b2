//! How fast a training will be.

use super::ExperimentError;
use super::make::Workplace;
use super::source::TRAIN;
use super::work::{Annotated, Training, Work};
use crate::data::{Annotations, INSTANCES};
use crate::pseudo::{SampleOptions, sample_into};
use crate::report::{Log, Weights};
use crate::train::{RunFolder, Trainer};

/// Steps that warm up, and steps that are measured.
const STEPS: [usize; 2] = [4, 12];

/// Rows per second of a dozen steps of a training, in a folder that is removed again. Its masks are a
/// sample where it would learn from one.
pub fn rows_per_second(training: &Training, place: &Workplace<'_>) -> Result<f64, ExperimentError> {
    let folder = tempfile::tempdir().map_err(ExperimentError::io(std::env::temp_dir()))?;
    let mut config = training.config.clone();
    config.train.epoch_steps = STEPS[1] + 1;
    config.data.train_annotations = match &training.annotations {
        Annotated::All => INSTANCES.to_owned(),
        Annotated::Some(step) => {
            let (ratio, seed) = match &step.work {
                Work::Sample(sampling) => (sampling.ratio, sampling.seed),
                _ => (1, 0),
            };
            let all = Annotations::read(&training.source.path)?;
            let options = SampleOptions { split: TRAIN.to_owned(), ratio, seed, force: false };
            let drawn = sample_into(folder.path(), &all, &options)?;
            folder.path().join(drawn.file).display().to_string()
        }
    };
    config.train.finetune_from = None;
    let run = RunFolder::at(folder.path().join("run"), &config)?;
    let mut trainer = Trainer::begin(config, run, Weights::Raw, place.device, Log::quiet())?;
    let mut measured = [(0, 0.0); 2];
    for (steps, measured) in STEPS.into_iter().zip(&mut measured) {
        trainer.try_out(&|state| state.step >= steps || (place.stop)())?;
        *measured = (trainer.state().samples, trainer.state().seconds);
    }
    let [(warm, before), (all, after)] = measured;
    Ok((all - warm) as f64 / (after - before).max(1e-9))
}
