//! Outlines of a mask along the edges of its pixels.
//!
//! COCO's rasteriser turns such polygons back into exactly the mask they came from.

use crate::mask::Mask;

/// The borders of a mask.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Borders {
    /// One closed polygon a part (parts hang together over corners too).
    pub outer: Vec<Vec<(usize, usize)>>,
    pub holes: Vec<Vec<(usize, usize)>>,
}

const STEPS: [(isize, isize); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];

/// Follows every border with the mask on the right-hand side.
pub(super) fn borders(mask: &Mask) -> Borders {
    let stride = mask.width + 1;
    let mut leaving = edges(mask);
    let mut found = Borders { outer: Vec::new(), holes: Vec::new() };
    for start in 0..leaving.len() {
        while leaving[start] != 0 {
            let mut polygon = Vec::new();
            let mut twice_area = 0;
            let (mut at, mut heading) = (start, leaving[start].trailing_zeros() as usize);
            polygon.push((at % stride, at / stride));
            let first = heading;
            loop {
                let (x, y) = ((at % stride) as isize, (at / stride) as isize);
                let (dx, dy) = STEPS[heading];
                twice_area += x * dy - y * dx;
                at = (y + dy) as usize * stride + (x + dx) as usize;
                // Left first, so that pixels that touch at a corner stay in one part.
                let turns = [(heading + 3) % 4, heading, (heading + 1) % 4];
                let next = turns.into_iter().find(|turn| leaving[at] & (1 << turn) != 0).unwrap_or(first);
                if at == start && next == first {
                    break;
                }
                leaving[at] &= !(1 << next);
                if next != heading {
                    polygon.push((at % stride, at / stride));
                }
                heading = next;
            }
            leaving[start] &= !(1 << first);
            if twice_area > 0 {
                found.outer.push(polygon);
            } else {
                found.holes.push(polygon);
            }
        }
    }
    found
}

/// For every corner of the pixel grid, the directions in which a border leaves it, as bits.
fn edges(mask: &Mask) -> Vec<u8> {
    let (width, height) = (mask.width, mask.height);
    let stride = width + 1;
    let mut leaving = vec![0u8; stride * (height + 1)];
    for y in 0..height {
        for x in 0..width {
            if !mask.get(x, y) {
                continue;
            }
            if y == 0 || !mask.get(x, y - 1) {
                leaving[y * stride + x] |= 1;
            }
            if x + 1 == width || !mask.get(x + 1, y) {
                leaving[y * stride + x + 1] |= 1 << 1;
            }
            if y + 1 == height || !mask.get(x, y + 1) {
                leaving[(y + 1) * stride + x + 1] |= 1 << 2;
            }
            if x == 0 || !mask.get(x - 1, y) {
                leaving[(y + 1) * stride + x] |= 1 << 3;
            }
        }
    }
    leaving
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        Mask {
            height: rows.len(),
            width: rows[0].len(),
            pixels: rows.iter().flat_map(|row| row.bytes().map(|b| u8::from(b == b'#'))).collect(),
        }
    }

    #[test]
    fn a_rectangle_has_four_corners() {
        let found = borders(&mask(&["....", ".##.", ".##.", "...."]));
        assert_eq!(found, Borders { outer: vec![vec![(1, 1), (3, 1), (3, 3), (1, 3)]], holes: Vec::new() });
    }

    #[test]
    fn parts_and_holes_are_told_apart() {
        let found = borders(&mask(&["###..#", "#.#..#", "###..."]));
        assert_eq!((found.outer.len(), found.holes.len()), (2, 1));
    }

    #[test]
    fn pixels_that_touch_at_a_corner_are_one_part() {
        for rows in [["#.", ".#"], [".#", "#."]] {
            let found = borders(&mask(&rows));
            assert_eq!((found.outer.len(), found.holes.len()), (1, 0), "{rows:?}");
        }
    }
}
