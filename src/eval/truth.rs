//! What an answer is compared with.

use crate::data::{Dataset, Preparation};
use crate::mask::Rle;

use super::metrics::{Outcome, ReferenceOutcome, box_iou};
use super::{EvalError, Place, Shape};

/// The ground truth of one referent in both frames.
#[derive(Clone, Debug)]
pub struct Truth {
    pub place: Place,
    /// In the original image; `None` where only the box is known.
    pub mask: Option<Rle>,
    /// In the padded frame, resized by nearest neighbour (quirk 23).
    pub padded_mask: Option<Rle>,
    /// Has several polygons (quirk 25).
    pub is_crowd: bool,
    /// x1, y1, x2, y2 in the original image.
    pub bbox: [f64; 4],
    /// x1, y1, x2, y2 in the padded frame.
    pub padded_bbox: [f64; 4],
}

impl Truth {
    /// The truth of a referent for a network that sees images prepared like this, without chance.
    pub fn new(dataset: &Dataset, referent: usize, preparation: &Preparation) -> Result<Self, EvalError> {
        let record = dataset.referent(referent);
        let wrong = |source| EvalError::Mask { split: dataset.split_name().to_owned(), referent, source };
        let (frame, stride) = (preparation.plain_frame(record), preparation.stride);
        let (mask, padded_mask) = match record.has_mask() {
            true => {
                let mask = record.rle().map_err(wrong)?;
                let padded = frame.mask(&mask.to_mask(), stride).to_rle().map_err(wrong)?;
                (Some(mask), Some(padded))
            }
            false => (None, None),
        };
        let [x, y, w, h] = record.bbox;
        Ok(Self {
            place: Place {
                pad_hw: frame.pad_hw(stride),
                original_hw: (record.height, record.width),
                scale: frame.scale(),
                offset: frame.offset(),
            },
            mask,
            padded_mask,
            is_crowd: record.is_crowd(),
            bbox: [x, y, x + w, y + h],
            padded_bbox: frame.bbox(record.corners()),
        })
    }

    /// Compares an answer in both protocols, and gives its mask in the original image.
    pub fn judge(
        &self,
        shape: &Shape,
        split: &str,
        (referent, expression): (usize, usize),
    ) -> Result<(Outcome, Option<Rle>), EvalError> {
        let wrong = |source| EvalError::Mask { split: split.to_owned(), referent, source };
        let mask = shape.original_mask(&self.place).transpose().map_err(wrong)?;
        let padded = shape.reference_mask(&self.place).transpose().map_err(wrong)?;
        let compared = match (&mask, &self.mask) {
            (Some(mask), Some(truth)) => Some(mask.intersection_and_union(truth).map_err(wrong)?),
            _ => None,
        };
        let reference = match (&padded, &self.padded_mask) {
            (Some(mask), Some(truth)) => Some(mask.iou(truth, self.is_crowd).map_err(wrong)?),
            _ => None,
        };
        let outcome = Outcome {
            referent,
            expression,
            mask: compared,
            bbox: shape.original_bbox(&self.place).map(|bbox| box_iou(bbox, self.bbox)),
            reference: ReferenceOutcome {
                mask: reference,
                bbox: shape.bbox.map(|bbox| box_iou(bbox.map(f64::from), self.padded_bbox)),
            },
        };
        Ok((outcome, mask))
    }
}
