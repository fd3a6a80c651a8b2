//! Making the cells of a table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Cell, Results};
use crate::experiment::{ExperimentError, Ran, Step, StepStore, SummaryRow, Workplace, in_order};
use crate::report::Lock;

/// Between looks at steps that another process makes, when nothing else is left.
const PAUSE: Duration = Duration::from_secs(2);

/// How filling a table ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// All cells are there.
    Whole,
    Stopped,
}

/// Makes the cells that `results` lacks in their order and adds each finished one to `results`, then calls
/// `finished`. A cell of which another process makes a step is passed over for the time being, so that two
/// processes fill one table twice as fast. What failed in one cell is not tried for others, which are left out
/// if they need it; the first error, also of `finished`, comes back when all others are made.
pub fn fill(
    cells: &[Cell<'_>],
    place: &Workplace<'_>,
    results: &Results,
    finished: &dyn Fn(&Cell<'_>) -> Result<(), ExperimentError>,
) -> Result<Filled, ExperimentError> {
    let mut left = Vec::new();
    for cell in cells {
        if !results.has(cell)? {
            left.push(cell);
        }
    }
    if !left.is_empty() && results.lock()?.1 == Lock::Unknown {
        let folder = results.folder.display();
        place.log.line(format!(
            "WARNING: the file system of {folder} knows no locks; let no other process work on this table"
        ))?;
    }
    let mut failed = Failed::default();
    while !left.is_empty() {
        let mut ended = None;
        for (index, cell) in left.iter().enumerate() {
            if (place.stop)() {
                return Ok(Filled::Stopped);
            }
            let steps = in_order([&cell.arm.evaluation]);
            if let Some(reason) = failed.reason(&steps) {
                place.log.line(format!("cell {} is left out: {reason}", cell.name()))?;
                ended = Some((index, false));
                break;
            }
            match place.run(&steps, false) {
                Ok(Ran::Done) => {
                    ended = Some((index, true));
                    break;
                }
                Ok(Ran::Stopped) => return Ok(Filled::Stopped),
                Ok(Ran::Busy) => {}
                // What fails in one cell may do well in the others.
                Err(error) => {
                    place.log.line(format!("cell {} failed and is left out: {error}", cell.name()))?;
                    failed.add(&steps, place.store, error);
                    ended = Some((index, false));
                    break;
                }
            }
        }
        match ended {
            Some((index, made)) => {
                let cell = left.remove(index);
                if made {
                    record(cell, place, results)?;
                    // The cell itself is kept, and so will the others be.
                    if let Err(error) = finished(cell) {
                        let name = cell.name();
                        place.log.line(format!("cell {name} is done, but not on the page: {error}"))?;
                        failed.first.get_or_insert(error);
                    }
                }
            }
            None => std::thread::sleep(PAUSE),
        }
    }
    failed.first.map_or(Ok(Filled::Whole), Err)
}

/// Steps that could not be made.
#[derive(Debug, Default)]
struct Failed {
    /// Key of a step, and what to say of whatever needs it.
    reasons: BTreeMap<String, String>,
    first: Option<ExperimentError>,
}

impl Failed {
    /// Of steps that are made in this order the first one that isn't there is the one that failed.
    fn add(&mut self, steps: &[Arc<Step>], store: &StepStore, error: ExperimentError) {
        if let Some(step) = steps.iter().find(|step| !matches!(store.done(step), Ok(Some(_)))) {
            let reason = format!("it needs {}, which failed before: {error}", step.name());
            self.reasons.insert(step.key.clone(), reason);
        }
        self.first.get_or_insert(error);
    }

    fn reason(&self, steps: &[Arc<Step>]) -> Option<&str> {
        steps.iter().find_map(|step| self.reasons.get(&step.key)).map(String::as_str)
    }
}

fn record(cell: &Cell<'_>, place: &Workplace<'_>, results: &Results) -> Result<(), ExperimentError> {
    let Some(found) = SummaryRow::of(&cell.row.name, &cell.arm, place.store)? else { return Ok(()) };
    let mut seconds = 0.0;
    for step in in_order([&cell.arm.evaluation]) {
        seconds += place.store.done(&step)?.map_or(0.0, |done| done.seconds);
    }
    results.add(cell, &found, seconds)
}
