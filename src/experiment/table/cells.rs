//! The cells of a table.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Row, TableFile};
use crate::experiment::{Arm, DataSource, ExperimentError, Origin, Rec, Recipe};

/// A row with one seed.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    pub row: &'a Row,
    pub seed: u64,
    pub arm: Arm,
}

impl Cell<'_> {
    /// `ROW/SEED`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.row.name, self.seed)
    }
}

/// All cells, or those of `only` (`ROW` or `ROW/SEED`), the most valuable first: the first seed of the main
/// rows, then always the next seed of those and the first, second … of the others. `sets` change all
/// rows.
pub fn cells<'a>(
    file: &'a TableFile,
    sets: &[String],
    only: &[String],
) -> Result<Vec<Cell<'a>>, ExperimentError> {
    for name in only {
        let known =
            |row: &Row| *name == row.name || row.seeds.iter().any(|s| *name == format!("{}/{s}", row.name));
        if !file.rows.iter().any(known) {
            let known = file.rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ExperimentError::UnknownCell { name: name.clone(), known });
        }
    }
    let wanted = |row: &Row, seed: u64| {
        only.is_empty()
            || only.iter().any(|name| *name == row.name || *name == format!("{}/{seed}", row.name))
    };
    let mut order: Vec<(usize, &Row, u64)> = Vec::new();
    for row in &file.rows {
        let seeds = row.seeds.iter().enumerate().filter(|&(_, &seed)| wanted(row, seed));
        order.extend(seeds.map(|(place, &seed)| (place + usize::from(!row.main), row, seed)));
    }
    order.sort_by_key(|&(value, row, _)| (value, !row.main));
    let own = [&file.set[..], &file.labeller_set, sets].into_iter().flatten();
    let mut own = own.chain(file.rows.iter().flat_map(|row| &row.set));
    let key = |set: &String| set.split('=').next().is_some_and(|key| key.trim() == "train.finetune_from");
    if let Some(set) = own.find(|set| key(set)) {
        return Err(ExperimentError::CellFinetuned { set: set.clone() });
    }
    let rec = Origin::given(file.rec.clone())?;
    let mut sources: BTreeMap<(PathBuf, &str), Arc<DataSource>> = BTreeMap::new();
    order
        .into_iter()
        .map(|(_, row, seed)| {
            let res = file.config_of(row, sets)?;
            let place = (res.data.root.clone(), row.dataset.as_str());
            let source = match sources.get(&place) {
                Some(source) => Arc::clone(source),
                None => {
                    let source = Arc::new(DataSource::open(&res.data)?);
                    sources.insert(place, Arc::clone(&source));
                    source
                }
            };
            let rec = Rec::Given(rec.clone());
            let labeller = file.labeller_of(row, sets)?;
            let recipe = Recipe { res, labeller, rec, source, ratio: row.ratio, seed };
            Ok(Cell { row, seed, arm: recipe.arm(row.supervision(), row.second_look)? })
        })
        .collect()
}
