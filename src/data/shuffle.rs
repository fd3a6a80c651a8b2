//! Outlines said in another order.

use crate::model::Targets;
use crate::random::Stream;

/// In the targets, a point that is not there: its tokens are end tokens.
const MISSING: [f32; 2] = [-1.0, -1.0];

/// Permutes the outlines of `fraction` of the rows (rounded down, chosen at random), all with one
/// permutation of `vertices` positions, so that missing points (end tokens) come to lie between
/// others (`train.shuffle_fraction`, quirk 55). Nothing happens if `fraction` is not above 0.
pub fn shuffle_vertices(targets: &mut Targets, vertices: usize, fraction: f64, stream: &mut Stream) {
    let Some(outlines) = &mut targets.vertices else { return };
    if fraction <= 0.0 {
        return;
    }
    let order = stream.permutation(vertices);
    let chosen = stream.permutation(outlines.len());
    for &row in chosen.iter().take((outlines.len() as f64 * fraction) as usize) {
        let outline = &mut outlines[row];
        *outline = order.iter().map(|&i| outline.get(i).copied().unwrap_or(MISSING)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_rows_is_permuted_alike() {
        let rows = 10;
        let outline = vec![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let targets = Targets {
            pad_hw: vec![(32, 32); rows],
            boxes: None,
            vertices: Some(vec![outline.clone(); rows]),
            labels: None,
            weights: None,
        };
        let mut shuffled = targets.clone();
        shuffle_vertices(&mut shuffled, 5, 0.25, &mut Stream::new(5, "shuffle"));
        let changed: Vec<_> = shuffled.vertices.unwrap().into_iter().filter(|o| *o != outline).collect();
        assert_eq!(changed.len(), 2);
        assert_eq!(changed[0], changed[1]);
        let mut points = changed[0].clone();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert_eq!(points[..2], [MISSING; 2]);
        assert_eq!(points[2..], outline);

        let mut off = targets.clone();
        shuffle_vertices(&mut off, 5, -1.0, &mut Stream::new(5, "shuffle"));
        assert_eq!(off.vertices, targets.vertices);
    }
}
