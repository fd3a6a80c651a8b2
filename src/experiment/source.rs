//! A data set as experiments know it: by what is in its files.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ExperimentError;
use crate::config::DataConfig;
use crate::data::{Dataset, INSTANCES};
use crate::pseudo::sha256;

/// The split that is learnt from and labelled.
pub const TRAIN: &str = "train";

/// A data set. Hashes are SHA-256, hexadecimal. Images are known by their names only.
#[derive(Clone, Debug)]
pub struct DataSource {
    /// The file of all records.
    pub path: PathBuf,
    pub content: Content,
    /// Records to learn from.
    pub referents: usize,
    /// As it was opened.
    config: DataConfig,
}

/// What in a data set decides about results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    pub annotations: String,
    /// Words and their numbers.
    pub vocabulary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word_vectors: Option<String>,
}

impl DataSource {
    /// Also looks whether the splits to evaluate are there: better now than after hours.
    pub fn open(config: &DataConfig) -> Result<Self, ExperimentError> {
        let dataset = Dataset::open(config, INSTANCES, TRAIN)?;
        for split in config.test_splits.iter().chain([&config.val_split]) {
            dataset.annotations().records(split).map(drop)?;
        }
        let vectors = dataset.word_vectors()?.map(|vectors| {
            let numbers = vectors.values().iter().map(|value| value.to_string());
            sha256(numbers.collect::<Vec<_>>().join(" "))
        });
        let content = Content {
            annotations: sha256(dataset.annotations().text()),
            vocabulary: sha256(serde_json::to_string(dataset.vocabulary()).expect("plain data")),
            word_vectors: vectors,
        };
        let path = dataset.annotations().path();
        Ok(Self { path: absolute(path)?, content, referents: dataset.len(), config: config.clone() })
    }

    /// Refuses other files than those that went into the keys: what they bring would be kept under the name
    /// of something else.
    pub(super) fn check(&self) -> Result<(), ExperimentError> {
        let found = Self::open(&self.config)?.content;
        let file = self.path.display();
        let what = if found.annotations != self.content.annotations {
            file.to_string()
        } else if found != self.content {
            format!("the vocabulary or the word vectors beside {file}")
        } else {
            return Ok(());
        };
        Err(ExperimentError::Changed { what })
    }
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, ExperimentError> {
    std::path::absolute(path).map_err(ExperimentError::io(path))
}
