//! Pictures of what was kept and what was rejected.

use image::RgbImage;

use super::{Predictions, PseudoError, Verdict};
use crate::data::Dataset;
use crate::report::{Layer, Overlay, PALETTE, contact_sheet};

/// Some of the verdicts, evenly spread, on one sheet: the true box in green, the outline that was said in
/// orange, above it the IoU that was expected, or the projection term.
pub fn draw_verdicts(
    dataset: &Dataset,
    predictions: &Predictions,
    verdicts: &[&Verdict],
    count: usize,
    columns: usize,
) -> Result<RgbImage, PseudoError> {
    let shown = count.min(verdicts.len());
    let spread = (0..shown).map(|i| verdicts[i * verdicts.len() / shown]);
    let pictures: Vec<RgbImage> =
        spread.map(|verdict| draw(dataset, predictions, verdict)).collect::<Result<_, _>>()?;
    Ok(contact_sheet(&pictures, columns))
}

fn draw(dataset: &Dataset, predictions: &Predictions, verdict: &Verdict) -> Result<RgbImage, PseudoError> {
    let image = dataset.image(verdict.referent)?;
    let referent = dataset.referent(verdict.referent);
    let candidate = &predictions.referents[verdict.referent].candidates[verdict.candidate];
    let said = candidate.mask.to_mask();
    let outline: Vec<[f64; 2]> =
        candidate.polygons.iter().flat_map(|polygon| polygon.as_chunks::<2>().0).copied().collect();
    let [x, y, w, h] = referent.bbox;
    let truth = Layer { colour: PALETTE[2], bbox: Some([x, y, x + w, y + h]), ..Layer::default() };
    let answer = Layer { colour: PALETTE[1], mask: Some(&said), outline: &outline, ..Layer::default() };
    let term = match verdict.judgement.projection_term {
        Some(term) => format!("projection term {term:.3}"),
        None => "nothing outlined".to_owned(),
    };
    let expected = verdict.expected_iou.map(|iou| format!("expected IoU {:.0} %", 100.0 * iou));
    let judged = expected.unwrap_or(term);
    let title = match verdict.true_iou {
        Some(iou) => format!("{judged}, IoU {:.0} %", 100.0 * iou),
        None => judged,
    };
    let overlay = Overlay::new(&image).title(title).layer(truth).layer(answer).long_side(256);
    Ok(overlay.caption(candidate.expression.as_str(), None).draw())
}
