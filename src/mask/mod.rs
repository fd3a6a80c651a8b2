//! Masks: COCO polygons and RLE, IoU, contours, vertices. No tensors here.
//! Errors: [`MaskError`].

use thiserror::Error;

/// A binary mask, row-major, one byte (0 or 1) a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    pub height: usize,
    pub width: usize,
    pub pixels: Vec<u8>,
}

impl Mask {
    pub fn empty(height: usize, width: usize) -> Self {
        Self { height, width, pixels: vec![0; height * width] }
    }

    pub fn get(&self, x: usize, y: usize) -> bool {
        self.pixels[y * self.width + x] != 0
    }

    /// Pixels set.
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|&&p| p != 0).count()
    }
}

/// Run lengths in column-major order, starting with zeros, as COCO counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rle {
    pub height: usize,
    pub width: usize,
    pub counts: Vec<u32>,
}

/// What can be wrong with a mask.
#[derive(Debug, Error, PartialEq)]
pub enum MaskError {
    #[error("run lengths cover {found} pixels, the mask of {height} x {width} has {expected}")]
    Length { height: usize, width: usize, found: u64, expected: u64 },
}
