//! What happened since the last log line.

use super::accuracy::Accuracy;

#[derive(Clone, Debug, Default)]
pub(super) struct Interval {
    loss_sum: f64,
    batches: usize,
    last_loss: f64,
    /// Sums of what the loss is made of, before the weights; none where it is the tokens' alone.
    parts: Vec<(&'static str, f64)>,
    /// Of the whole gradient of the last step, before clipping.
    pub norm: f64,
    /// Of the last batch.
    pub accuracy: Accuracy,
    pub samples: usize,
    /// All in all, and of it spent waiting for batches.
    pub seconds: f64,
    pub data_seconds: f64,
}

impl Interval {
    pub fn loss(&mut self, value: f64) {
        self.loss_sum += value;
        self.batches += 1;
        self.last_loss = value;
    }

    /// The parts of the same loss.
    pub fn parts(&mut self, parts: impl IntoIterator<Item = (&'static str, f64)>) {
        for (name, value) in parts {
            match self.parts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += value,
                None => self.parts.push((name, value)),
            }
        }
    }

    /// Beside the progress bar.
    pub fn note(&self) -> String {
        format!("loss {:.4}", self.last_loss)
    }

    /// A line of the log. `box acc` and `mIoU` are of the last batch, teacher-forced.
    pub fn line(&self, epoch: &str, step: usize, lr: f64) -> String {
        let mean = |sum: f64| sum / self.batches.max(1) as f64;
        let loss = mean(self.loss_sum);
        let parts: Vec<String> =
            self.parts.iter().map(|(name, sum)| format!("{name} {:.4}", mean(*sum))).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        let mut line =
            format!("{epoch}  step {step}  loss {loss:.4}{parts}  lr {lr:.2e}  norm {:.2}", self.norm);
        if let Some(box_acc) = self.accuracy.box_acc {
            line += &format!("  box acc {box_acc:.1}");
        }
        if let Some(miou) = self.accuracy.miou {
            line += &format!("  mIoU {miou:.1}");
        }
        let rate = self.samples as f64 / self.seconds.max(1e-9);
        let compute = self.seconds - self.data_seconds;
        line + &format!("  {rate:.1} samples/s  data {:.1} s  compute {compute:.1} s", self.data_seconds)
    }
}
