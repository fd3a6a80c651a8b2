//! Making steps one after the other.

use std::sync::Arc;
use std::time::Duration;

use super::make::{Made, Workplace};
use super::{Done, ExperimentError, Outcome, Step};

/// Between looks at a step that another process makes.
const PAUSE: Duration = Duration::from_millis(500);

/// How a row of steps ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    Done,
    Stopped,
    /// Another process makes one of them.
    Busy,
}

impl Workplace<'_> {
    /// Makes steps, each after what it needs. If another process is at one of them it is waited for, or,
    /// without `wait`, left to it.
    pub fn run(&self, steps: &[Arc<Step>], wait: bool) -> Result<Ran, ExperimentError> {
        for (number, step) in steps.iter().enumerate() {
            if self.store.done(step)?.is_some() {
                continue;
            }
            let place = format!("[{}/{}] {}", number + 1, steps.len(), step.title());
            loop {
                match self.make(step, &place)? {
                    Made::Done(done) => {
                        self.log.line(format!("{place}: {}", told(&done)))?;
                        break;
                    }
                    Made::Stopped => {
                        self.log.line(format!("{place}: stopped; the same command goes on from here"))?;
                        return Ok(Ran::Stopped);
                    }
                    Made::Busy if !wait => return Ok(Ran::Busy),
                    Made::Busy if (self.stop)() => return Ok(Ran::Stopped),
                    Made::Busy => std::thread::sleep(PAUSE),
                }
            }
        }
        Ok(Ran::Done)
    }
}

/// One line.
fn told(done: &Done) -> String {
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let what = match &done.outcome {
        Outcome::Trained(trained) => {
            let last = percent(trained.curve.last().map(|(_, score)| *score));
            format!("{} steps, {last} on val", trained.steps)
        }
        Outcome::Drawn { records, of } => format!("{records} of {of} records"),
        Outcome::Labelled { referents } => format!("{referents} referents"),
        Outcome::Picked(quality) => {
            format!("kept {} of {}, true IoU {}", quality.kept, quality.unlabelled, percent(quality.iou))
        }
        Outcome::Evaluated { splits } => {
            let scores = splits.iter().map(|split| format!("{} {}", split.split, percent(split.scores.miou)));
            format!("mIoU {}", scores.collect::<Vec<_>>().join(", "))
        }
    };
    match done.seconds {
        seconds if seconds < 60.0 => format!("{what}; {seconds:.1} s"),
        seconds => format!("{what}; {:.1} min", seconds / 60.0),
    }
}
