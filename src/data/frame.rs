//! From the original image to what the network sees, for images, masks and boxes alike.

use std::sync::Arc;

use image::RgbImage;

use super::close_up::CloseUp;
use super::resize::Size;
use super::scaled::Scaled;
use crate::mask::Mask;

/// Where the original image lies in what the network sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// All of the image, or a part of it, in its proportions.
    Scaled(Scaled),
    /// The surroundings of one object.
    CloseUp(CloseUp),
}

impl Frame {
    /// The longer side becomes `image_size`. `original` is width, height.
    pub fn resize(original: Size, image_size: usize) -> Self {
        Self::Scaled(Scaled::resize(original, image_size))
    }

    /// Large-scale jitter ([`Scaled::jitter`]).
    pub fn jitter(
        original: Size,
        image_size: usize,
        range: [f64; 2],
        boxes: &[[f64; 4]],
        masks: &[&Mask],
        uniform: impl FnMut() -> f64,
    ) -> Self {
        Self::Scaled(Scaled::jitter(original, image_size, range, boxes, masks, uniform))
    }

    /// Height and width of the result, without padding.
    pub fn hw(&self) -> (usize, usize) {
        match self {
            Self::Scaled(scaled) => scaled.hw(),
            Self::CloseUp(close_up) => close_up.hw(),
        }
    }

    /// Height and width padded to multiples of `stride` (quirk 32).
    pub fn pad_hw(&self, stride: usize) -> (usize, usize) {
        let (height, width) = self.hw();
        (height.next_multiple_of(stride), width.next_multiple_of(stride))
    }

    /// Resized over original size, x and y; negative where the image is mirrored.
    pub fn scale(&self) -> (f64, f64) {
        match self {
            Self::Scaled(scaled) => scaled.scale(),
            Self::CloseUp(close_up) => close_up.scale(),
        }
    }

    /// Where the crop begins, x and y: a point of the original image times the scale, less this, is
    /// the point in the frame.
    pub fn offset(&self) -> (f64, f64) {
        match self {
            Self::Scaled(scaled) => scaled.offset(),
            Self::CloseUp(close_up) => close_up.offset(),
        }
    }

    /// The image in this frame, without padding: RGB, row-major, interleaved.
    pub fn image(&self, image: Arc<RgbImage>) -> Vec<u8> {
        match self {
            Self::Scaled(scaled) => scaled.image(image),
            Self::CloseUp(close_up) => close_up.image(&image),
        }
    }

    /// The mask in this frame, padded to multiples of `stride`.
    pub fn mask(&self, mask: &Mask, stride: usize) -> Mask {
        match self {
            Self::Scaled(scaled) => scaled.mask(mask, stride),
            Self::CloseUp(close_up) => close_up.mask(mask, self.pad_hw(stride)),
        }
    }

    /// A box (x1, y1, x2, y2) in this frame. Of a close-up it is the box of its own object, whichever
    /// is given.
    pub fn bbox(&self, bbox: [f64; 4]) -> [f64; 4] {
        match self {
            Self::Scaled(scaled) => scaled.bbox(bbox),
            Self::CloseUp(close_up) => close_up.bbox(),
        }
    }
}
