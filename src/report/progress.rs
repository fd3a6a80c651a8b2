//! Progress bars.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// A bar on the terminal's error stream; nothing at all where there is no terminal.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar that shows nothing.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// A bar of `total` items called `unit`, under the bars that `bars` has already. indicatif hides
    /// bars by itself when the error stream is no terminal.
    pub(super) fn among(bars: &MultiProgress, total: u64, label: &str, unit: &str) -> Self {
        let bar = bars.add(ProgressBar::new(total));
        let template = format!(
            "{{prefix:>12.bold}} [{{bar:30}}] {{pos}}/{{len}} {unit} ({{per_sec}}, {{eta}} left) {{msg}}"
        );
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(label.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar }
    }

    pub fn advance(&self, items: u64) {
        self.bar.inc(items);
    }

    /// Where the number of items becomes known late.
    pub fn set_length(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Begins at `items`, such as where a resumed run stands: what was done before says nothing about the speed.
    pub fn set_position(&self, items: u64) {
        self.bar.set_position(items);
        // indicatif sees where the bar stands when a message is set; not seen before the reset, the way there
        // would count as done in no time.
        self.bar.set_message("");
        self.bar.reset_eta();
    }

    /// Words after the bar: the loss, the file.
    pub fn note(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::ProgressDrawTarget;

    #[test]
    fn the_speed_is_of_what_was_done_since_the_beginning() {
        let nowhere = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let progress = Progress::among(&nowhere, 200_000, "epoch 1/1", "batches");
        progress.set_position(100_000);
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(5));
            progress.advance(1);
            progress.note("loss 1.0");
        }
        let speed = progress.bar.per_sec();
        assert!(speed > 1.0 && speed <= 200.0, "{speed}");
    }
}
