//! Everything that is missing or broken in a tree of annotations and images.

mod files;
mod images;
mod records;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::DataError;
use crate::config::Config;
use images::Uses;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// An annotation file that is missing or can't be read.
    Annotations,
    /// A vocabulary that can't be read, or is of other data.
    Vocabulary,
    /// Word vectors that can't be read, or not one for each word.
    WordVectors,
    /// A record whose fields are missing or of the wrong kind.
    Record,
    /// A box without area or beyond the image.
    Box,
    /// A mask that can't be made.
    BrokenMask,
    /// A mask without a pixel.
    EmptyMask,
    /// An expression without a word.
    EmptyExpression,
    /// The same object and expression in `train` and another split.
    Twice,
    /// A data source without a pattern for file names.
    NoPattern,
    MissingImage,
    /// An image that can't be decoded.
    BrokenImage,
    /// An image of another size than its records say.
    ImageSize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Annotations => "annotation file",
            Self::Vocabulary => "vocabulary",
            Self::WordVectors => "word vectors",
            Self::Record => "unusable record",
            Self::Box => "box",
            Self::BrokenMask => "broken mask",
            Self::EmptyMask => "empty mask",
            Self::EmptyExpression => "empty expression",
            Self::Twice => "twice across splits",
            Self::NoPattern => "unknown data source",
            Self::MissingImage => "missing image",
            Self::BrokenImage => "broken image",
            Self::ImageSize => "image size",
        })
    }
}

/// A record in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The annotation file.
    pub file: PathBuf,
    pub split: String,
    /// Index in the split.
    pub record: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub fault: Fault,
    pub file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<usize>,
    /// What was found.
    pub found: String,
}

impl Finding {
    fn of_file(fault: Fault, file: &Path, found: impl fmt::Display) -> Self {
        Self { fault, file: file.to_owned(), split: None, record: None, found: found.to_string() }
    }

    fn at(fault: Fault, spot: Spot, found: String) -> Self {
        Self { fault, file: spot.file, split: Some(spot.split), record: Some(spot.record), found }
    }
}

/// What an annotation file has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub file: PathBuf,
    pub splits: Vec<String>,
    pub records: usize,
    /// Records with a mask.
    pub masks: usize,
    pub expressions: usize,
}

/// A tree, looked through.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub files: Vec<Counts>,
    /// Image files that are asked for.
    pub images: usize,
    /// By kind, in the order of the files.
    pub problems: Vec<Finding>,
    /// Worth knowing, not wrong.
    pub notes: Vec<String>,
}

/// Looks through the annotation files of one data set, or of all under `root/annotations`, and decodes
/// every image that they name once. `config` says where images are (`data.images`) and whether word vectors
/// are missed (`model.language.trainable_words`). `progress` is called with images done and images in
/// all, from several threads.
///
/// Of `instances_*.json`, only records that `instances.json` has not are looked at again.
///
/// # Errors
/// Only where there is nothing to look at; everything else is in the report.
pub fn check(
    root: &Path,
    dataset: Option<&str>,
    config: &Config,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Report, DataError> {
    let mut report = Report::default();
    let mut uses = Uses::default();
    for folder in files::folders(root, dataset)? {
        files::look_through(root, &folder, config, &mut report, &mut uses);
    }
    report.images = uses.len();
    report.problems.extend(uses.check(progress));
    report.problems.sort_by_key(|finding| finding.fault);
    Ok(report)
}
