//! The last words of a training.

use super::{TrainError, Trainer};
use crate::checkpoint::{Pointer, TrainState};
use crate::config::Transform;
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
        // Not known of an outline network where no record has a mask.
        let ceiling = report.mark(Mark::Ceiling, Protocol::Standard).and_then(figure);
        let ceiling = ceiling.map_or(String::new(), |value| format!(", {most} {value:.1}"));
        self.log.line(format!(
            "{} {name} {} ({weights} weights); a model that ignores the words reaches at most {}, this one with \
             the words of an image permuted {}{ceiling}",
            report.split,
            text(own),
            mark(Mark::Blind),
            mark(Mark::Permuted),
        ))?;
        Ok(())
    }

    fn next_steps(&self, run: &str) -> String {
        let best = [Pointer::SegmBest, Pointer::DetBest].into_iter().find(|&best| self.store.has(best));
        let pointer = best.unwrap_or(Pointer::Latest);
        let checkpoint = format!("{run}/checkpoints/{pointer}");
        let longer = 2 * self.config.train.epochs;
        let use_it = if self.config.data.train_transform == Transform::CloseUp {
            // It looks where it is told to: at known boxes, or at what another network finds.
            format!(
                "partial-res label --checkpoint {checkpoint}\n      \
                 partial-res eval --checkpoint FINDER --second-look {checkpoint} --draw pictures"
            )
        } else {
            let asked = |referent| Some((referent, self.val.referent(referent).askable().next()?));
            let (referent, words) = match (0..self.val.len()).find_map(asked) {
                Some((referent, i)) => (referent, self.val.referent(referent).expressions[i].as_str()),
                None => (0, "the dog"),
            };
            let image = self.val.image_path(referent).display();
            format!(
                "partial-res eval --checkpoint {checkpoint} --draw pictures\n      \
                 partial-res predict --checkpoint {checkpoint} --image {image} --expression \"{words}\""
            )
        };
        format!("next: {use_it}\n      partial-res train … --set train.epochs={longer}")
    }
}
