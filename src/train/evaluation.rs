//! What a training does between epochs: evaluate, remember the best, save.

use super::{TrainError, Trainer};
use crate::checkpoint::{Pointer, Snapshot, TrainState};
use crate::eval::{Drawings, EvalOptions, evaluate};
use crate::parallel::world;
use crate::report::{LOSS_PARTS, Protocol, Weights, append_results, plot_results};

/// Pictures of answers at each evaluation.
const DRAWINGS: usize = 6;

impl Trainer {
    /// Scores the raw and the averaged weights on `val`; returns which marks move here.
    pub(super) fn evaluate(
        &mut self,
        epoch: usize,
        stop: &dyn Fn(&TrainState) -> bool,
    ) -> Result<Vec<Pointer>, TrainError> {
        let mut networks = vec![(Weights::Raw, &self.inference)];
        networks.extend(self.average.as_ref().map(|average| (Weights::Ema, &average.network)));
        let best_weights = networks[networks.len() - 1].0;
        let folder = self.run.samples().join(format!("epoch-{epoch:03}"));
        let options = EvalOptions {
            batch_size: self.config.train.batch_size,
            workers: self.config.data.workers,
            limit: self.config.train.eval_limit,
            marks: false,
            drawings: Some(Drawings { folder, count: DRAWINGS }),
            stop: Some(&|| stop(&self.state)),
            ..EvalOptions::default()
        };
        let report = evaluate(&networks, &self.val, &self.config, &self.device, options, &self.log)?;
        if !world().is_root() {
            return Ok(Vec::new());
        }

        let mut rows = report.rows(epoch, self.state.step);
        let state = &self.state;
        for row in &mut rows {
            row.loss = (state.loss_batches > 0).then(|| state.loss_sum / state.loss_batches as f64);
            row.loss_parts = LOSS_PARTS.map(|name| {
                let &(sum, batches) = state.loss_parts.get(name)?;
                (batches > 0).then(|| sum / batches as f64)
            });
            row.lr = Some(state.lr);
            row.samples_per_s =
                (state.sample_seconds > 0.0).then(|| state.samples as f64 / state.sample_seconds);
            row.seconds = Some(state.seconds);
        }
        append_results(&self.run.results(), &rows)?;
        self.log.line(format!("after epoch {epoch}\n{}", report.table()))?;
        plot_results(&self.run.results(), &self.run.curves())?;

        // Nothing fails from here on: the state is that before the evaluation, or the one after it.
        let state = &mut self.state;
        state.scores.extend(rows);
        (state.loss_sum, state.loss_batches, state.samples, state.sample_seconds) = (0.0, 0, 0, 0.0);
        state.loss_parts.clear();
        let mut moved = Vec::new();
        if let Some(scores) = report.scores(best_weights, Protocol::Standard) {
            let pairs = [
                (Pointer::SegmBest, scores.miou, &mut state.best_segm),
                (Pointer::DetBest, scores.box_acc, &mut state.best_det),
            ];
            for (mark, score, best) in pairs {
                if score.is_some_and(|score| best.is_none_or(|best| score > best)) {
                    *best = score;
                    moved.push(mark);
                }
            }
        }
        Ok(moved)
    }

    /// Writes a checkpoint, and points these marks to it.
    pub(super) fn save(&mut self, best: &[Pointer]) -> Result<(), TrainError> {
        if !world().is_root() {
            return Ok(());
        }
        if let Some(average) = &self.average {
            self.state.ema_updates = average.ema.updates();
        }
        let tensors = self.parameters.all().into_iter();
        let snapshot = Snapshot {
            config: &self.config,
            vocabulary: self.train.vocabulary(),
            state: &self.state,
            model: tensors.map(|p| (p.name, p.var.as_detached_tensor())).collect(),
            ema: self.average.as_ref().map(|average| average.ema.weights()),
            optimizer: Some(self.adam.state()?),
        };
        let folder = self.store.save(&snapshot, best, self.config.train.keep)?;
        let marks: String = best.iter().map(|mark| format!(", {mark}")).collect();
        self.log.line(format!("saved {}{marks}", folder.display()))?;
        Ok(())
    }
}
