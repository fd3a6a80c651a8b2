//! Making the cells of a table.

use std::time::Duration;

use super::{Cell, Results};
use crate::experiment::{ExperimentError, Ran, SummaryRow, Workplace, in_order};

/// Between looks at steps that another process makes, when nothing else is left.
const PAUSE: Duration = Duration::from_secs(2);

/// How filling a table ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// All cells are there.
    Whole,
    Stopped,
}

/// Makes the cells that `results` lacks in their order and adds each finished one to `results`, then calls `finished`. A cell of which another process
/// makes a step is passed over for the time being, so that two processes fill one table twice as fast.
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
    while !left.is_empty() {
        let mut done = None;
        for (index, cell) in left.iter().enumerate() {
            if (place.stop)() {
                return Ok(Filled::Stopped);
            }
            match place.run(&in_order([&cell.arm.evaluation]), false)? {
                Ran::Done => {
                    done = Some(index);
                    break;
                }
                Ran::Stopped => return Ok(Filled::Stopped),
                Ran::Busy => {}
            }
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
    Ok(Filled::Whole)
}

fn record(cell: &Cell<'_>, place: &Workplace<'_>, results: &Results) -> Result<(), ExperimentError> {
    let Some(found) = SummaryRow::of(&cell.row.name, &cell.arm, place.store)? else { return Ok(()) };
    let mut seconds = 0.0;
    for step in in_order([&cell.arm.evaluation]) {
        seconds += place.store.done(&step)?.map_or(0.0, |done| done.seconds);
    }
    results.add(cell, &found, seconds)
}
