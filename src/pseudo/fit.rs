//! Outlines and true boxes.

/// Stretches and shifts an outline along each axis so that it reaches exactly the sides of the box
/// `[x, y, width, height]`. An outline without extent in an axis stays as it is there.
pub fn fit_to_box(outline: &mut [[f64; 2]], [x, y, width, height]: [f64; 4]) {
    for (axis, (begin, length)) in [(x, width), (y, height)].into_iter().enumerate() {
        let low = outline.iter().map(|point| point[axis]).fold(f64::INFINITY, f64::min);
        let high = outline.iter().map(|point| point[axis]).fold(f64::NEG_INFINITY, f64::max);
        if high > low {
            for point in &mut *outline {
                point[axis] = begin + (point[axis] - low) / (high - low) * length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::Rle;

    #[test]
    fn a_shifted_and_stretched_triangle_comes_back() {
        let truth = [[10.0, 20.0], [30.0, 20.0], [30.0, 60.0]];
        let mut said = truth.map(|[x, y]| [0.5 * x + 7.0, 1.3 * y - 20.0]);
        fit_to_box(&mut said, [10.0, 20.0, 20.0, 40.0]);
        for (said, truth) in said.iter().zip(truth) {
            assert!((said[0] - truth[0]).abs() < 1e-9 && (said[1] - truth[1]).abs() < 1e-9);
        }
        let mut line = [[3.0, 4.0], [3.0, 9.0]];
        fit_to_box(&mut line, [0.0, 0.0, 5.0, 1.0]);
        assert_eq!(line, [[3.0, 0.0], [3.0, 1.0]]);
    }

    proptest! {
        #[test]
        fn a_box_said_anywhere_becomes_the_true_one(
            (x, y, w, h) in (0u32..50, 0u32..50, 1u32..40, 1u32..40),
            (left, top, width, height) in (-20.0..90.0f64, -20.0..90.0f64, 0.1..80.0f64, 0.1..80.0f64),
        ) {
            let (right, bottom) = (left + width, top + height);
            let mut outline = [[left, top], [right, top], [right, bottom], [left, bottom]];
            fit_to_box(&mut outline, [x, y, w, h].map(f64::from));
            let mask = Rle::from_polygon(100, 100, outline.as_flattened()).unwrap();
            prop_assert_eq!(mask.bounding_box(), [x, y, w, h]);
            prop_assert_eq!(mask.area(), u64::from(w * h));
        }
    }
}
