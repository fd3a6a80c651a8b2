//! Samples side by side in one padded block of memory.

use candle_core::{DType, Device, Result, Tensor};

use super::{DataError, Sample};
use crate::config::Task;
use crate::mask::Mask;
use crate::model::{Inputs, Targets};
use crate::nn::ops::wide;

/// One expression of one referent, as the network is asked and judged. Coordinates are pixels of
/// the resized (and perhaps cropped) image, whose top left corner padding leaves where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Index of the referent in its split.
    pub referent: usize,
    /// Index of the referent whose expression is asked: `referent`, unless expressions were
    /// swapped on purpose.
    pub asked: usize,
    /// Index of the expression among those of `asked`.
    pub expression: usize,
    /// x1, y1, x2, y2.
    pub bbox: [f64; 4],
    /// Points on the largest outline, at most `ModelConfig::vertices` (quirk 34).
    pub vertices: Vec<[f32; 2]>,
    /// The mask in the frame of the image's own padding, if it was asked for.
    pub mask: Option<Mask>,
    /// The object has several polygons (quirk 25).
    pub is_crowd: bool,
    /// A number for each of `DataConfig::labels`; [`super::NO_LABEL`] where the record has none.
    pub labels: Vec<u32>,
    /// How much the outline counts in the loss; 1 unless the record says otherwise.
    pub weight: f32,
    /// Resized over original size, x and y; negative where the image is mirrored. Of a rotated close-up
    /// scale and offset hold but for the rotation.
    pub scale: (f64, f64),
    /// Where the crop begins in the resized image, x and y; zero for a plain resize.
    pub offset: (f64, f64),
    /// Height and width of the original image, pixels.
    pub original_hw: (usize, usize),
}

/// A file that could not be decoded; its rows are missing from the batch.
#[derive(Debug)]
pub struct Skipped {
    /// Referents whose rows were dropped.
    pub referents: Vec<usize>,
    pub error: DataError,
}

/// Images and rows of one step. Rows of one image share its entry in `images`.
#[derive(Debug)]
pub struct Batch {
    /// RGB, 0..255, zero padded on the right and below: `[images, 3, height, width]`.
    pub images: Vec<u8>,
    pub height: usize,
    pub width: usize,
    /// Height and width of each image without padding.
    pub image_hw: Vec<(usize, usize)>,
    /// Height and width of each image in its own padding (a multiple of the stride); the batch is
    /// padded to the largest (quirk 32).
    pub pad_hw: Vec<(usize, usize)>,
    /// The image of each row.
    pub image_of: Vec<u32>,
    /// Word indices, 0 = padding: `[rows, max_words]`.
    pub words: Vec<u32>,
    pub max_words: usize,
    pub rows: Vec<Row>,
    /// What is missing because its image could not be read.
    pub skipped: Vec<Skipped>,
}

impl Batch {
    /// Puts samples side by side.
    pub fn collate(samples: Vec<Sample>, max_words: usize) -> Self {
        let largest = |side: fn(&Sample) -> usize| samples.iter().map(side).max().unwrap_or(0);
        let (height, width) = (largest(|s| s.pad_hw.0), largest(|s| s.pad_hw.1));
        let plane = height * width;
        let mut images = vec![0; samples.len() * 3 * plane];
        let mut batch = Self {
            images: Vec::new(),
            height,
            width,
            image_hw: samples.iter().map(|s| s.hw).collect(),
            pad_hw: samples.iter().map(|s| s.pad_hw).collect(),
            image_of: Vec::new(),
            words: Vec::new(),
            max_words,
            rows: Vec::new(),
            skipped: Vec::new(),
        };
        for (i, sample) in samples.into_iter().enumerate() {
            if plane > 0 {
                place(&sample, &mut images[i * 3 * plane..][..3 * plane], width);
            }
            batch.image_of.extend(sample.rows.iter().map(|_| i as u32));
            batch.words.extend(sample.words.iter().flatten());
            batch.rows.extend(sample.rows);
        }
        batch.images = images;
        batch
    }

    /// Pads further, to at least this size (in pixels).
    pub fn pad_to(&mut self, height: usize, width: usize) {
        let (height, width) = (height.max(self.height), width.max(self.width));
        if (height, width) == (self.height, self.width) {
            return;
        }
        let mut images = vec![0; self.image_hw.len() * 3 * height * width];
        let rows = self.images.chunks(self.width.max(1)).enumerate();
        for (row, values) in rows {
            let (plane, y) = (row / self.height, row % self.height);
            images[(plane * height + y) * width..][..values.len()].copy_from_slice(values);
        }
        (self.images, self.height, self.width) = (images, height, width);
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Moves images and words to the device. The bytes travel as bytes and become floats there.
    pub fn inputs(&self, device: &Device) -> Result<Inputs> {
        let shape = (self.image_hw.len(), 3, self.height, self.width);
        let images = Tensor::from_slice(&self.images, shape, device)?.to_dtype(DType::F32)?;
        let words = Tensor::from_slice(&self.words, (self.rows.len(), self.max_words), device)?;
        Ok(Inputs { images, image_hw: self.image_hw.clone(), image_of: self.image_of.clone(), words })
    }

    /// What the network is to say for this task.
    pub fn targets(&self, task: Task) -> Targets {
        // In segmentation boxes and labels serve the auxiliary losses.
        let boxes = Some(self.rows.iter().map(|row| row.bbox).collect());
        let labels = Some(self.rows.iter().map(|row| row.labels.clone()).collect());
        let vertices =
            (task != Task::Detection).then(|| self.rows.iter().map(|row| row.vertices.clone()).collect());
        let weights = Some(self.rows.iter().map(|row| row.weight).collect());
        Targets { pad_hw: self.row_pad_hw(), boxes, vertices, labels, weights }
    }

    /// The padded size of each row's image.
    pub fn row_pad_hw(&self) -> Vec<(usize, usize)> {
        self.image_of.iter().map(|&image| self.pad_hw[image as usize]).collect()
    }
}

wide! {
    /// Interleaved pixels into the three planes of a larger, zeroed image.
    fn place(sample: &Sample, planes: &mut [u8], width: usize) {
        let plane = planes.len() / 3;
        let (red, rest) = planes.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let rows = sample.pixels.chunks_exact(sample.hw.1 * 3);
        let planes =
            red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width)).zip(blue.chunks_exact_mut(width));
        for (row, ((red, green), blue)) in rows.zip(planes) {
            let (pixels, _) = row.as_chunks::<3>();
            for ((([r, g, b], red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
                (*red, *green, *blue) = (*r, *g, *b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_further_leaves_pixels_where_they_are() {
        let mut batch = Batch::collate(Vec::new(), 3);
        batch.image_hw = vec![(1, 2)];
        (batch.images, batch.height, batch.width) = ((1..=6).collect(), 1, 2);
        batch.pad_to(2, 3);
        assert_eq!((batch.height, batch.width), (2, 3));
        assert_eq!(batch.images, [1, 2, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 5, 6, 0, 0, 0, 0]);
        batch.pad_to(1, 1);
        assert_eq!((batch.height, batch.width), (2, 3));
    }
}
