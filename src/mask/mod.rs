//! Masks: COCO polygons and RLE, IoU, contours, vertices. No tensors here.
//!
//! [`Mask`] has one byte a pixel; [`Rle`] is the same as run lengths, on which areas, unions and
//! IoU cost microseconds. [`Segmentation`] is the `mask` field of an annotation. Rasterising and
//! IoU equal pycocotools, contours equal OpenCV's: the published numbers rest on both.
//! Errors: [`MaskError`].

mod bitmap;
mod codec;
mod contour;
mod error;
mod iou;
mod polygon;
mod rle;
mod segmentation;
mod vertices;

pub use bitmap::Mask;
pub use contour::{Contour, find_contours};
pub use error::MaskError;
pub use iou::iou_matrix;
pub use polygon::polygon_area;
pub use rle::{MAX_PIXELS, Merge, Rle, Shadows};
pub use segmentation::Segmentation;
pub use vertices::vertices;
