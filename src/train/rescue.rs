//! What was trained is saved where the training can't go on.

use candle_core::Tensor;

use super::{TrainError, Trainer};
use crate::checkpoint::TrainState;
use crate::data::DataError;
use crate::nn::Parameter;
use crate::parallel::world;

/// What batches change before their step is taken.
pub(super) struct Before {
    state: TrainState,
    /// Running statistics of the batch norms.
    buffers: Vec<Tensor>,
}

impl Before {
    pub fn of(state: &TrainState, buffers: &[Parameter]) -> candle_core::Result<Self> {
        let buffers = buffers.iter().map(|buffer| buffer.var.as_detached_tensor().copy());
        Ok(Self { state: state.clone(), buffers: buffers.collect::<candle_core::Result<_>>()? })
    }

    fn restore(self, state: &mut TrainState, buffers: &[Parameter]) -> candle_core::Result<()> {
        *state = self.state;
        buffers.iter().zip(&self.buffers).try_for_each(|(buffer, before)| buffer.var.set(before))
    }
}

impl Trainer {
    /// A batch could not be read, here (`own`) or in another process: all go back to `before`, the beginning of the
    /// step, and give back why.
    pub(super) fn unread(
        &mut self,
        before: Option<Before>,
        own: Option<DataError>,
    ) -> Result<TrainError, TrainError> {
        if let Some(before) = before {
            before.restore(&mut self.state, &self.buffers)?;
        }
        let said = own.as_ref().map_or_else(String::new, ToString::to_string);
        let said = world().gather(said.as_bytes());
        let first = said.iter().enumerate().find(|(_, said)| !said.is_empty());
        let first = first.map(|(rank, said)| format!("process {rank}: {}", String::from_utf8_lossy(said)));
        let reason = world().broadcast(first.unwrap_or_default().into_bytes());
        Ok(match own {
            Some(own) => own.into(),
            None => TrainError::Elsewhere { reason: String::from_utf8_lossy(&reason).into_owned() },
        })
    }

    /// Saves after [`Trainer::unread`], so that the training goes on from there as if it had been read; returns why it was
    /// not.
    pub(super) fn save_unread(&mut self, failed: TrainError) -> TrainError {
        // Where nothing was trained there is nothing to keep.
        let told = match self.state.step {
            0 => Ok(()),
            _ => self.save(&[]).and_then(|()| {
                let run = self.run.path().display();
                let line = format!(
                    "stopped and saved in {}; `train --resume {run}` goes on from here when the images can be read, \
                     with `--set data.max_bad=N` also without up to N of them",
                    self.place()
                );
                Ok(self.log.line(line)?)
            }),
        };
        // None ends the others before the root has saved.
        world().any(false);
        with_failure_to_save(failed, told)
    }

    /// Saves as a stop during the evaluation does, so that only the evaluation has to be done again; returns
    /// what made it fail.
    pub(super) fn save_unevaluated(&mut self, failed: TrainError) -> TrainError {
        let epoch = self.state.epoch + 1;
        let told = self.save(&[]).and_then(|()| {
            let line = format!("epoch {epoch} could not be evaluated; `train --resume` begins with that");
            Ok(self.log.line(line)?)
        });
        with_failure_to_save(failed, told)
    }

    /// For people.
    pub(super) fn place(&self) -> String {
        format!("epoch {}, batch {}", self.state.epoch + 1, self.state.batch)
    }
}

fn with_failure_to_save(failed: TrainError, saved: Result<(), TrainError>) -> TrainError {
    match saved {
        Ok(()) => failed,
        Err(save) => TrainError::Unsaved { failed: Box::new(failed), save: Box::new(save) },
    }
}
