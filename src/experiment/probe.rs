//! How fast a training will be.

use super::ExperimentError;
use super::make::Workplace;
use super::source::TRAIN;
use super::work::{Annotated, Training, Work};
use crate::data::{Annotations, INSTANCES};
use crate::pseudo::{SampleOptions, sample_into};
use crate::report::{Log, Weights};
use crate::train::{RunFolder, Trainer};

/// Steps that warm up, and steps of which the later ones are measured; fewer where they take long, but one of each.
const STEPS: [usize; 2] = [4, 12];
/// After so many seconds.
const PATIENCE: [f64; 2] = [5.0, 20.0];
/// Pixels of a batch on the CPU, which larger batches make no faster there: a step of 128 images of 640 pixels
/// takes minutes.
const PIXELS: usize = 8 * 640 * 640;

/// Rows per second of a dozen steps of a training, in a folder that is removed again. Its masks are a
/// sample where it would learn from one.
pub fn rows_per_second(training: &Training, place: &Workplace<'_>) -> Result<f64, ExperimentError> {
    let folder = tempfile::tempdir().map_err(ExperimentError::io(std::env::temp_dir()))?;
    let mut config = training.config.clone();
    config.train.epoch_steps = STEPS[1] + 1;
    if place.device.is_cpu() {
        let side = config.data.image_size;
        config.train.batch_size = config.train.batch_size.min((PIXELS / (side * side)).max(1));
        config.train.accumulate = 1;
    }
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
    for (place_in_row, measured) in measured.iter_mut().enumerate() {
        let (begun, steps, patience) = (trainer.state().step, STEPS[place_in_row], PATIENCE[place_in_row]);
        trainer.try_out(&|state| {
            let long = state.step > begun && state.seconds >= patience;
            state.step >= steps || long || (place.stop)()
        })?;
        *measured = (trainer.state().samples, trainer.state().seconds);
    }
    let [(warm, before), (all, after)] = measured;
    Ok((all - warm) as f64 / (after - before).max(1e-9))
}
