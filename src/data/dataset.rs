//! The one dataset that trainer, evaluator and picker hold: a split of an annotation file, its
//! images and its vocabulary.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::annotations::{Annotations, Referent, Split};
use super::decode::read_image;
use super::images::{ImageFiles, ImageStore};
use super::labels::Labels;
use super::sample::{Preparation, Sample};
use super::{BadRecord, DataError, Entry, words};
use crate::config::DataConfig;
use crate::mask::MaskError;
use crate::random::Stream;
use crate::text::{Coverage, Vocabulary, WordVectors};

/// A split of an annotation file.
#[derive(Debug)]
pub struct Dataset {
    annotations: Arc<Annotations>,
    /// The `instances.json` in the data set's folder, where its words are.
    whole: PathBuf,
    split: Arc<Split>,
    files: ImageFiles,
    images: ImageStore,
    vocabulary: Arc<Vocabulary>,
    max_words: usize,
    label_fields: Vec<String>,
    labels: Labels,
}

impl Dataset {
    /// Opens a split of `root/annotations/<dataset>/<file>`; `file` is `config.train_annotations`
    /// for training, `instances.json` otherwise. A file may also lie elsewhere, with its whole path.
    ///
    /// Words are numbered by the vocabulary in the data set's folder (`vocabulary.json` or the
    /// reference's `token_to_ix.pkl`); without one, by their order in the expressions of all splits of
    /// its `instances.json` (quirk 37), or of the file itself.
    pub fn open(config: &DataConfig, file: &str, split: &str) -> Result<Self, DataError> {
        let path = annotation_file(&config.root, &config.dataset, file)?;
        let annotations = Arc::new(Annotations::read(&path)?);
        let whole = dataset_folder(&config.root, &config.dataset)?.join(INSTANCES);
        let vocabulary = match words::vocabulary(&whole)? {
            Some(vocabulary) => vocabulary,
            None => build_vocabulary(&annotations, &whole)?,
        };
        let files = ImageFiles::new(&config.root.join("images"), &config.dataset, &config.images);
        let vocabulary = Arc::new(vocabulary);
        Self::new(annotations, whole, split, files, vocabulary, config.max_words, config.labels.clone())
    }

    fn new(
        annotations: Arc<Annotations>,
        whole: PathBuf,
        split: &str,
        files: ImageFiles,
        vocabulary: Arc<Vocabulary>,
        max_words: usize,
        label_fields: Vec<String>,
    ) -> Result<Self, DataError> {
        let labels = Labels::read(&annotations, split, &label_fields)?;
        let split = Arc::clone(annotations.find(split)?);
        let images = ImageStore::new(&files, &split.referents)?;
        Ok(Self { annotations, whole, split, files, images, vocabulary, max_words, label_fields, labels })
    }

    /// Several splits of a file, which is read once. All are looked for before any is used.
    pub fn open_splits(config: &DataConfig, file: &str, splits: &[String]) -> Result<Vec<Self>, DataError> {
        let Some((first, others)) = splits.split_first() else { return Ok(Vec::new()) };
        let first = Self::open(config, file, first)?;
        let others: Vec<Self> = others.iter().map(|split| first.split(split)).collect::<Result<_, _>>()?;
        Ok([first].into_iter().chain(others).collect())
    }

    /// Another split of the same file, which is not read again.
    pub fn split(&self, split: &str) -> Result<Self, DataError> {
        let vocabulary = Arc::clone(&self.vocabulary);
        let (annotations, fields) = (Arc::clone(&self.annotations), self.label_fields.clone());
        Self::new(
            annotations,
            self.whole.clone(),
            split,
            self.files.clone(),
            vocabulary,
            self.max_words,
            fields,
        )
    }

    /// How much of what is asked a vocabulary knows.
    pub fn coverage_by(&self, vocabulary: &Vocabulary) -> Coverage {
        let expressions = self.referents().iter().flat_map(|referent| &referent.expressions);
        Coverage::of(vocabulary, expressions.map(String::as_str))
    }

    /// The same referents with the words numbered by another vocabulary: that of a checkpoint.
    pub fn with_vocabulary(self, vocabulary: Vocabulary) -> Self {
        Self { vocabulary: Arc::new(vocabulary), ..self }
    }

    /// The same referents of whose expressions so many words count.
    pub fn with_max_words(self, max_words: usize) -> Self {
        Self { max_words, ..self }
    }

    /// Referents.
    pub fn len(&self) -> usize {
        self.split.referents.len()
    }

    pub fn is_empty(&self) -> bool {
        self.split.referents.is_empty()
    }

    pub fn referent(&self, index: usize) -> &Referent {
        &self.split.referents[index]
    }

    pub fn referents(&self) -> &[Referent] {
        &self.split.referents
    }

    /// A number for each of `DataConfig::labels`.
    pub fn labels(&self, referent: usize) -> Vec<u32> {
        self.labels.of(referent)
    }

    /// How many values each of `DataConfig::labels` has in the file.
    pub fn label_classes(&self) -> &[usize] {
        &self.labels.classes
    }

    /// Name of the split.
    pub fn split_name(&self) -> &str {
        &self.split.name
    }

    /// The whole file, with its other splits and the records as they stand.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// A vector for each word of the vocabulary in the data set's folder, if there are any:
    /// `word_vectors.safetensors` or the reference's `word_emb.npz`. One of another number of rows
    /// is an error.
    pub fn word_vectors(&self) -> Result<Option<WordVectors>, DataError> {
        let path = self.whole.as_path();
        let vectors = words::vectors(path)?;
        match &vectors {
            Some(vectors) if vectors.rows() != self.vocabulary.len() => Err(DataError::VectorRows {
                folder: path.parent().unwrap_or(path).to_owned(),
                vectors: vectors.rows(),
                words: self.vocabulary.len(),
            }),
            _ => Ok(vectors),
        }
    }

    /// Number of the image of a referent, counted by first appearance in the split; referents of
    /// one image have the same.
    pub fn image_of(&self, referent: usize) -> u32 {
        self.images.image_of(referent)
    }

    pub fn image_path(&self, referent: usize) -> &Path {
        self.images.path(referent)
    }

    /// The original image of a referent, from memory if all of the split's are kept there.
    pub fn image(&self, referent: usize) -> Result<Arc<image::RgbImage>, DataError> {
        self.checked(referent, self.images.read(referent))
    }

    /// The original image of a referent, read anew.
    pub fn image_from_file(&self, referent: usize) -> Result<Arc<image::RgbImage>, DataError> {
        self.checked(referent, read_image(self.image_path(referent)).map(Arc::new))
    }

    /// An image that was read, or what is wrong with its file.
    fn checked(
        &self,
        referent: usize,
        image: Result<Arc<image::RgbImage>, String>,
    ) -> Result<Arc<image::RgbImage>, DataError> {
        let record = self.referent(referent);
        let image = image.map_err(|problem| self.image_error(referent, problem))?;
        if (image.width() as usize, image.height() as usize) != (record.width, record.height) {
            let (width, height) = (record.width, record.height);
            let problem = format!(
                "is {} x {} pixels, its record says {width} x {height}",
                image.width(),
                image.height()
            );
            return Err(self.image_error(referent, problem));
        }
        Ok(image)
    }

    /// One image with everything that is asked about it. The entries must be of one image; they
    /// share its transform, whose random numbers come from `stream`.
    pub fn sample(
        &self,
        entries: &[Entry],
        preparation: &Preparation,
        stream: &mut Stream,
    ) -> Result<Sample, DataError> {
        self.sample_of(self.image(entries[0].referent)?, entries, preparation, stream)
    }

    /// The same with the image at hand, as [`Dataset::image`] gives it.
    pub fn sample_of(
        &self,
        image: Arc<image::RgbImage>,
        entries: &[Entry],
        preparation: &Preparation,
        stream: &mut Stream,
    ) -> Result<Sample, DataError> {
        Sample::prepare(self, image, entries, preparation, stream)
    }

    /// Word indices of an entry's expression, `max_words` of them.
    pub fn words(&self, entry: &Entry) -> Vec<u32> {
        self.vocabulary.encode(&self.referent(entry.asked).expressions[entry.expression], self.max_words).ids
    }

    /// Words of an expression that count.
    pub fn max_words(&self) -> usize {
        self.max_words
    }

    fn image_error(&self, referent: usize, problem: String) -> DataError {
        DataError::Image {
            path: self.image_path(referent).to_owned(),
            split: self.split.name.clone(),
            referent,
            problem,
        }
    }

    pub(super) fn mask_error(&self, referent: usize, error: MaskError) -> DataError {
        let record = Box::new(BadRecord {
            split: self.split.name.clone(),
            index: referent,
            field: "mask".to_owned(),
            found: error.to_string(),
            remedy: "correct the record",
        });
        DataError::Record { path: self.annotations.path().to_owned(), record, more: 0 }
    }
}

/// A subset shares the vocabulary of the whole, or word tables would not fit from one step of the
/// method to the next.
fn build_vocabulary(annotations: &Annotations, whole: &Path) -> Result<Vocabulary, DataError> {
    if whole == annotations.path() || !whole.is_file() {
        return Ok(Vocabulary::build(annotations.expressions()));
    }
    Ok(Vocabulary::build(Annotations::read(whole)?.expressions()))
}

/// The annotation file of all referents.
pub const INSTANCES: &str = "instances.json";

/// The path of `root/annotations/<dataset>/<file>`, if there is such a file. The picker's output has
/// two names (quirk 60).
pub fn annotation_file(root: &Path, dataset: &str, file: &str) -> Result<PathBuf, DataError> {
    let folder = dataset_folder(root, dataset)?;
    let path = folder.join(file);
    let other = match file.strip_suffix("_box_pick.json") {
        Some(stem) => Some(format!("{stem}_bbox_pick.json")),
        None => file.strip_suffix("_bbox_pick.json").map(|stem| format!("{stem}_box_pick.json")),
    };
    let candidates = [Some(path.clone()), other.map(|other| folder.join(other))];
    candidates.into_iter().flatten().find(|path| path.is_file()).ok_or_else(|| {
        let there = there_are("files", &folder, |entry| {
            entry.extension().is_some_and(|extension| extension == "json")
        });
        DataError::NoFile { path, there }
    })
}

/// `root/annotations/<dataset>`, if there is such a folder.
pub(super) fn dataset_folder(root: &Path, dataset: &str) -> Result<PathBuf, DataError> {
    let parent = root.join("annotations");
    let folder = parent.join(dataset);
    if folder.is_dir() {
        return Ok(folder);
    }
    let there = there_are("data sets", &parent, |entry| entry.is_dir() && !is_hidden(entry));
    Err(DataError::NoDataset { dataset: dataset.to_owned(), folder, there })
}

/// What is being written, and what other programs leave in folders, is no data.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// "there are …" or "there are none", for messages.
pub(super) fn there_are(what: &str, folder: &Path, wanted: impl Fn(&Path) -> bool) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut names: Vec<String> = entries
        .filter(|path| wanted(path))
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    match names.is_empty() {
        true => format!("there are no {what} in {}", folder.display()),
        false => format!("{what} there: {}", names.join(", ")),
    }
}
