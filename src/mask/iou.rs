use super::{MaskError, Rle};

impl Rle {
    /// Pixels in both masks and pixels in either.
    pub fn intersection_and_union(&self, other: &Rle) -> Result<(u64, u64), MaskError> {
        self.same_size(other)?;
        let mut both = 0;
        let (mut mine, mut theirs) = (self.runs(), other.runs());
        let (mut a, mut b) = (mine.next(), theirs.next());
        while let (Some((a_start, a_end)), Some((b_start, b_end))) = (a, b) {
            both += u64::from(a_end.min(b_end).saturating_sub(a_start.max(b_start)));
            if a_end <= b_end {
                a = mine.next();
            }
            if b_end <= a_end {
                b = theirs.next();
            }
        }
        Ok((both, self.area() + other.area() - both))
    }

    /// IoU of a prediction (`self`) with the truth; two empty masks have 0. For a crowd the union
    /// is replaced by the prediction's area, as pycocotools does.
    pub fn iou(&self, truth: &Rle, crowd: bool) -> Result<f64, MaskError> {
        let (both, either) = self.intersection_and_union(truth)?;
        if both == 0 {
            return Ok(0.0);
        }
        let whole = if crowd { self.area() } else { either };
        Ok(both as f64 / whole as f64)
    }
}

/// IoU of every prediction (rows) with every truth (columns); `crowd` has a flag per truth.
pub fn iou_matrix(predictions: &[Rle], truths: &[Rle], crowd: &[bool]) -> Result<Vec<Vec<f64>>, MaskError> {
    if truths.len() != crowd.len() {
        return Err(MaskError::Crowds { truths: truths.len(), crowds: crowd.len() });
    }
    predictions
        .iter()
        .map(|prediction| {
            truths.iter().zip(crowd).map(|(truth, &crowd)| prediction.iou(truth, crowd)).collect()
        })
        .collect()
}
