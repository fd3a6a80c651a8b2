//! The surroundings of an object whose box is known, stretched over a square: it fills the frame, so
//! that where it is needs no search and its outline has all the bins for itself. Region-based
//! segmentation looks at objects in the same way (RoIAlign of Mask R-CNN, He et al. 2017).

use image::RgbImage;

use super::resize::Size;
use crate::config::CloseUpConfig;
use crate::mask::Mask;

/// Samples along each axis of an output pixel, at most, where the image is made smaller.
const MOST_SAMPLES: usize = 8;

/// A rectangle of the (perhaps rotated) original image that becomes a square.
#[derive(Clone, Debug, PartialEq)]
pub struct CloseUp {
    /// Side of the square, pixels.
    size: usize,
    /// Column and row of the rotation about the object's middle.
    rotation: [f64; 2],
    /// What the rotation leaves where it is, in the original image.
    middle: [f64; 2],
    /// Begin and length of the rectangle along x and y, after the rotation, around `middle` as origin.
    window: [[f64; 2]; 2],
    /// The object's extents in the same coordinates.
    object: [[f64; 2]; 2],
    mirrored: bool,
}

impl CloseUp {
    /// The box `[x, y, width, height]`, cut off at the image's edges (`original` is width, height), with
    /// a margin on each side. `uniform` draws from [0, 1): four margins, the angle, whether it is
    /// mirrored; always six numbers.
    ///
    /// A rotated object is framed by the extents of its mask, if that is given and not empty; without
    /// a mask nothing is rotated, because its extents would not be known.
    pub fn new(
        original: Size,
        [x, y, width, height]: [f64; 4],
        size: usize,
        config: &CloseUpConfig,
        mask: Option<&Mask>,
        mut uniform: impl FnMut() -> f64,
    ) -> Self {
        let bound = [original.0 as f64, original.1 as f64];
        // At least a pixel, within the image.
        let extent = |axis: usize, low: f64, length: f64| {
            let (low, high) = (low.clamp(0.0, bound[axis] - 1.0), low + length);
            [low, high.clamp(low + 1.0, bound[axis])]
        };
        let sides = [extent(0, x, width), extent(1, y, height)];
        let middle = sides.map(|[low, high]| (low + high) / 2.0);
        let margins: [f64; 4] =
            std::array::from_fn(|_| config.margin * (1.0 + config.jitter * (2.0 * uniform() - 1.0)));
        let angle = config.rotation.to_radians() * (2.0 * uniform() - 1.0);
        let mirrored = uniform() < config.mirrored;
        let unrotated = [0, 1].map(|axis| sides[axis].map(|side| side - middle[axis]));
        let (rotation, object) = match mask.filter(|_| angle != 0.0) {
            Some(mask) => {
                let rotation = [angle.cos(), angle.sin()];
                (rotation, rotated_extents(mask, middle, rotation).unwrap_or(unrotated))
            }
            None => ([1.0, 0.0], unrotated),
        };
        let window = [0, 1].map(|axis| {
            let [low, high] = object[axis];
            let length = high - low;
            [low - margins[2 * axis] * length, length * (1.0 + margins[2 * axis] + margins[2 * axis + 1])]
        });
        Self { size, rotation, middle, window, object, mirrored }
    }

    /// Height and width.
    pub fn hw(&self) -> (usize, usize) {
        (self.size, self.size)
    }

    /// Pixels of the frame for a pixel of the original image, x and y, but for the rotation; negative
    /// x if it is mirrored.
    pub fn scale(&self) -> (f64, f64) {
        let [x, y] = self.window.map(|[_, length]| self.size as f64 / length);
        (if self.mirrored { -x } else { x }, y)
    }

    /// A point of the original image times [`CloseUp::scale`], less this, is the point in the frame, but
    /// for the rotation.
    pub fn offset(&self) -> (f64, f64) {
        let (x, y) = self.scale();
        let [left, top] = [0, 1].map(|axis| self.middle[axis] + self.window[axis][0]);
        let width = if self.mirrored { self.size as f64 } else { 0.0 };
        (left * x - width, top * y)
    }

    /// The object's box (x1, y1, x2, y2) in the frame.
    pub fn bbox(&self) -> [f64; 4] {
        let place = |axis: usize, at: f64| {
            let [begin, length] = self.window[axis];
            (at - begin) / length * self.size as f64
        };
        let ([x1, x2], [y1, y2]) = (self.object[0].map(|x| place(0, x)), self.object[1].map(|y| place(1, y)));
        let size = self.size as f64;
        let [x1, x2] = if self.mirrored { [size - x2, size - x1] } else { [x1, x2] };
        [x1, y1, x2, y2]
    }

    /// Interpolated; beyond the image's edge its outermost pixels are repeated.
    pub fn image(&self, image: &RgbImage) -> Vec<u8> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let pixels = image.as_raw();
        let mut out = Vec::with_capacity(3 * self.size * self.size);
        self.sample(|points| {
            let mut sum = [0.0; 3];
            for &point in points {
                for (at, weight) in neighbours(point, width, height) {
                    for (sum, &value) in sum.iter_mut().zip(&pixels[3 * at..]) {
                        *sum += weight * f32::from(value);
                    }
                }
            }
            out.extend(sum.map(|sum| (sum / points.len() as f32).round() as u8));
        });
        out
    }

    /// What is covered by half at least; nothing beyond the image's edge. Zeros on the right and
    /// below up to `padded`, height and width.
    pub fn mask(&self, mask: &Mask, padded: (usize, usize)) -> Mask {
        let inside = |[x, y]: [f64; 2]| {
            (0.0..mask.width as f64).contains(&x) && (0.0..mask.height as f64).contains(&y)
        };
        let mut pixels = Vec::with_capacity(self.size * self.size);
        self.sample(|points| {
            let covered = points.iter().filter(|&&point| inside(point)).flat_map(|&point| {
                neighbours(point, mask.width, mask.height)
                    .map(|(at, weight)| weight * f32::from(mask.pixels[at]))
            });
            pixels.push(u8::from(2.0 * covered.sum::<f32>() >= points.len() as f32));
        });
        let mut out = Mask::empty(padded.0, padded.1);
        for (out, row) in out.pixels.chunks_exact_mut(padded.1).zip(pixels.chunks_exact(self.size)) {
            out[..self.size].copy_from_slice(row);
        }
        out
    }

    /// Hands the points of the original image that an output pixel sees to `pixel`, row by row.
    fn sample(&self, mut pixel: impl FnMut(&[[f64; 2]])) {
        let size = self.size as f64;
        let samples = self.window.map(|[_, length]| ((length / size).ceil() as usize).clamp(1, MOST_SAMPLES));
        let along = |axis: usize, at: usize, sample: usize| {
            let [begin, length] = self.window[axis];
            begin + (at as f64 + (sample as f64 + 0.5) / samples[axis] as f64) / size * length
        };
        let [cos, sin] = self.rotation;
        let mut points = Vec::with_capacity(samples[0] * samples[1]);
        for row in 0..self.size {
            for column in 0..self.size {
                let column = if self.mirrored { self.size - 1 - column } else { column };
                points.clear();
                for i in 0..samples[1] {
                    let v = along(1, row, i);
                    points.extend((0..samples[0]).map(|j| {
                        let u = along(0, column, j);
                        [self.middle[0] + cos * u - sin * v, self.middle[1] + sin * u + cos * v]
                    }));
                }
                pixel(&points);
            }
        }
    }
}

/// The four pixels around a point, by their place in the image, with weights that add up to 1.
fn neighbours([x, y]: [f64; 2], width: usize, height: usize) -> [(usize, f32); 4] {
    let around = |at: f64, length: usize| {
        let at = (at - 0.5).clamp(0.0, length as f64 - 1.0);
        let first = at as usize;
        (first, (first + 1).min(length - 1), (at - first as f64) as f32)
    };
    let ((left, right, x), (top, bottom, y)) = (around(x, width), around(y, height));
    [
        (top * width + left, (1.0 - x) * (1.0 - y)),
        (top * width + right, x * (1.0 - y)),
        (bottom * width + left, (1.0 - x) * y),
        (bottom * width + right, x * y),
    ]
}

/// The extents along x and y of a mask that is turned back by `rotation` about `middle`, which becomes
/// the origin: of the middles of its pixels, and half a pixel on each side.
fn rotated_extents(mask: &Mask, middle: [f64; 2], [cos, sin]: [f64; 2]) -> Option<[[f64; 2]; 2]> {
    let mut extents: Option<[[f64; 2]; 2]> = None;
    for (y, row) in mask.pixels.chunks_exact(mask.width).enumerate() {
        let ends = [row.iter().position(|&pixel| pixel != 0), row.iter().rposition(|&pixel| pixel != 0)];
        for x in ends.into_iter().flatten() {
            let (dx, dy) = (x as f64 + 0.5 - middle[0], y as f64 + 0.5 - middle[1]);
            let point = [cos * dx + sin * dy, cos * dy - sin * dx];
            let grown = extents.unwrap_or(point.map(|at| [at, at]));
            extents = Some([0, 1].map(|axis| {
                let [low, high] = grown[axis];
                [low.min(point[axis]), high.max(point[axis])]
            }));
        }
    }
    extents.map(|extents| extents.map(|[low, high]| [low - 0.5, high + 0.5]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: CloseUpConfig = CloseUpConfig { margin: 0.25, jitter: 0.0, rotation: 0.0, mirrored: 0.0 };

    /// A filled rectangle x, y, width, height of an image.
    fn rectangle((width, height): Size, [x, y, w, h]: [usize; 4]) -> Mask {
        let mut mask = Mask::empty(height, width);
        for row in y..y + h {
            mask.pixels[row * width + x..][..w].fill(1);
        }
        mask
    }

    #[test]
    fn the_object_fills_the_frame_but_for_its_margin() {
        let frame = CloseUp::new((100, 50), [10.0, 20.0, 40.0, 10.0], 48, &PLAIN, None, || 0.5);
        assert_eq!(frame.bbox(), [8.0, 8.0, 40.0, 40.0]);
        assert_eq!((frame.scale(), frame.offset()), ((0.8, 3.2), (0.0, 17.5 * 3.2)));
        let mask = frame.mask(&rectangle((100, 50), [10, 20, 40, 10]), (64, 64));
        assert_eq!((mask.height, mask.to_rle().unwrap().bounding_box()), (64, [8, 8, 32, 32]));
        assert_eq!(mask.area(), 32 * 32);
    }

    #[test]
    fn a_box_is_cut_off_at_each_edge() {
        let sides = |x: f64, width: f64| {
            let frame = CloseUp::new((100, 50), [x, 0.0, width, 50.0], 48, &PLAIN, None, || 0.5);
            frame.object[0].map(|side| side + frame.middle[0])
        };
        assert_eq!(sides(-5.0, 30.0), [0.0, 25.0]);
        assert_eq!(sides(90.0, 30.0), [90.0, 100.0]);
        assert_eq!((sides(-9.0, 2.0), sides(120.0, 3.0)), ([0.0, 1.0], [99.0, 100.0]));
    }

    #[test]
    fn beyond_the_edge_pixels_repeat_and_masks_end() {
        let image = RgbImage::from_fn(20, 20, |x, _| image::Rgb([10 * x as u8, 0, 7]));
        let frame = CloseUp::new((20, 20), [0.0, 0.0, 4.0, 20.0], 12, &PLAIN, None, || 0.5);
        let pixels = frame.image(&image);
        assert_eq!(pixels[..9], [0, 0, 7, 0, 0, 7, 0, 0, 7]);
        assert_eq!(frame.bbox(), [2.0, 2.0, 10.0, 10.0]);
        let mask = frame.mask(&rectangle((20, 20), [0, 0, 20, 20]), (12, 12));
        assert_eq!(mask.to_rle().unwrap().bounding_box(), [2, 2, 10, 8]);
    }

    #[test]
    fn a_turned_object_is_framed_by_what_is_turned() {
        let mask = rectangle((60, 60), [10, 25, 40, 10]);
        let turned = CloseUpConfig { rotation: 90.0, ..PLAIN };
        let mut drawn = [0.5, 0.5, 0.5, 0.5, 1.0, 0.0].into_iter();
        let draw = || drawn.next().unwrap();
        let frame = CloseUp::new((60, 60), [10.0, 25.0, 40.0, 10.0], 48, &turned, Some(&mask), draw);
        let [width, height] = frame.object.map(|[low, high]| high - low);
        assert!((width - 10.0).abs() < 1e-9 && (height - 40.0).abs() < 1e-9);
        let seen = frame.mask(&mask, (48, 48)).to_rle().unwrap().bounding_box();
        assert_eq!(seen, [8, 8, 32, 32]);
    }

    proptest! {
        #[test]
        fn a_point_goes_into_the_frame_and_back(
            (x, y, w, h) in (-5.0..90.0f64, -5.0..40.0f64, 0.0..60.0f64, 0.0..60.0f64),
            draws in prop::array::uniform6(0.0..1.0f64),
            (u, v) in (0.0..1.0f64, 0.0..1.0f64),
        ) {
            let config = CloseUpConfig { jitter: 1.0, mirrored: 0.5, ..PLAIN };
            let mut drawn = draws.into_iter();
            let frame = CloseUp::new((100, 50), [x, y, w, h], 64, &config, None, || drawn.next().unwrap());
            let (scale, offset) = (frame.scale(), frame.offset());
            // Corners of the box as the frame says, and by scale and offset.
            let [x1, y1, x2, y2] = frame.bbox();
            let ends = [[x1, x2], [y1, y2]].map(|[low, high]| [low, high]);
            let back = |at: f64, axis: usize| {
                let (scale, offset) = if axis == 0 { (scale.0, offset.0) } else { (scale.1, offset.1) };
                (at + offset) / scale
            };
            for axis in 0..2 {
                let mut found = ends[axis].map(|end| back(end, axis));
                found.sort_by(f64::total_cmp);
                let expected = frame.object[axis].map(|side| side + frame.middle[axis]);
                prop_assert!((found[0] - expected[0]).abs() < 1e-6 && (found[1] - expected[1]).abs() < 1e-6);
                prop_assert!(expected[0] >= 0.0 && expected[1] <= [100.0, 50.0][axis]);
            }
            // What is sampled for a pixel is where scale and offset say it is.
            let (column, row) = ((u * 64.0) as usize, (v * 64.0) as usize);
            let mut points = Vec::new();
            frame.sample(|sampled| {
                let sum = sampled.iter().fold([0.0, 0.0], |sum, p| [sum[0] + p[0], sum[1] + p[1]]);
                points.push(sum.map(|sum| sum / sampled.len() as f64));
            });
            let [px, py] = points[row * 64 + column];
            prop_assert!((px - back(column as f64 + 0.5, 0)).abs() < 1e-6);
            prop_assert!((py - back(row as f64 + 0.5, 1)).abs() < 1e-6);
        }
    }
}
