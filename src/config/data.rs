//! What the network sees.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::describe::described;

/// Patterns of [`DataConfig::images`] that need not be said: the reference's tree and RefShapes, by `data_source`
/// (quirk 58).
pub const BUILT_IN_IMAGES: [(&str, &str); 6] = [
    ("coco", "mscoco/train2014/COCO_train2014_{image_id:012}.jpg"),
    ("mscoco", "mscoco/train2014/COCO_train2014_{image_id:012}.jpg"),
    ("saiaprtc12", "saiaprtc12/{image_id}.jpg"),
    ("flickr", "flickr30k/{image_id}.jpg"),
    ("vg", "visual-genome/{image_id}.jpg"),
    ("refshapes", "refshapes/{image_id:06}.jpg"),
];

described! {
    /// How training samples are resized. Evaluation resizes plainly, or looks at close-ups without chance.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Transform {
        /// Large-scale jitter (segmentation and detection in the reference; quirk 33).
        Jitter,
        /// Longest side to `image_size` (multi-task and mixed in the reference).
        Resize,
        /// Not in the reference: a close-up of each referent, whose box must be known (`data.close_up`): for
        /// networks that label.
        CloseUp,
    }
}

described! {
    /// The surroundings of a referent's box, stretched over a square of `image_size`.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct CloseUpConfig {
        /// What is seen beyond each side of the box, as a share of the box's length.
        pub margin: f64,
        /// In training each of the four margins is drawn between `margin` times 1 less this and `margin` times
        /// 1 plus this.
        pub jitter: f64,
        /// In training the image is turned by up to this many degrees either way.
        pub rotation: f64,
        /// In training this share of the close-ups is mirrored left to right. Their expressions stay, as in
        /// a close-up there is one object to speak of.
        pub mirrored: f64,
    }
}

impl Default for CloseUpConfig {
    fn default() -> Self {
        Self { margin: 0.2, jitter: 0.5, rotation: 15.0, mirrored: 0.5 }
    }
}

impl CloseUpConfig {
    /// Without chance: what a network is asked about.
    pub fn plain(self) -> Self {
        Self { jitter: 0.0, rotation: 0.0, mirrored: 0.0, ..self }
    }
}

described! {
    /// Where the data is and how it is prepared.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct DataConfig {
        /// Holds `annotations/<dataset>/` and `images/`.
        pub root: PathBuf,
        /// A folder of `root/annotations`.
        pub dataset: String,
        /// File with the splits for training (labelled samples, picked pseudo points); evaluation
        /// reads `instances.json`.
        pub train_annotations: String,
        /// The split that training evaluates.
        pub val_split: String,
        /// The splits that `eval` evaluates when none is named.
        pub test_splits: Vec<String>,
        /// File name patterns under `root/images` by the `data_source` of records. `{image_id}` is the id,
        /// `{image_id:012}` the id with leading zeros. Adds to the built-in ones, or replaces them.
        pub images: BTreeMap<String, String>,
        /// Longest side after resizing, in pixels; images are then padded (quirk 32).
        pub image_size: usize,
        /// How training samples are resized.
        pub train_transform: Transform,
        /// Smallest and largest factor of the large-scale jitter.
        pub jitter: [f64; 2],
        /// What a close-up sees of a referent's surroundings; with `train_transform = "close-up"`.
        pub close_up: CloseUpConfig,
        /// Words of an expression that count (quirk 35).
        pub max_words: usize,
        /// Not in the reference: this many referents of an image share a training batch, so that the
        /// backbone runs once for them. 1 is the reference.
        pub referents_per_image: usize,
        /// Not in the reference: fields of the records whose values are classes for a pretext task, such
        /// as `category_id`.
        pub labels: Vec<String>,
        /// Threads that prepare batches, each with a batch in memory; 0 means as many as compute (`--threads`,
        /// `RAYON_NUM_THREADS`, else one per core), but at most 16. No influence on the result.
        pub workers: usize,
        /// Training skips at most this many unreadable images in an epoch, then stops.
        pub max_bad: usize,
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            root: "data".into(),
            dataset: "refcoco-unc".into(),
            train_annotations: "instances.json".into(),
            val_split: "val".into(),
            test_splits: vec!["val".into(), "testA".into(), "testB".into()],
            images: BTreeMap::new(),
            image_size: 640,
            train_transform: Transform::Jitter,
            jitter: [0.3, 1.4],
            close_up: CloseUpConfig::default(),
            max_words: 15,
            referents_per_image: 1,
            labels: Vec::new(),
            workers: 0,
            max_bad: 0,
        }
    }
}
