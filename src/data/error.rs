//! What can be wrong with data.

use std::path::PathBuf;

use thiserror::Error;

use super::BadRecord;
use crate::formats::npz::NpzError;
use crate::formats::pickle::PickleError;
use crate::text::TextError;

/// For whoever has none.
const WHERE_FROM: &str = "`partial-res shapes` makes RefShapes, without a download; `cargo convert refer` makes the annotations \
                          of RefCOCO and its kin from REFER's files. Data elsewhere: data.root (the folder of annotations/ \
                          and images/) and data.dataset are set by --set KEY=VALUE; check, sample and pick have --root and \
                          --dataset";

/// Every message names the file and what to do.
#[derive(Debug, Error)]
pub enum DataError {
    #[error("no data set `{dataset}`: {folder} does not exist; {there}. {}", WHERE_FROM)]
    NoDataset { dataset: String, folder: PathBuf, there: String },

    #[error("there are no data sets in {folder}. {}", WHERE_FROM)]
    NoData { folder: PathBuf },

    #[error(
        "no annotation file {path}; {there}. Name another one (in training by data.train_annotations: a file name in that folder, or a whole path), or put the file there"
    )]
    NoFile { path: PathBuf, there: String },

    #[error(
        "{path} has no split `{split}`; it has {there} (what is used: data.val_split, data.test_splits, --split)"
    )]
    NoSplit { path: PathBuf, split: String, there: String },

    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },

    #[error("{path} is no annotation file: {found} at byte {at}; expected {{\"split\": [records]}}")]
    Layout { path: PathBuf, at: usize, found: String },

    #[error("{path}, {record}{}", others(*.more))]
    Record { path: PathBuf, record: Box<BadRecord>, more: usize },

    #[error(
        "no file name pattern for data source `{data_source}` (referent {referent}); there are {there}. Set data.images.{data_source} = \"folder/{{image_id}}.jpg\""
    )]
    NoPattern { data_source: String, referent: usize, there: String },

    #[error("{path} (referent {referent} of {split}): {problem}. Replace the file, or remove its records")]
    Image { path: PathBuf, split: String, referent: usize, problem: String },

    #[error(transparent)]
    Words(#[from] TextError),

    #[error("{path}: {source}. Put a vocabulary.json beside it, or fetch the file again")]
    Pickle { path: PathBuf, source: Box<PickleError> },

    #[error("{path}: {source}. Put a word_vectors.safetensors beside it, or fetch the file again")]
    Npz { path: PathBuf, source: Box<NpzError> },

    #[error("{path}: an array of shape {shape:?}; expected a row of numbers for each word")]
    VectorShape { path: PathBuf, shape: Vec<usize> },

    #[error(
        "{folder}: word vectors for {vectors} words, the vocabulary has {words}; they must be made together"
    )]
    VectorRows { folder: PathBuf, vectors: usize, words: usize },

    #[error(
        "{count} images could not be read in this epoch, data.max_bad allows {allowed}; the last one: {last}"
    )]
    TooManyBad { count: usize, allowed: usize, last: Box<DataError> },
}

fn others(count: usize) -> String {
    if count > 0 { format!(" (and {count} more records that can't be used)") } else { String::new() }
}
