//! Border following after Suzuki and Abe (1985), algorithm 1: the contours of OpenCV's
//! `findContours` with tree retrieval and no approximation, same points in the same order. The
//! order matters: it decides which points become vertices.

use super::{Mask, polygon_area};

/// A border of a mask: outside of a part, or around a hole in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contour {
    /// Every pixel of the border `[x, y]`, in the order in which it was followed.
    pub points: Vec<[u32; 2]>,
    pub is_hole: bool,
    /// The border around this one, as an index into the list.
    pub parent: Option<usize>,
}

impl Contour {
    /// Area of the polygon through the pixel centres; a single pixel or a line has none.
    pub fn area(&self) -> f64 {
        polygon_area(self.points.iter().map(|p| p.map(f64::from)))
    }

    /// The points at which the direction changes (OpenCV's simple approximation).
    pub fn corners(&self) -> Vec<[u32; 2]> {
        let n = self.points.len();
        let step = |from: [u32; 2], to: [u32; 2]| (to[0].wrapping_sub(from[0]), to[1].wrapping_sub(from[1]));
        let corner = |&i: &usize| {
            let (before, here, after) =
                (self.points[(i + n - 1) % n], self.points[i], self.points[(i + 1) % n]);
            n < 3 || step(before, here) != step(here, after)
        };
        (0..n).filter(corner).map(|i| self.points[i]).collect()
    }

    /// [`Contour::corners`] as a polygon `[x1, y1, x2, y2, …]`.
    pub fn polygon(&self) -> Vec<f64> {
        self.corners().into_iter().flatten().map(f64::from).collect()
    }
}

/// All borders of a mask in OpenCV's order: the tree from the top, each border before those in
/// it, and of several in the same border the one found last (lowest on the image) first.
pub fn find_contours(mask: &Mask) -> Vec<Contour> {
    let Some(bounds) = mask.bounding_box() else { return Vec::new() };
    let mut found = Borders::new(mask, bounds).follow_all();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); found.len()];
    let mut pending = Vec::new();
    for (i, contour) in found.iter().enumerate() {
        match contour.parent {
            Some(parent) => children[parent].push(i),
            None => pending.push(i),
        }
    }
    let mut place = vec![0; found.len()];
    let mut ordered: Vec<Contour> = Vec::with_capacity(found.len());
    while let Some(i) = pending.pop() {
        place[i] = ordered.len();
        pending.append(&mut children[i]);
        let Contour { points, is_hole, parent } = &mut found[i];
        ordered.push(Contour {
            points: std::mem::take(points),
            is_hole: *is_hole,
            parent: parent.map(|p| place[p]),
        });
    }
    ordered
}

/// A pixel that no border has passed.
const UNVISITED: i32 = 1;
/// Border number `k` of the list is written into the pixels as `k + FIRST`, or as its negative
/// where the pixel to the right is outside.
const FIRST: i32 = 2;

/// The part of the mask in which anything is set, with a frame of zeros one pixel wide, and what was
/// written into it.
struct Borders {
    labels: Vec<i32>,
    stride: usize,
    /// Where in the mask the frame's corner lies, `[x, y]`.
    corner: [i32; 2],
    /// To the right, up right, up … : the eight neighbours counter-clockwise.
    neighbours: [isize; 8],
}

const STEPS: [(i32, i32); 8] = [(1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1)];

impl Borders {
    fn new(mask: &Mask, [x, y, width, height]: [usize; 4]) -> Self {
        let stride = width + 2;
        let mut labels = vec![0; stride * (height + 2)];
        let rows = mask.pixels.chunks_exact(mask.width).skip(y).map(|row| &row[x..x + width]);
        for (labels, row) in labels.chunks_exact_mut(stride).skip(1).zip(rows.take(height)) {
            for (label, &pixel) in labels[1..].iter_mut().zip(row) {
                *label = if pixel != 0 { UNVISITED } else { 0 };
            }
        }
        let neighbours = STEPS.map(|(x, y)| x as isize + y as isize * stride as isize);
        Self { labels, stride, corner: [x as i32 - 1, y as i32 - 1], neighbours }
    }

    /// Scans the rows for pixels at which a border begins; borders in the order found.
    fn follow_all(mut self) -> Vec<Contour> {
        let mut found: Vec<Contour> = Vec::new();
        let rows = self.labels.len() / self.stride;
        for y in 1..rows.saturating_sub(1) {
            // The border passed last on this row; 0 for the frame.
            let mut passed = 0;
            let mut before = 0;
            for x in 1..self.stride - 1 {
                let at = y * self.stride + x;
                let label = self.labels[at];
                if label == before {
                    continue;
                }
                let outer = before == 0 && label == UNVISITED;
                let hole = label == 0 && before >= UNVISITED;
                if outer || hole {
                    if hole && before > UNVISITED {
                        passed = before;
                    }
                    let number = found.len() as i32 + FIRST;
                    let parent = parent(&found, passed, hole);
                    let start = if hole { at - 1 } else { at };
                    let points = self.follow(start, hole, number);
                    found.push(Contour { points, is_hole: hole, parent });
                }
                // Following may have marked the pixels at hand.
                before = self.labels[at];
                let left = self.labels[at - 1];
                if before != 0 && before != UNVISITED {
                    passed = before;
                } else if hole && left != UNVISITED {
                    passed = left;
                }
            }
        }
        found
    }

    /// Follows one border from its first pixel, marks and lists its pixels.
    fn follow(&mut self, start: usize, hole: bool, number: i32) -> Vec<[u32; 2]> {
        let neighbour = |at: usize, direction: usize| at.wrapping_add_signed(self.neighbours[direction & 7]);
        let [mut x, mut y] = self.corner;
        (x, y) = (x + (start % self.stride) as i32, y + (start / self.stride) as i32);
        let outside = if hole { 0 } else { 4 };
        let mut direction = outside;
        let last = loop {
            direction = (direction + 7) & 7;
            if direction == outside {
                self.labels[start] = -number;
                return vec![[x as u32, y as u32]];
            }
            if self.labels[neighbour(start, direction)] != 0 {
                break neighbour(start, direction);
            }
        };
        let mut points = Vec::new();
        let mut at = start;
        loop {
            let from = direction;
            let mut to = from + 1;
            while self.labels[neighbour(at, to)] == 0 {
                to += 1;
            }
            direction = to & 7;
            // Whether the search passed the pixel to the right.
            if direction > 0 && direction <= from {
                self.labels[at] = -number;
            } else if self.labels[at] == UNVISITED {
                self.labels[at] = number;
            }
            points.push([x as u32, y as u32]);
            let next = neighbour(at, direction);
            if next == start && at == last {
                return points;
            }
            (x, y) = (x + STEPS[direction].0, y + STEPS[direction].1);
            at = next;
            direction = (direction + 4) & 7;
        }
    }
}

/// The border around a new one: the border passed last if that is of the other kind, else what
/// is around that.
fn parent(found: &[Contour], passed: i32, hole: bool) -> Option<usize> {
    if passed == 0 {
        return None;
    }
    let neighbour = (passed.abs() - FIRST) as usize;
    if found[neighbour].is_hole == hole { found[neighbour].parent } else { Some(neighbour) }
}
