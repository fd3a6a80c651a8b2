//! Where images are, and the ones that are kept in memory.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use image::RgbImage;

use crate::config::BUILT_IN_IMAGES;

use super::DataError;
use super::annotations::{ImageId, Referent};
use super::decode::read_image;

/// The source of records that name none, by the beginning of the data set's name.
const SOURCES: [(&str, &str); 3] =
    [("refshapes", "refshapes"), ("referit", "saiaprtc12"), ("flickr", "flickr")];

/// File names of images.
#[derive(Clone, Debug)]
pub struct ImageFiles {
    folder: PathBuf,
    patterns: BTreeMap<String, String>,
    default_source: String,
}

impl ImageFiles {
    /// `folder` holds the images; `extra` patterns by data source replace the built-in ones. In a
    /// pattern, `{image_id}` is the id and `{image_id:012}` the id with leading zeros.
    pub fn new(folder: &Path, dataset: &str, extra: &BTreeMap<String, String>) -> Self {
        let mut patterns: BTreeMap<String, String> = BUILT_IN_IMAGES
            .iter()
            .map(|(source, pattern)| ((*source).to_owned(), (*pattern).to_owned()))
            .collect();
        patterns.extend(extra.clone());
        let by_name = SOURCES.iter().find(|(prefix, _)| dataset.starts_with(prefix));
        let default_source = match (by_name, extra.keys().next()) {
            (Some((_, source)), _) => (*source).to_owned(),
            // A single pattern of one's own is meant for data that name no source.
            (None, Some(own)) if extra.len() == 1 => own.clone(),
            (None, _) => "coco".to_owned(),
        };
        Self { folder: folder.to_owned(), patterns, default_source }
    }

    /// The image of a referent; `None` if there is no pattern for its source.
    pub fn path(&self, referent: &Referent) -> Option<PathBuf> {
        let pattern = self.patterns.get(self.source(referent))?;
        Some(self.folder.join(fill(pattern, &referent.image_id)))
    }

    /// The image collection of a referent.
    pub fn source<'a>(&'a self, referent: &'a Referent) -> &'a str {
        referent.data_source.as_deref().unwrap_or(&self.default_source)
    }

    /// Sources that have a pattern.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.patterns.keys().map(String::as_str)
    }
}

/// Replaces `{image_id}` and `{image_id:0N}`.
fn fill(pattern: &str, id: &ImageId) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("{image_id") {
        let Some((format, after)) = after.split_once('}') else { break };
        // No name needs more digits than a byte counts.
        let width = usize::from(format.trim_start_matches(':').parse::<u8>().unwrap_or(0));
        out += before;
        out += &match id {
            ImageId::Number(number) => format!("{number:0width$}"),
            ImageId::Name(name) => format!("{name:0>width$}"),
        };
        rest = after;
    }
    out + rest
}

/// Decoded images are kept if all of a split's fit into this many bytes; RefShapes does, and
/// would spend its time opening tiny files otherwise.
const KEEP_BYTES: usize = 256 << 20;

/// The images of a split.
#[derive(Debug)]
pub(super) struct ImageStore {
    paths: Vec<PathBuf>,
    /// The image of each referent.
    image_of: Vec<u32>,
    kept: Option<Vec<OnceLock<Arc<RgbImage>>>>,
}

impl ImageStore {
    pub fn new(files: &ImageFiles, referents: &[Referent]) -> Result<Self, DataError> {
        let mut index: HashMap<PathBuf, u32> = HashMap::new();
        let (mut paths, mut image_of, mut bytes) = (Vec::new(), Vec::with_capacity(referents.len()), 0usize);
        for (i, referent) in referents.iter().enumerate() {
            let path = files.path(referent).ok_or_else(|| DataError::NoPattern {
                data_source: files.source(referent).to_owned(),
                referent: i,
                there: files.sources().collect::<Vec<_>>().join(", "),
            })?;
            let image = *index.entry(path).or_insert_with_key(|path| {
                paths.push(path.clone());
                bytes =
                    bytes.saturating_add(referent.width.saturating_mul(referent.height).saturating_mul(3));
                paths.len() as u32 - 1
            });
            image_of.push(image);
        }
        let kept = (bytes <= KEEP_BYTES).then(|| paths.iter().map(|_| OnceLock::new()).collect());
        Ok(Self { paths, image_of, kept })
    }

    /// Number of the image of a referent; referents of one image have the same.
    pub fn image_of(&self, referent: usize) -> u32 {
        self.image_of[referent]
    }

    pub fn path(&self, referent: usize) -> &Path {
        &self.paths[self.image_of[referent] as usize]
    }

    /// The image of a referent; the error is what is wrong with the file.
    pub fn read(&self, referent: usize) -> Result<Arc<RgbImage>, String> {
        let image = self.image_of[referent] as usize;
        let Some(kept) = &self.kept else { return read_image(&self.paths[image]).map(Arc::new) };
        if let Some(image) = kept[image].get() {
            return Ok(Arc::clone(image));
        }
        let read = Arc::new(read_image(&self.paths[image])?);
        Ok(Arc::clone(kept[image].get_or_init(|| read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(dataset: &str, extra: &[(&str, &str)], source: Option<&str>, id: ImageId) -> Option<String> {
        let extra = extra.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let files = ImageFiles::new(Path::new("images"), dataset, &extra);
        let referent = Referent {
            image_id: id,
            bbox: [0.0; 4],
            segmentation: None,
            expressions: vec![],
            width: 1,
            height: 1,
            data_source: source.map(str::to_owned),
            weight: None,
        };
        files.path(&referent).map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn file_names() {
        let number = || ImageId::Number(57);
        let coco = "images/mscoco/train2014/COCO_train2014_000000000057.jpg";
        assert_eq!(path("mixed", &[], Some("coco"), number()).unwrap(), coco);
        assert_eq!(path("refcoco-unc", &[], None, number()).unwrap(), coco);
        assert_eq!(path("mixed", &[], Some("vg"), number()).unwrap(), "images/visual-genome/57.jpg");
        assert_eq!(
            path("flickr30k", &[], None, ImageId::Name("8a".into())).unwrap(),
            "images/flickr30k/8a.jpg"
        );
        assert_eq!(path("refshapes-unc", &[], None, number()).unwrap(), "images/refshapes/000057.jpg");
        let own = [("mine", "my/{image_id}/{image_id:04}.png")];
        assert_eq!(path("mine-v1", &own, None, number()).unwrap(), "images/my/57/0057.png");
        assert_eq!(path("mine-v1", &own, Some("other"), number()), None);
    }
}
