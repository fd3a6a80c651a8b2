//! The last words of a training.

use super::{TrainError, Trainer};
use crate::config::Task;
use crate::eval::{EvalOptions, Mark, evaluate};
use crate::parallel::world;
use crate::report::{Protocol, Scores, Weights};

impl Trainer {
    /// Scores the final weights beside the three marks, and says where things are and what to try.
    pub fn conclude(&self) -> Result<(), TrainError> {
        let (weights, network) = match &self.average {
            Some(average) => (Weights::Ema, &average.network),
            None => (Weights::Raw, &self.inference),
        };
        let options = EvalOptions {
            batch_size: self.config.train.batch_size,
            workers: self.config.data.workers,
            limit: self.config.train.eval_limit,
            ..EvalOptions::default()
        };
        let report =
            evaluate(&[(weights, network)], &self.val, &self.config, &self.device, options, &self.log)?;
        if !world().is_root() {
            return Ok(());
        }
        self.log.line(format!("\n{}", report.table()))?;
        let (name, figure): (&str, fn(&Scores) -> Option<f64>) = match self.config.model.task {
            Task::Detection => ("box accuracy", |scores| scores.box_acc),
            Task::Segmentation | Task::MultiTask => ("mIoU", |scores| scores.miou),
        };
        let text = |scores: Option<&Scores>| {
            scores.and_then(figure).map_or("none".to_owned(), |value| format!("{value:.1}"))
        };
        let mark = |mark| text(report.mark(mark, Protocol::Standard));
        self.log.line(format!(
            "{} {name} {} ({weights} weights); a model that ignores the words reaches at most {}, this one with \
             the words of an image permuted {}, the vertices allow {}",
            report.split,
            text(report.scores(weights, Protocol::Standard)),
            mark(Mark::Blind),
            mark(Mark::Permuted),
            mark(Mark::Ceiling),
        ))?;
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

    fn next_steps(&self, run: &str) -> String {
        let best = match self.config.model.task {
            Task::Detection => "det_best",
            Task::Segmentation | Task::MultiTask => "segm_best",
        };
        let checkpoint = format!("{run}/checkpoints/{best}");
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
