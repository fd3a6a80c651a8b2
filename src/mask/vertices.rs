use super::{Mask, find_contours};

/// Up to `count` points `[x, y]` (pixels) on the outline of the mask's largest part, in the
/// order in which a model predicts them.
///
/// As in the reference: of all borders the one that encloses the largest area (the first of
/// equals); all its pixels if they are few enough, else every `ceil(pixels / count)`-th, which
/// can be far fewer than `count`. A mask without area has no vertices.
pub fn vertices(mask: &Mask, count: usize) -> Vec<[f32; 2]> {
    let contours = find_contours(mask);
    let mut best = (0.0, None);
    for contour in &contours {
        let area = contour.area();
        if area > best.0 {
            best = (area, Some(contour));
        }
    }
    let (Some(contour), true) = (best.1, count > 0) else { return Vec::new() };
    let every = contour.points.len().div_ceil(count);
    contour.points.iter().step_by(every).map(|p| p.map(|v| v as f32)).collect()
}
