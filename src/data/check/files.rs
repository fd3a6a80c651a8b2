//! The annotation files of a data set.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::images::Uses;
use super::records::{self, Named};
use super::{Counts, Fault, Finding, Report};
use crate::config::Config;
use crate::data::dataset::{INSTANCES, dataset_folder, is_hidden};
use crate::data::{Annotations, DataError, ImageFiles, words};
use crate::text::{Coverage, Vocabulary};

const NO_VECTORS: &str = "no word vectors (word_vectors.safetensors or word_emb.npz): where the word table is frozen \
    (model.language.trainable_words=false) it would be random; `cargo convert vectors` makes them";

/// The folders to look through, by name.
pub(super) fn folders(root: &Path, dataset: Option<&str>) -> Result<Vec<PathBuf>, DataError> {
    if let Some(dataset) = dataset {
        return Ok(vec![dataset_folder(root, dataset)?]);
    }
    let parent = root.join("annotations");
    let entries = std::fs::read_dir(&parent).into_iter().flatten().flatten();
    let folder = |path: &PathBuf| path.is_dir() && !is_hidden(path);
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(folder).collect();
    folders.sort();
    if folders.is_empty() {
        return Err(DataError::NoData { folder: parent });
    }
    Ok(folders)
}

/// One data set.
pub(super) fn look_through(
    root: &Path,
    folder: &Path,
    config: &Config,
    report: &mut Report,
    uses: &mut Uses,
) {
    let whole = folder.join(INSTANCES);
    if !whole.is_file() {
        let found = "is missing; `eval` and `pick` read it";
        report.problems.push(Finding::of_file(Fault::Annotations, &whole, found));
    }
    let dataset = folder.file_name().unwrap_or_default().to_string_lossy();
    let files = ImageFiles::new(&root.join("images"), &dataset, &config.data.images);
    let mut known: HashSet<String> = HashSet::new();
    let mut expressions = None;
    for path in annotation_files(folder) {
        let (annotations, bad) = match Annotations::read_usable(&path) {
            Ok((annotations, bad)) => {
                report.problems.extend(bad.iter().map(|bad| records::unusable(&path, bad)));
                let named = Named { annotations: &annotations, bad: &bad, files: &files, known: &known };
                named.check(uses, report);
                (annotations, bad)
            }
            Err(error) => {
                report.problems.push(Finding::of_file(Fault::Annotations, &path, error));
                continue;
            }
        };
        if path == whole {
            expressions = Some(Expressions {
                all: annotations.expressions().map(str::to_owned).collect(),
                of_all_records: bad.is_empty(),
            });
            report.notes.extend(shared_images(&annotations, &files));
            for split in annotations.splits() {
                known.extend(annotations.records(split).into_iter().flatten().map(str::to_owned));
            }
        }
        report.files.push(counts(&annotations));
    }
    check_words(&whole, expressions.as_ref(), config, report);
}

/// What is asked in a whole file.
struct Expressions {
    all: Vec<String>,
    /// None of them is in a record that can't be used.
    of_all_records: bool,
}

impl Expressions {
    fn iter(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(String::as_str)
    }
}

/// The vocabulary and the word vectors beside `whole`; without a vocabulary, training takes the one that
/// is built from a whole file.
fn check_words(whole: &Path, expressions: Option<&Expressions>, config: &Config, report: &mut Report) {
    let folder = whole.parent().unwrap_or(whole);
    let vocabulary = match words::vocabulary(whole) {
        Ok(Some(vocabulary)) => {
            let coverage = expressions.map(|asked| Coverage::of(&vocabulary, asked.iter()));
            match coverage {
                Some(coverage) if coverage.is_poor() => {
                    let found = format!(
                        "{coverage}; it is of other data: remove it and the word vectors to have them made anew"
                    );
                    report.problems.push(Finding::of_file(Fault::Vocabulary, folder, found));
                }
                Some(coverage) if coverage.unknown > 0 => {
                    report.notes.push(format!("{}: {coverage}", folder.display()));
                }
                _ => {}
            }
            Some(vocabulary)
        }
        Ok(None) => expressions.filter(|all| all.of_all_records).map(|all| Vocabulary::build(all.iter())),
        Err(error) => {
            report.problems.push(Finding::of_file(Fault::Vocabulary, folder, error));
            None
        }
    };
    let rows = match words::vectors(whole) {
        Ok(Some(vectors)) => vectors.rows(),
        Ok(None) if config.model.language.trainable_words => return,
        Ok(None) => return report.notes.push(format!("{}: {NO_VECTORS}", folder.display())),
        Err(error) => return report.problems.push(Finding::of_file(Fault::WordVectors, folder, error)),
    };
    if let Some(words) = vocabulary.map(|vocabulary| vocabulary.len()).filter(|words| *words != rows) {
        let error = DataError::VectorRows { folder: folder.to_owned(), vectors: rows, words };
        report.problems.push(Finding::of_file(Fault::WordVectors, folder, error));
    }
}

/// `instances.json` first, then its subsets.
fn annotation_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("instances") && name.ends_with(".json") && !name.ends_with(".provenance.json")
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(wanted).collect();
    paths.sort_by_key(|path| (!path.ends_with(INSTANCES), path.clone()));
    paths
}

fn counts(annotations: &Annotations) -> Counts {
    let referents = || annotations.splits().filter_map(|split| annotations.referents(split).ok()).flatten();
    Counts {
        file: annotations.path().to_owned(),
        splits: annotations.splits().map(str::to_owned).collect(),
        records: referents().count(),
        masks: referents().filter(|referent| referent.has_mask()).count(),
        expressions: referents().map(|referent| referent.expressions.len()).sum(),
    }
}

/// Images that more than one split asks about, as in RefCOCOg (google) by design.
fn shared_images(annotations: &Annotations, files: &ImageFiles) -> Vec<String> {
    let mut splits_of: HashMap<PathBuf, BTreeSet<&str>> = HashMap::new();
    for split in annotations.splits() {
        for referent in annotations.referents(split).unwrap_or_default() {
            splits_of.entry(files.path(referent).unwrap_or_default()).or_default().insert(split);
        }
    }
    let mut counts: BTreeMap<Vec<&str>, usize> = BTreeMap::new();
    for splits in splits_of.into_values().filter(|splits| splits.len() > 1) {
        *counts.entry(splits.into_iter().collect()).or_default() += 1;
    }
    let note = |(splits, count): (Vec<&str>, usize)| {
        format!("{}: {count} images are in each of {}", annotations.path().display(), splits.join(", "))
    };
    counts.into_iter().map(note).collect()
}
