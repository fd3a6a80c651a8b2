//! The tables of a page, from raw rows.

use super::figures::Spread;
use super::{Method, RawRow, Row, TableFile};
use crate::report::Table;

/// The split that comparisons are made on.
pub const SPLIT: &str = "val";
/// A change of `val` in the last fifth of the steps, in points, that counts as none.
const FLAT: f64 = 0.5;

pub fn of<'a>(row: &Row, cells: &'a [RawRow]) -> Vec<&'a RawRow> {
    cells.iter().filter(|cell| cell.row == row.name && row.seeds.contains(&cell.seed)).collect()
}

fn spread(cells: &[&RawRow], split: &str, value: impl Fn(&RawRow) -> Option<f64>) -> Option<Spread> {
    let values = cells.iter().filter(|cell| cell.split == split).filter_map(|cell| value(cell));
    Spread::of(&values.collect::<Vec<_>>())
}

fn splits(rows: &[&Row], cells: &[RawRow]) -> Vec<String> {
    let mut splits: Vec<String> = Vec::new();
    for cell in rows.iter().flat_map(|row| of(row, cells)) {
        if !splits.contains(&cell.split) {
            splits.push(cell.split.clone());
        }
    }
    splits
}

/// The mIoU of each row with what it was trained on.
pub fn overview(rows: &[&Row], file: &TableFile, cells: &[RawRow]) -> Table {
    let splits = splits(rows, cells);
    let fixed = ["row", "data set", "masks, %", "method", "seeds", "steps"].map(str::to_owned);
    let mious = splits.iter().map(|split| format!("{split} mIoU"));
    let last =
        ["of full, %", "labels kept", "labels' IoU", "labels' P@.5", "labels' P@.9", "late gain", "flat"]
            .map(str::to_owned);
    let mut table = Table::new(fixed.into_iter().chain(mious).chain(last));
    for &row in rows {
        let found = of(row, cells);
        let on_val: Vec<&&RawRow> = found.iter().filter(|cell| cell.split == SPLIT).collect();
        let steps = spread(&found, SPLIT, |cell| cell.steps.map(|steps| steps as f64));
        let mut line = vec![
            row.name.clone(),
            row.dataset.clone(),
            row.ratio.to_string(),
            row.method_name(),
            format!("{} of {}", on_val.len(), row.seeds.len()),
            steps.map_or("-".to_owned(), |steps| format!("{:.0}", steps.mean)),
        ];
        line.extend(splits.iter().map(|split| Spread::text(spread(&found, split, |cell| cell.miou))));
        // Beside full supervision with the same changes, such as more steps; else with none.
        let full_with = |set: &[String]| {
            let method = if row.method == Method::Rec { Method::Rec } else { Method::Full };
            let full = |other: &&Row| {
                (other.method, other.ratio) == (method, 100)
                    && (&other.dataset, other.second_look) == (&row.dataset, row.second_look)
            };
            file.rows.iter().filter(full).find(|other| other.set == set)
        };
        let full = full_with(&row.set).or_else(|| full_with(&[]));
        let full = full.and_then(|full| spread(&of(full, cells), SPLIT, |cell| cell.miou));
        let own = spread(&found, SPLIT, |cell| cell.miou);
        line.push(match (own, full) {
            (Some(own), Some(full)) => format!("{:.1}", 100.0 * own.mean / full.mean),
            _ => "-".to_owned(),
        });
        let label = |value: fn(&RawRow) -> Option<f64>| Spread::text(spread(&found, SPLIT, value));
        line.push(
            spread(&found, SPLIT, |cell| cell.kept.map(|kept| kept as f64))
                .map_or("-".to_owned(), |kept| format!("{:.0}", kept.mean)),
        );
        line.extend([
            label(|cell| cell.label_iou),
            label(|cell| cell.label_p50),
            label(|cell| cell.label_p90),
        ]);
        line.push(label(|cell| cell.late_gain));
        let gains: Vec<f64> = on_val.iter().filter_map(|cell| cell.late_gain).collect();
        line.push(match gains.len() {
            0 => "-".to_owned(),
            count => format!("{} of {count}", gains.iter().filter(|gain| gain.abs() <= FLAT).count()),
        });
        table.row(line);
    }
    table
}

/// All metrics, means over the seeds.
pub fn metrics(rows: &[&Row], cells: &[RawRow]) -> Table {
    let mut table = Table::new([
        "row", "split", "mIoU", "oIoU", "P@.5", "P@.6", "P@.7", "P@.8", "P@.9", "box acc", "blind",
        "permuted", "ceiling",
    ]);
    let values: [fn(&RawRow) -> Option<f64>; 11] = [
        |cell| cell.miou,
        |cell| cell.oiou,
        |cell| cell.p50,
        |cell| cell.p60,
        |cell| cell.p70,
        |cell| cell.p80,
        |cell| cell.p90,
        |cell| cell.box_acc,
        |cell| cell.blind,
        |cell| cell.permuted,
        |cell| cell.ceiling,
    ];
    for &row in rows {
        let found = of(row, cells);
        for split in splits(&[row], cells) {
            let mean = |value: &fn(&RawRow) -> Option<f64>| {
                Table::percent(spread(&found, &split, value).map(|s| s.mean))
            };
            table.row([row.name.clone(), split.clone()].into_iter().chain(values.iter().map(mean)));
        }
    }
    table
}

pub fn comparisons(file: &TableFile, cells: &[RawRow]) -> Table {
    let mut table = Table::new(["row", "less", "mean", "better in", "by seed"]);
    for pair in &file.comparisons {
        let value = |name: &str, seed: u64| {
            let cell = cells.iter().find(|cell| cell.row == name && cell.seed == seed && cell.split == SPLIT);
            cell.and_then(|cell| cell.miou)
        };
        let Some(row) = file.rows.iter().find(|row| row.name == pair.of) else { continue };
        let difference = |&seed: &u64| Some((seed, value(&pair.of, seed)? - value(&pair.with, seed)?));
        let differences: Vec<(u64, f64)> = row.seeds.iter().filter_map(difference).collect();
        let values: Vec<f64> = differences.iter().map(|(_, value)| *value).collect();
        let better = values.iter().filter(|value| **value > 0.0).count();
        let each = differences.iter().map(|(seed, value)| format!("{seed}: {value:+.2}"));
        table.row([
            pair.of.clone(),
            pair.with.clone(),
            Spread::text(Spread::of(&values)),
            format!("{better} of {}", values.len()),
            each.collect::<Vec<_>>().join("; "),
        ]);
    }
    table
}

/// The cells that are not there.
pub fn missing(file: &TableFile, cells: &[RawRow]) -> String {
    let there = |row: &Row, seed: u64| cells.iter().any(|cell| cell.row == row.name && cell.seed == seed);
    let cells_of = |row: &Row| row.seeds.iter().map(|&seed| (seed, there(row, seed))).collect::<Vec<_>>();
    let names: Vec<String> = file
        .rows
        .iter()
        .flat_map(|row| {
            cells_of(row)
                .into_iter()
                .filter(|(_, there)| !there)
                .map(|(seed, _)| format!("{}/{seed}", row.name))
        })
        .collect();
    match names.len() {
        0 => "\nNo cell is missing.\n".to_owned(),
        count => format!("\n{count} cells are missing: {}.\n", names.join(", ")),
    }
}
