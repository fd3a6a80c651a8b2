use super::rle::pixels;
use super::{MaskError, Merge, Rle};

/// pycocotools draws the outline on a grid five times as fine.
const SCALE: f64 = 5.0;

/// Coordinates on the fine grid are held within this, far outside of any image.
const FAR: f64 = (1u64 << 30) as f64;

impl Rle {
    /// Rasterises the polygon `x1, y1, x2, y2 …` (pixels) exactly as pycocotools does. Parts
    /// outside of the mask are cut off. A polygon of one or two points is empty; numbers that
    /// are not finite, or an odd number of them, are errors.
    pub fn from_polygon(height: usize, width: usize, polygon: &[f64]) -> Result<Self, MaskError> {
        let total = pixels(height, width)? as u32;
        if !polygon.len().is_multiple_of(2) {
            return Err(MaskError::OddCoordinates { polygon: 0, found: polygon.len() });
        }
        if let Some(index) = polygon.iter().position(|v| !v.is_finite()) {
            return Err(MaskError::Coordinate { polygon: 0, index, found: polygon[index] });
        }
        let mut starts = crossings(height, width, polygon);
        starts.push(total);
        starts.sort_unstable();

        // Each crossing switches between outside and inside; two at the same pixel cancel.
        let mut counts = vec![starts[0]];
        let mut previous = starts[0];
        let mut rest = starts[1..].iter();
        while let Some(&start) = rest.next() {
            if start > previous {
                counts.push(start - previous);
            } else if let Some(&next) = rest.next() {
                let last = counts.len() - 1;
                counts[last] += next - start;
                previous = next;
                continue;
            }
            previous = start;
        }
        Self::new(height, width, counts)
    }

    /// The union of several polygons; of none, an empty mask.
    pub fn from_polygons(height: usize, width: usize, polygons: &[Vec<f64>]) -> Result<Self, MaskError> {
        let part = |(i, polygon): (usize, &Vec<f64>)| {
            Self::from_polygon(height, width, polygon).map_err(|error| error.of_polygon(i))
        };
        let parts = polygons.iter().enumerate().map(part).collect::<Result<Vec<Self>, MaskError>>()?;
        if parts.is_empty() { Self::empty(height, width) } else { Self::merge(&parts, Merge::Union) }
    }

    /// Rasterises the box `[x, y, width, height]` (pixels) as the polygon of its corners.
    pub fn from_box(height: usize, width: usize, [x, y, w, h]: [f64; 4]) -> Result<Self, MaskError> {
        Self::from_polygon(height, width, &[x, y, x, y + h, x + w, y + h, x + w, y])
    }
}

/// Where the outline crosses the middle of a pixel column: the number (column-major) of the first
/// pixel below the outline. pycocotools walks every point of the fine grid and keeps those with
/// `x = 5 c + 2` and a neighbour at `5 c + 3`; here only those are computed, by the same formula.
fn crossings(height: usize, width: usize, polygon: &[f64]) -> Vec<u32> {
    let fine = |v: f64| (SCALE * v + 0.5).clamp(-FAR, FAR) as i64;
    let points: Vec<(i64, i64)> = polygon.chunks_exact(2).map(|p| (fine(p[0]), fine(p[1]))).collect();
    let mut starts = Vec::new();
    for (i, &from) in points.iter().enumerate() {
        let to = points[(i + 1) % points.len()];
        let (dx, dy) = ((to.0 - from.0).abs(), (to.1 - from.1).abs());
        let flat = dx >= dy;
        let ((xs, ys), (xe, ye)) =
            if (flat && from.0 > to.0) || (!flat && from.1 > to.1) { (to, from) } else { (from, to) };
        let left = xs.min(xe);
        let right = xs.max(xe).min(5 * width as i64);
        let first = ((left - 2).max(0) + 4) / 5;
        let mut push = |column: i64, y: i64| {
            let y = (y as f64 + 0.5) / SCALE - 0.5;
            let y = y.clamp(0.0, height as f64).ceil();
            starts.push((column as usize * height + y as usize) as u32);
        };
        // Columns whose two grid points are both on the edge.
        let columns = (first..width as i64).take_while(|c| 5 * c + 3 <= right);
        if flat {
            let slope = (ye - ys) as f64 / dx as f64;
            let y_at = |t: i64| (ys as f64 + slope * t as f64 + 0.5) as i64;
            for column in columns {
                let t = 5 * column + 2 - xs;
                push(column, y_at(t).min(y_at(t + 1)));
            }
        } else {
            let slope = (xe - xs) as f64 / dy as f64;
            let x_at = |t: i64| (xs as f64 + slope * t as f64 + 0.5) as i64;
            for column in columns {
                // The step between rows t and t + 1 at which x passes from one to the other.
                let boundary = 5 * column + 3;
                let past = |t: i64| if slope > 0.0 { x_at(t) >= boundary } else { x_at(t) < boundary };
                let guess = (boundary as f64 - 0.5 - xs as f64) / slope;
                let mut t = (guess as i64).clamp(0, dy - 1);
                while t > 0 && past(t) {
                    t -= 1;
                }
                while t < dy - 1 && !past(t + 1) {
                    t += 1;
                }
                push(column, t + ys);
            }
        }
    }
    starts
}

/// Area (never negative) that the closed polygon `x, y` encloses.
pub fn polygon_area(points: impl ExactSizeIterator<Item = [f64; 2]> + Clone) -> f64 {
    let next = points.clone().cycle().skip(1);
    points.zip(next).map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1).sum::<f64>().abs() / 2.0
}
