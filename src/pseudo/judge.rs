use serde::Serialize;

use super::{box_mask, projection_term};
use crate::mask::{MaskError, Rle, find_contours};

/// Decides which predictions become pseudo labels (quirks 41 to 44).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judge {
    /// Predictions whose projection term is below this are kept.
    pub threshold: f64,
}

impl Default for Judge {
    fn default() -> Self {
        Self { threshold: 0.1 }
    }
}

/// What was decided about a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The prediction's outlines `[x1, y1, …]`, as they are written into annotations. Empty if
    /// the prediction is empty or too thin to have any.
    pub polygons: Vec<Vec<f64>>,
    /// The union of the outlines: what a training on them would see; none without outlines.
    pub mask: Option<Rle>,
    /// The [`projection_term`] of the union of the outlines; none without outlines.
    pub projection_term: Option<f32>,
    pub kept: bool,
}

impl Judgement {
    /// Of a prediction without outlines.
    pub fn nothing() -> Self {
        Self { polygons: Vec::new(), mask: None, projection_term: None, kept: false }
    }
}

impl Judge {
    /// Compares a prediction with the true box `[x, y, width, height]`. The prediction must be in
    /// the frame of the original image, `(height, width)`, to which the box belongs; what lies outside
    /// of it is cut off.
    ///
    /// Of a prediction with several parts the union is judged. (The reference drops all of
    /// those, and holes in a part count as parts there.) A prediction without outlines is never
    /// kept. (The reference judges the one before in its place.)
    pub fn judge(
        &self,
        prediction: &Rle,
        bbox: [f64; 4],
        (height, width): (usize, usize),
    ) -> Result<Judgement, MaskError> {
        let polygons = outlines(prediction);
        if polygons.is_empty() {
            return Ok(Judgement::nothing());
        }
        let union = Rle::from_polygons(height, width, &polygons)?;
        let term = projection_term(&union, &box_mask(bbox, height, width)?)?;
        let kept = f64::from(term) < self.threshold;
        Ok(Judgement { polygons, mask: Some(union), projection_term: Some(term), kept })
    }
}

/// Whether an outline of the mask has an area: whether it has vertices ([`crate::mask::vertices`]).
pub(super) fn encloses_area(mask: &Rle) -> bool {
    let contours = find_contours(&mask.to_mask_within(mask.bounding_box()));
    contours.iter().any(|contour| contour.area() > 0.0)
}

/// The outlines of a mask as polygons `[x1, y1, …]`, holes too; those of fewer than three points
/// are left out.
pub fn outlines(mask: &Rle) -> Vec<Vec<f64>> {
    let bounds = mask.bounding_box();
    let corner = [f64::from(bounds[0]), f64::from(bounds[1])];
    let in_image =
        |polygon: Vec<f64>| polygon.into_iter().enumerate().map(|(i, v)| v + corner[i % 2]).collect();
    let contours = find_contours(&mask.to_mask_within(bounds));
    contours
        .iter()
        .map(|contour| contour.polygon())
        .filter(|polygon| polygon.len() >= 6)
        .map(in_image)
        .collect()
}
