//! From raw rows to a page.

use std::path::{Path, PathBuf};

use super::figures::{Spread, curves, efficiency};
use super::{Method, RawRow, Results, Row, TableFile};
use crate::experiment::ExperimentError;
use crate::experiment::store::write_text;
use crate::report::{Table, save_picture};

/// The split that comparisons are made on.
const SPLIT: &str = "val";
/// A change of `val` in the last fifth of the steps, in points, that counts as none.
const FLAT: f64 = 0.5;
const BEGIN: &str = "<!-- begin: written by `partial-res table` -->";
const END: &str = "<!-- end: written by `partial-res table` -->";

/// Writes the page beside the folder of the results (`FOLDER.md`) and the pictures into it; returns the path of the page. What stands
/// around the table on a page that is there stays.
pub fn render(file: &TableFile, results: &Results) -> Result<PathBuf, ExperimentError> {
    let _lock = results.lock()?;
    let (cells, points) = (results.cells()?, results.curves()?);
    let page = results.folder.with_extension("md");
    let name =
        results.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut text = String::new();
    for group in groups(file) {
        let rows: Vec<&Row> = file.rows.iter().filter(|row| row.group == group).collect();
        // What is missing is named below.
        if !cells.iter().any(|cell| rows.iter().any(|row| row.name == cell.row)) {
            continue;
        }
        text += &format!("\n## {group}\n\n{}", overview(&rows, file, &cells).markdown());
        text += &format!("\n{}", metrics(&rows, &cells).markdown());
        let plain =
            rows.iter().filter(|row| row.set.is_empty() && row.threshold.is_none() && row.quality.is_none());
        let plain: Vec<&RawRow> = plain.flat_map(|row| of(row, &cells)).collect();
        let mut ratios: Vec<u32> = plain.iter().map(|row| row.ratio).collect();
        ratios.sort_unstable();
        ratios.dedup();
        if ratios.len() > 2 {
            let picture = format!("masks-{}.png", slug(&group));
            save_picture(&efficiency(&plain, &group, SPLIT)?, &results.folder.join(&picture))?;
            text += &format!("\n![mIoU against the share of masks]({name}/{picture})\n");
        }
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        if points.iter().any(|point| names.contains(&point.row.as_str())) {
            let picture = format!("curves-{}.png", slug(&group));
            save_picture(&curves(&points, &names)?, &results.folder.join(&picture))?;
            text += &format!("\n![mIoU on val against steps]({name}/{picture})\n");
        }
    }
    if !file.comparisons.is_empty() {
        text += &format!(
            "\n## Differences seed by seed\n\nOf {SPLIT} mIoU, in points.\n\n{}",
            comparisons(file, &cells).markdown()
        );
    }
    text += &missing(file, &cells);
    write_text(&page, &with_table(&page, &file.title, text.trim_start())?)?;
    Ok(page)
}

/// The page with what is between the two marks replaced.
fn with_table(page: &Path, title: &str, table: &str) -> Result<String, ExperimentError> {
    let old = match std::fs::read_to_string(page) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("# {title}\n\n{BEGIN}\n{END}\n")
        }
        Err(source) => return Err(ExperimentError::Io { path: page.into(), source }),
    };
    match (old.find(BEGIN), old.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            Ok(format!("{}{BEGIN}\n{table}{}", &old[..begin], &old[end..]))
        }
        _ => Err(ExperimentError::Table {
            path: page.display().to_string(),
            problem: format!(
                "the table has no place in it; give it the lines `{BEGIN}` and `{END}`, or move it away"
            ),
        }),
    }
}

/// In the order of the file.
fn groups(file: &TableFile) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for row in &file.rows {
        if !groups.contains(&row.group) {
            groups.push(row.group.clone());
        }
    }
    groups
}

fn slug(group: &str) -> String {
    let plain = group.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    plain.collect::<String>().split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

fn of<'a>(row: &Row, cells: &'a [RawRow]) -> Vec<&'a RawRow> {
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
fn overview(rows: &[&Row], file: &TableFile, cells: &[RawRow]) -> Table {
    let splits = splits(rows, cells);
    let fixed = ["row", "data set", "masks, %", "method", "seeds", "steps"].map(str::to_owned);
    let mious = splits.iter().map(|split| format!("{split} mIoU"));
    let last =
        ["of full, %", "labels kept", "their IoU", "P@.5", "P@.9", "late gain", "flat"].map(str::to_owned);
    let mut table = Table::new(fixed.into_iter().chain(mious).chain(last));
    for &row in rows {
        let found = of(row, cells);
        let on_val: Vec<&&RawRow> = found.iter().filter(|cell| cell.split == SPLIT).collect();
        let steps = spread(&found, SPLIT, |cell| Some(cell.steps as f64));
        let mut line = vec![
            row.name.clone(),
            row.dataset.clone(),
            row.ratio.to_string(),
            row.method.name().to_owned(),
            format!("{} of {}", on_val.len(), row.seeds.len()),
            steps.map_or("-".to_owned(), |steps| format!("{:.0}", steps.mean)),
        ];
        line.extend(splits.iter().map(|split| Spread::text(spread(&found, split, |cell| cell.miou))));
        let full = file.rows.iter().find(|other| {
            other.method == Method::Full && other.dataset == row.dataset && other.set.is_empty()
        });
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
        let flat = on_val.iter().filter(|cell| cell.late_gain.is_some_and(|gain| gain.abs() <= FLAT)).count();
        line.push(format!("{flat} of {}", on_val.len()));
        table.row(line);
    }
    table
}

/// All metrics, means over the seeds.
fn metrics(rows: &[&Row], cells: &[RawRow]) -> Table {
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

fn comparisons(file: &TableFile, cells: &[RawRow]) -> Table {
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
fn missing(file: &TableFile, cells: &[RawRow]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("results.md");
        let first = with_table(&page, "Title", "one\n").expect("a new page");
        assert_eq!(first, format!("# Title\n\n{BEGIN}\none\n{END}\n"));
        std::fs::write(&page, format!("By hand.\n{first}More.\n")).expect("written");
        let second = with_table(&page, "Title", "two\n").expect("the old page");
        assert_eq!(second, format!("By hand.\n# Title\n\n{BEGIN}\ntwo\n{END}\nMore.\n"));
        std::fs::write(&page, "A page without marks.").expect("written");
        assert!(with_table(&page, "Title", "x").expect_err("no place").to_string().contains("no place"));
    }
}
