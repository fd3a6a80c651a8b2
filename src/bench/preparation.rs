//! How long samples take to prepare.

use std::hint::black_box;
use std::time::Instant;

use super::Phase;
use super::machine::thread_cpu_seconds;
use crate::config::Config;
use crate::data::{Batch, DataError, Dataset, Plan, Preparation, Visit};

/// The first `samples` samples of a training's first epoch, one after the other on this thread, without images
/// kept in memory; each run is all of them.
///
/// # Errors
/// As [`Dataset::open`] and [`Dataset::sample`].
pub fn preparation(config: &Config, samples: usize, runs: usize) -> Result<Vec<Phase>, DataError> {
    let dataset = Dataset::open(&config.data, &config.data.train_annotations, "train")?;
    let visit =
        Visit { seed: config.train.seed, epoch: 0, batch_size: 1, referents_per_image: 1, batches: samples };
    let plan = Plan::training(&dataset, &visit);
    let preparation = Preparation::training(config);
    let mut phases =
        ["reading, decoding", "frame, mask, vertices", "into the batch"].map(|name| Phase::new(name, 0.0));
    // The first, which is not timed, brings the files into the system's memory.
    for run in 0..=runs {
        let mut spent = [[0.0; 2]; 3];
        for entries in (0..plan.len()).flat_map(|batch| plan.images(&dataset, batch)) {
            let mut clock = Clock::start();
            let image = dataset.image_from_file(entries[0].referent)?;
            clock.lap(&mut spent[0]);
            let sample = dataset.sample_of(image, entries, &preparation, &mut plan.stream(&entries[0]))?;
            clock.lap(&mut spent[1]);
            black_box(Batch::collate(vec![sample], dataset.max_words()));
            clock.lap(&mut spent[2]);
        }
        if run > 0 {
            for (phase, [seconds, cpu_seconds]) in phases.iter_mut().zip(spent) {
                phase.seconds.push(seconds);
                phase.cpu_seconds.push(cpu_seconds);
            }
        }
    }
    Ok(phases.into())
}

/// Time by the clock and of this thread. The system brings the latter up to date every few milliseconds: it is
/// right for a run, and for its parts as far as a sample of many moments is.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), thread_cpu_seconds().unwrap_or(f64::NAN))
    }

    /// Adds what has passed since the last time.
    fn lap(&mut self, [seconds, cpu_seconds]: &mut [f64; 2]) {
        let now = Self::start();
        *seconds += (now.0 - self.0).as_secs_f64();
        *cpu_seconds += now.1 - self.1;
        *self = now;
    }
}
