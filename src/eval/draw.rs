//! Pictures of answers.

use image::RgbImage;

use crate::data::Dataset;
use crate::report::{Colour, Layer, Overlay, PALETTE, side_by_side};

use super::{EvalError, Judged, Truth};

/// Of what is true, and of what was said.
pub(super) const TRUE: Colour = PALETTE[2];
pub(super) const SAID: Colour = PALETTE[1];

/// Ground truth and answer side by side, with the expression below; vertices are numbered in the
/// order in which they were said.
pub fn draw_answer(dataset: &Dataset, truth: &Truth, judged: &Judged) -> Result<RgbImage, EvalError> {
    let image = dataset.image(judged.referent)?;
    let expression = &dataset.referent(judged.asked).expressions[judged.expression];
    let mask = truth.mask.as_ref().map(|rle| rle.to_mask());
    let layer = Layer {
        colour: TRUE,
        mask: mask.as_ref(),
        bbox: judged.shape.bbox.is_some().then_some(truth.bbox),
        ..Layer::default()
    };
    let left =
        Overlay::new(&image).title("ground truth").layer(layer).caption(expression.as_str(), None).draw();

    let percent = |iou: f64| format!("{:.1} %", 100.0 * iou);
    let title = match (judged.outcome.mask_iou(), judged.outcome.bbox) {
        (Some(iou), _) => format!("prediction, IoU {}", percent(iou)),
        (None, Some(iou)) => format!("prediction, box IoU {}", percent(iou)),
        (None, None) => "prediction".to_owned(),
    };
    let said = judged.mask.as_ref().map(|rle| rle.to_mask());
    let outline = judged.shape.original_outline(&judged.place).unwrap_or_default();
    let layer = Layer {
        colour: SAID,
        mask: said.as_ref(),
        outline: &outline,
        numbered: true,
        bbox: judged.shape.bbox.and_then(|_| judged.shape.original_bbox(&judged.place)),
    };
    let right = Overlay::new(&image).title(title).layer(layer).caption(expression.as_str(), None).draw();
    Ok(side_by_side(&[left, right]))
}
