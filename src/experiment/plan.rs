//! What is to be done, before it is done.

use std::sync::Arc;

use super::step::{CODE, Step, in_order};
use super::store::{State, StepStore};
use super::work::{Annotated, Kind, Training, Work};
use super::{ExperimentError, Outcome};
use crate::report::Table;

/// Steps in an order in which they can be made.
#[derive(Clone, Debug)]
pub struct Plan {
    pub steps: Vec<(Arc<Step>, State)>,
}

impl Plan {
    /// These steps and all that they need.
    pub fn new<'a>(
        wanted: impl IntoIterator<Item = &'a Arc<Step>>,
        store: &StepStore,
    ) -> Result<Self, ExperimentError> {
        let steps = in_order(wanted).into_iter().map(|step| {
            let state = store.state(&step)?;
            Ok((step, state))
        });
        Ok(Self { steps: steps.collect::<Result<_, ExperimentError>>()? })
    }

    fn to_do(&self) -> impl Iterator<Item = &Training> {
        self.steps.iter().filter(|(_, state)| *state != State::Done).filter_map(|(step, _)| {
            match &step.work {
                Work::Train(training) => Some(&**training),
                Work::Sample(_) | Work::Label(_) | Work::Pick(_) | Work::Evaluate(_) => None,
            }
        })
    }

    /// The training whose speed tells the time: the last one that learns outlines from whole images, if any.
    pub fn probed(&self) -> Option<&Training> {
        let whole = |training: &&Training| training.kind() == Kind::Res;
        self.to_do().filter(whole).last().or(self.to_do().last())
    }

    /// Where the trainings of outlines are of different lengths, since each passes over its own masks: the
    /// fewest and the most steps, and the `train.epoch_steps` that makes all as long as the longest.
    pub fn unequal_steps(&self) -> Option<[usize; 3]> {
        let of_outlines = self.steps.iter().filter_map(|(step, _)| match &step.work {
            Work::Train(training) if step.kind() == Kind::Res => Some(training),
            _ => None,
        });
        let shortest = of_outlines.clone().map(|training| training.steps()).min()?;
        let longest = of_outlines.max_by_key(|training| training.steps())?;
        let most = longest.steps();
        (shortest < most).then(|| [shortest, most, most / longest.config.train.epochs.max(1)])
    }

    /// Steps that are done, and how many of them by a program with other code than this one's ([`CODE`]).
    pub fn done(&self, store: &StepStore) -> Result<[usize; 2], ExperimentError> {
        let mut counts = [0; 2];
        for (step, _) in self.steps.iter().filter(|(_, state)| *state == State::Done) {
            let code = store.done(step)?.and_then(|done| done.code);
            counts[0] += 1;
            counts[1] += usize::from(code.is_some_and(|code| code != CODE));
        }
        Ok(counts)
    }

    /// A row for each step; with the speed of training, minutes too.
    pub fn table(&self, store: &StepStore, rows_per_second: Option<f64>) -> Result<Table, ExperimentError> {
        let mut table = Table::new(["step", "folder", "", "epochs", "steps", "minutes"]);
        let mut minutes = 0.0;
        for (step, state) in &self.steps {
            let mut cells = vec![step.title(), step.name()];
            let done = store.done(step)?;
            let code = done.as_ref().and_then(|done| done.code.as_deref());
            cells.push(match state {
                State::Done if code.is_some_and(|code| code != CODE) => "done by other code".to_owned(),
                State::Done => "done".to_owned(),
                State::Begun => "begun".to_owned(),
                State::ToDo => "to do".to_owned(),
            });
            if let Work::Train(training) = &step.work {
                let (steps, rows) = (training.steps(), training.rows());
                cells.push(training.config.train.epochs.to_string());
                cells.push(match &done.as_ref().map(|done| &done.outcome) {
                    Some(Outcome::Trained(trained)) => trained.steps.to_string(),
                    _ if training.is_open() => format!("at most {steps}"),
                    _ => steps.to_string(),
                });
                cells.push(match (&done, rows_per_second) {
                    (Some(done), _) => format!("{:.1} taken", done.seconds / 60.0),
                    (None, Some(rate)) => {
                        minutes += rows as f64 / rate / 60.0;
                        format!("{:.1}", rows as f64 / rate / 60.0)
                    }
                    (None, None) => String::new(),
                });
            }
            table.row(cells);
        }
        if let Some(rate) = rows_per_second {
            table.rule();
            let speed = format!("at {rate:.0} rows/s");
            table.row([
                "to train".to_owned(),
                speed,
                String::new(),
                String::new(),
                String::new(),
                format!("{minutes:.1}"),
            ]);
        }
        Ok(table)
    }
}

impl Training {
    /// Whether the number of its steps is known only when its labels are picked.
    fn is_open(&self) -> bool {
        let picked = |step: &Step| matches!(step.work, Work::Pick(_));
        self.config.train.epoch_steps == 0
            && matches!(&self.annotations, Annotated::Some(step) if picked(step))
    }
}
