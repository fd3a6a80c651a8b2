//! From raw rows to a page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::current::Current;
use super::figures::{curves, efficiency};
use super::labels::label_table;
use super::tables::{SPLIT, comparisons, metrics, missing, of, overview};
use super::{Cell, RawRow, Results, Row, TableFile};
use crate::experiment::ExperimentError;
use crate::experiment::store::write_text;
use crate::report::save_picture;

const BEGIN: &str = "<!-- begin: written by `partial-res table` -->";
const END: &str = "<!-- end: written by `partial-res table` -->";

const LABELS: &str = "True IoU of labels, in percent, where as many of ours (the best by expected IoU) are kept as RPP keeps \
at its threshold, and at the threshold at which RPP's labels are best (of those that keep a hundredth of the referents or \
more). *Same referents*: mean difference on the referents that RPP keeps. *Least lead*: the difference at the number kept \
where it is least.\n";

/// Writes the page beside the folder of the results (`FOLDER.md`) and the pictures into it; returns the path of the page. What stands
/// around the table on a page that is there stays. Results that are not of `planned`, all cells of the table, are
/// missing; where those are not known, the ones of another data set, method or share of masks than their row's.
pub fn render(
    file: &TableFile,
    results: &Results,
    planned: Option<&[Cell<'_>]>,
) -> Result<PathBuf, ExperimentError> {
    let _lock = results.lock()?;
    let Current { cells, curves: points, labels } = Current::of(file, results, planned)?;
    let name =
        results.folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let page = results.folder.with_file_name(format!("{name}.md"));
    let mut text = String::new();
    for (group, slug) in slugs(groups(file)) {
        let rows: Vec<&Row> = file.rows.iter().filter(|row| row.group == group).collect();
        // What is missing is named below.
        if !cells.iter().any(|cell| rows.iter().any(|row| row.name == cell.row)) {
            continue;
        }
        text += &format!("\n## {group}\n\n{}", overview(&rows, file, &cells).markdown());
        text += &format!("\n{}", metrics(&rows, &cells).markdown());
        let plain: Vec<&RawRow> =
            rows.iter().filter(|row| row.is_plain()).flat_map(|row| of(row, &cells)).collect();
        let shares: BTreeSet<(&str, u32)> = plain.iter().map(|row| (&*row.dataset, row.ratio)).collect();
        let of_one = |dataset: &str| shares.iter().filter(|(of, _)| *of == dataset).count();
        if shares.iter().any(|(dataset, _)| of_one(dataset) > 2) {
            let picture = format!("masks-{slug}.png");
            save_picture(&efficiency(&plain, &group, SPLIT)?, &results.folder.join(&picture))?;
            text += &format!("\n![mIoU against the share of masks]({name}/{picture})\n");
        }
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        if points.iter().any(|point| names.contains(&point.row.as_str())) {
            let picture = format!("curves-{slug}.png");
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
    if !labels.is_empty() {
        text += &format!("\n## Labels, equally many kept\n\n{LABELS}\n{}", label_table(&labels).markdown());
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

/// Groups with what their files are called, each something else; where letters don't do, the group's number helps.
fn slugs(groups: Vec<String>) -> Vec<(String, String)> {
    let mut named: Vec<(String, String)> = Vec::new();
    for (place, group) in groups.into_iter().enumerate() {
        let mut slug = slug(&group);
        while slug.is_empty() || named.iter().any(|(_, taken)| *taken == slug) {
            slug += if slug.is_empty() { "" } else { "-" };
            slug += &(place + 1).to_string();
        }
        named.push((group, slug));
    }
    named
}

fn slug(group: &str) -> String {
    let plain = group.to_lowercase();
    plain.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_files_of_its_own() {
        let groups = ["Share of masks", "Маски", "…", "share, of masks", "?!"].map(str::to_owned);
        let slugs: Vec<String> = slugs(groups.into()).into_iter().map(|(_, slug)| slug).collect();
        assert_eq!(slugs, ["share-of-masks", "маски", "3", "share-of-masks-4", "5"]);
    }

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
