//! Which results belong to the rows of a table as they are now.

use std::collections::BTreeSet;

use super::{Cell, CurvePoint, LabelRow, RawRow, Results, TableFile};
use crate::experiment::{ExperimentError, Work};

/// Results without those of other settings of the rows of the same names.
#[derive(Debug, Default)]
pub struct Current {
    pub cells: Vec<RawRow>,
    pub curves: Vec<CurvePoint>,
    pub labels: Vec<LabelRow>,
}

impl Current {
    /// By the steps of `planned`, all cells of the table; where they are not known by data set, method and share.
    pub fn of(
        file: &TableFile,
        results: &Results,
        planned: Option<&[Cell<'_>]>,
    ) -> Result<Self, ExperimentError> {
        let mut all = Self { cells: results.cells()?, curves: results.curves()?, labels: results.labels()? };
        all.keep(file, planned);
        Ok(all)
    }

    fn keep(&mut self, file: &TableFile, planned: Option<&[Cell<'_>]>) {
        let row_of = |name: &str| file.rows.iter().find(|row| row.name == name);
        let is_planned = |row: &str, seed: u64, is_it: &dyn Fn(&Cell<'_>) -> bool| match planned {
            None => true,
            Some(cells) => cells.iter().any(|cell| cell.row.name == row && cell.seed == seed && is_it(cell)),
        };
        self.cells.retain(|cell| {
            let fits = row_of(&cell.row).is_some_and(|row| {
                (&row.dataset, row.method_name(), row.ratio)
                    == (&cell.dataset, cell.method.clone(), cell.ratio)
            });
            fits && is_planned(&cell.row, cell.seed, &|planned| planned.arm.evaluation.name() == cell.step)
        });
        let there: BTreeSet<(&str, u64)> =
            self.cells.iter().map(|cell| (cell.row.as_str(), cell.seed)).collect();
        self.curves.retain(|point| there.contains(&(point.row.as_str(), point.seed)));
        self.labels.retain(|labels| {
            let fits = row_of(&labels.row)
                .is_some_and(|row| (&row.dataset, row.ratio) == (&labels.dataset, labels.ratio));
            let made_by = |name: &str, step: &str| {
                is_planned(name, labels.seed, &|planned| labelling(planned).is_some_and(|name| name == step))
            };
            fits && made_by(&labels.row, &labels.step) && made_by(&labels.with, &labels.step_with)
        });
    }
}

/// The name of the step that makes a cell's labels.
fn labelling(cell: &Cell<'_>) -> Option<String> {
    match &cell.arm.pick.as_ref()?.work {
        Work::Pick(picking) => Some(picking.labels.name()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_other_settings_are_left_out() {
        let mut file = TableFile::read(None).expect("the built-in table");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results");
        let results = Results { folder };
        let counts = |file: &TableFile| {
            let found = Current::of(file, &results, None).expect("read");
            [found.cells.len(), found.curves.len(), found.labels.len()]
        };
        let all = counts(&file);
        let (cells, curves) = (results.cells().expect("read"), results.curves().expect("read"));
        assert_eq!(all, [cells.len(), curves.len(), results.labels().expect("read").len()]);
        let cells = cells.iter().filter(|cell| cell.row == "unc-5-rpp").count();
        let curves = curves.iter().filter(|point| point.row == "unc-5-rpp").count();
        assert!(cells > 0 && curves > 0);
        let row = file.rows.iter_mut().find(|row| row.name == "unc-5-rpp").expect("a row");
        row.ratio = 10;
        assert_eq!(counts(&file)[..2], [all[0] - cells, all[1] - curves]);
        // No cell of this plan is the one that the results are of.
        let none = Current::of(&file, &results, Some(&[])).expect("read");
        assert!(none.cells.is_empty() && none.curves.is_empty() && none.labels.is_empty());
    }
}
