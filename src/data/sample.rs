//! One image, prepared for the network with everything that is asked about it.

use std::sync::Arc;

use image::RgbImage;

use super::close_up::CloseUp;
use super::frame::Frame;
use super::resize::Size;
use super::{DataError, Dataset, Entry, Referent, Row};
use crate::config::{CloseUpConfig, Config, Task, Transform};
use crate::mask::{self, Mask};
use crate::random::Stream;

/// What is made of images and referents.
#[derive(Clone, Debug, PartialEq)]
pub struct Preparation {
    pub transform: Transform,
    /// Longer side after a plain resize, pixels.
    pub image_size: usize,
    /// Smallest and largest factor of the jitter.
    pub jitter: [f64; 2],
    pub close_up: CloseUpConfig,
    /// Images are padded to multiples of this.
    pub stride: usize,
    /// What crops try to keep: boxes, or masks for segmentation (quirk 33d).
    pub task: Task,
    /// Points of an outline; 0 if vertices are not needed.
    pub vertices: usize,
    /// Whether rows keep the mask in the padded frame.
    pub masks: bool,
}

impl Preparation {
    /// Height and width of the square that every resized image has room in, padded to the stride: what is asked
    /// about is padded to it, so that an answer depends on no other image and maps are as large as in training,
    /// where the largest image of a batch decides.
    pub fn padded_side(&self) -> usize {
        self.image_size.next_multiple_of(self.stride)
    }

    /// Of samples to learn from.
    pub fn training(config: &Config) -> Self {
        let vertices = if config.model.task == Task::Detection { 0 } else { config.model.vertices };
        let (transform, close_up) = (config.data.train_transform, config.data.close_up);
        Self { transform, close_up, vertices, ..Self::evaluation(config) }
    }

    /// Of samples to judge by: a plain resize, or plain close-ups if the network learns from close-ups;
    /// boxes but neither vertices nor masks.
    pub fn evaluation(config: &Config) -> Self {
        let transform = match config.data.train_transform {
            Transform::CloseUp => Transform::CloseUp,
            Transform::Jitter | Transform::Resize => Transform::Resize,
        };
        Self {
            transform,
            close_up: config.data.close_up.plain(),
            image_size: config.data.image_size,
            jitter: config.data.jitter,
            stride: config.model.darknet.stride(),
            task: config.model.task,
            vertices: 0,
            masks: false,
        }
    }

    fn needs_masks(&self) -> bool {
        self.vertices > 0 || self.masks
    }

    /// Where a referent's image lies when nothing is drawn by chance.
    pub fn plain_frame(&self, referent: &Referent) -> Frame {
        let original = (referent.width, referent.height);
        match self.transform {
            Transform::Resize | Transform::Jitter => Frame::resize(original, self.image_size),
            Transform::CloseUp => self.close_up_of(original, referent.bbox),
        }
    }

    /// The plain close-up of a box x, y, width, height of an image (width, height).
    fn close_up_of(&self, original: Size, bbox: [f64; 4]) -> Frame {
        let plain = self.close_up.plain();
        Frame::CloseUp(CloseUp::new(original, bbox, self.image_size, &plain, None, || 0.5))
    }
}

/// An image in its frame and the rows that ask about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// RGB, row-major, interleaved, without padding.
    pub pixels: Vec<u8>,
    /// Height and width without padding.
    pub hw: (usize, usize),
    /// Height and width padded to the stride.
    pub pad_hw: (usize, usize),
    pub rows: Vec<Row>,
    /// Word indices of each row.
    pub words: Vec<Vec<u32>>,
}

impl Sample {
    pub(super) fn prepare(
        dataset: &Dataset,
        image: Arc<RgbImage>,
        entries: &[Entry],
        preparation: &Preparation,
        stream: &mut Stream,
    ) -> Result<Self, DataError> {
        let original = (image.width() as usize, image.height() as usize);
        let referents = || entries.iter().map(|entry| dataset.referent(entry.referent));
        let masks: Vec<Mask> = if preparation.needs_masks() {
            let mask = |entry: &Entry| {
                dataset.referent(entry.referent).mask().map_err(|e| dataset.mask_error(entry.referent, e))
            };
            entries.iter().map(mask).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let frame = match preparation.transform {
            Transform::Resize => Frame::resize(original, preparation.image_size),
            Transform::CloseUp => Frame::CloseUp(CloseUp::new(
                original,
                entries[0].around.unwrap_or(dataset.referent(entries[0].referent).bbox),
                preparation.image_size,
                &preparation.close_up,
                masks.first(),
                || stream.uniform(),
            )),
            Transform::Jitter => {
                let boxes: Vec<[f64; 4]> = referents().map(|referent| referent.corners()).collect();
                let kept: Vec<&Mask> = match preparation.task {
                    Task::Segmentation => masks.iter().collect(),
                    Task::Detection | Task::MultiTask => Vec::new(),
                };
                let size = preparation.image_size;
                Frame::jitter(original, size, preparation.jitter, &boxes, &kept, || stream.uniform())
            }
        };
        let mut rows = Vec::with_capacity(entries.len());
        for (i, entry) in entries.iter().enumerate() {
            let referent = dataset.referent(entry.referent);
            let mask = masks.get(i).map(|mask| frame.mask(mask, preparation.stride));
            rows.push(Row {
                referent: entry.referent,
                asked: entry.asked,
                expression: entry.expression,
                bbox: frame.bbox(referent.corners()),
                vertices: mask.as_ref().map_or(Vec::new(), |mask| mask::vertices(mask, preparation.vertices)),
                mask: mask.filter(|_| preparation.masks),
                is_crowd: referent.is_crowd(),
                labels: dataset.labels(entry.referent),
                weight: referent.weight.unwrap_or(1.0),
                scale: frame.scale(),
                offset: frame.offset(),
                original_hw: (original.1, original.0),
            });
        }
        let words = entries.iter().map(|entry| dataset.words(entry)).collect();
        Ok(Self {
            pixels: frame.image(image),
            hw: frame.hw(),
            pad_hw: frame.pad_hw(preparation.stride),
            rows,
            words,
        })
    }

    /// An image of no dataset, with expressions to ask about all of it (word indices, equally many).
    pub fn question(image: Arc<RgbImage>, words: Vec<Vec<u32>>, preparation: &Preparation) -> Self {
        let frame = Frame::resize((image.width() as usize, image.height() as usize), preparation.image_size);
        Self::asked(image, words, &frame, preparation.stride)
    }

    /// [`Sample::question`] about the close-up of a box x, y, width, height of the image.
    pub fn question_around(
        image: Arc<RgbImage>,
        bbox: [f64; 4],
        words: Vec<Vec<u32>>,
        preparation: &Preparation,
    ) -> Self {
        let frame = preparation.close_up_of((image.width() as usize, image.height() as usize), bbox);
        Self::asked(image, words, &frame, preparation.stride)
    }

    fn asked(image: Arc<RgbImage>, words: Vec<Vec<u32>>, frame: &Frame, stride: usize) -> Self {
        let original_hw = (image.height() as usize, image.width() as usize);
        let row = |i| Row {
            referent: i,
            asked: i,
            expression: 0,
            bbox: [0.0; 4],
            vertices: Vec::new(),
            mask: None,
            is_crowd: false,
            labels: Vec::new(),
            weight: 1.0,
            scale: frame.scale(),
            offset: frame.offset(),
            original_hw,
        };
        let rows = (0..words.len()).map(row).collect();
        let pixels = frame.image(image);
        Self { pixels, hw: frame.hw(), pad_hw: frame.pad_hw(stride), rows, words }
    }
}
