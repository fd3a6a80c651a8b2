use super::{box_mask, projection_term};
use crate::mask::{Mask, MaskError, Rle, find_contours};

/// Decides which predictions become pseudo labels (quirks 41 to 44).
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// The [`projection_term`] of the union of the outlines; none without outlines.
    pub projection_term: Option<f32>,
    pub kept: bool,
}

impl Judge {
    /// Compares a prediction with the true box `[x, y, width, height]`. The prediction must be in
    /// the frame of the original image, `height` x `width`, to which the box belongs.
    ///
    /// Of a prediction with several parts the union is judged. (The reference drops all of
    /// those, and holes in a part count as parts there.) A prediction without outlines is never
    /// kept. (The reference judges the one before in its place.)
    pub fn judge(
        &self,
        prediction: &Mask,
        bbox: [f64; 4],
        height: usize,
        width: usize,
    ) -> Result<Judgement, MaskError> {
        let polygons = outlines(prediction);
        if polygons.is_empty() {
            return Ok(Judgement { polygons, projection_term: None, kept: false });
        }
        let union = Rle::from_polygons(height, width, &polygons)?;
        let term = projection_term(&union, &box_mask(bbox, height, width)?)?;
        Ok(Judgement { polygons, projection_term: Some(term), kept: f64::from(term) < self.threshold })
    }
}

/// The outlines of a mask as polygons `[x1, y1, …]`, holes too; those of fewer than three points
/// are left out.
pub fn outlines(mask: &Mask) -> Vec<Vec<f64>> {
    find_contours(mask).iter().map(|contour| contour.polygon()).filter(|polygon| polygon.len() >= 6).collect()
}
