//! Making the cells of a table.

use std::time::Duration;

use super::{Cell, Results};
use crate::experiment::{ExperimentError, Ran, SummaryRow, Workplace, in_order};
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
/// processes fill one table twice as fast. The first error of a cell comes back when the others are made.
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
    let mut failed = None;
    while !left.is_empty() {
        let (mut done, mut broken) = (None, None);
        for (index, cell) in left.iter().enumerate() {
            if (place.stop)() {
                return Ok(Filled::Stopped);
            }
            match place.run(&in_order([&cell.arm.evaluation]), false) {
                Ok(Ran::Done) => {
                    done = Some(index);
                    break;
                }
                Ok(Ran::Stopped) => return Ok(Filled::Stopped),
                Ok(Ran::Busy) => {}
                // What fails in one cell may do well in the others.
                Err(error) => {
                    place.log.line(format!("cell {} failed and is left out: {error}", cell.name()))?;
                    failed.get_or_insert(error);
                    broken = Some(index);
                    break;
                }
            }
        }
        if let Some(index) = broken {
            left.remove(index);
            continue;
        }
        match done {
            Some(index) => {
                let cell = left.remove(index);
                record(cell, place, results)?;
                finished(cell)?;
            }
            None => std::thread::sleep(PAUSE),
        }
    }
    failed.map_or(Ok(Filled::Whole), Err)
}

fn record(cell: &Cell<'_>, place: &Workplace<'_>, results: &Results) -> Result<(), ExperimentError> {
    let Some(found) = SummaryRow::of(&cell.row.name, &cell.arm, place.store)? else { return Ok(()) };
    let mut seconds = 0.0;
    for step in in_order([&cell.arm.evaluation]) {
        seconds += place.store.done(&step)?.map_or(0.0, |done| done.seconds);
    }
    results.add(cell, &found, seconds)
}
