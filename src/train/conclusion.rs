//! The last words of a training.

use super::{TrainError, Trainer};
use crate::checkpoint::{Pointer, TrainState};
use crate::eval::{EvalError, EvalOptions, Mark, SplitReport, evaluate};
use crate::parallel::world;
use crate::report::{Protocol, Scores, Weights};

impl Trainer {
    /// Scores the final weights beside the three marks, and says where things are and what to try. When
    /// `stop` says so meanwhile, only the latter: everything is saved already.
    pub fn conclude(&self, stop: &dyn Fn(&TrainState) -> bool) -> Result<(), TrainError> {
        let (weights, network) = match &self.average {
            Some(average) => (Weights::Ema, &average.network),
            None => (Weights::Raw, &self.inference),
        };
        let options = EvalOptions {
            batch_size: self.config.train.batch_size,
            workers: self.config.data.workers,
            limit: self.config.train.eval_limit,
            stop: Some(&|| stop(&self.state)),
            ..EvalOptions::default()
        };
        let networks = [(weights, network)];
        let report = match evaluate(&networks, &self.val, &self.config, &self.device, options, &self.log) {
            Ok(report) => Some(report),
            Err(EvalError::Stopped) => None,
            Err(other) => return Err(other.into()),
        };
        if !world().is_root() {
            return Ok(());
        }
        match report {
            Some(report) => self.say_scores(&report, weights)?,
            None => self.log.line("stopped in the last evaluation; the training is complete and saved")?,
        }
        let run = self.run.path().display();
        let minutes = self.state.seconds / 60.0;
        self.log.line(format!(
            "{:.1} minutes of training; curves: {run}/results.png, pictures: {run}/samples, checkpoints: \
             {run}/checkpoints",
            minutes
        ))?;
        self.log.line(self.next_steps(&run.to_string()))?;
        Ok(())
    }

    fn say_scores(&self, report: &SplitReport, weights: Weights) -> Result<(), TrainError> {
        self.log.line(format!("\n{}", report.table()))?;
        let own = report.scores(weights, Protocol::Standard);
        // None for boxes, nor where no record has a mask.
        type Figure = fn(&Scores) -> Option<f64>;
        let (name, most, figure): (_, _, Figure) = match own.and_then(|scores| scores.miou) {
            Some(_) => ("mIoU", "the vertices allow", |scores| scores.miou),
            None => ("box accuracy", "perfect tokens reach", |scores| scores.box_acc),
        };
        let text = |scores: Option<&Scores>| {
            scores.and_then(figure).map_or("none".to_owned(), |value| format!("{value:.1}"))
        };
        let mark = |mark| text(report.mark(mark, Protocol::Standard));
        self.log.line(format!(
            "{} {name} {} ({weights} weights); a model that ignores the words reaches at most {}, this one with \
             the words of an image permuted {}, {most} {}",
            report.split,
            text(own),
            mark(Mark::Blind),
            mark(Mark::Permuted),
            mark(Mark::Ceiling),
        ))?;
        Ok(())
    }

    fn next_steps(&self, run: &str) -> String {
        let best = [Pointer::SegmBest, Pointer::DetBest].into_iter().find(|&best| self.store.has(best));
        let pointer = best.unwrap_or(Pointer::Latest);
        let checkpoint = format!("{run}/checkpoints/{pointer}");
        let longer = 2 * self.config.train.epochs;
        let image = self.val.image_path(0).display();
        let words = self.val.referent(0).expressions.first().map_or("the dog", String::as_str);
        format!(
            "next: partial-res eval --checkpoint {checkpoint} --draw pictures\n      \
             partial-res predict --checkpoint {checkpoint} --image {image} --expression \"{words}\"\n      \
             partial-res train … --set train.epochs={longer}"
        )
    }
}
