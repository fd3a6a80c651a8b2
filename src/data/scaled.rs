//! Whole images or large parts of them: scale, crop, padding, as the reference has them.

use std::sync::Arc;

use image::RgbImage;

use super::resize::{self, Size, Window};
use crate::mask::Mask;

/// How masks are resized: the reference takes the nearest pixel without jitter and interpolates
/// with it (quirk 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MaskResize {
    Nearest,
    Linear,
}

/// Where the original image lies in the resized one.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    original: Size,
    /// Size after scaling, before cropping.
    scaled: Size,
    /// The part that is kept.
    window: Window,
    /// Where that part begins, not rounded: boxes move by it (quirk 33c).
    offset: (f64, f64),
    masks: MaskResize,
}

/// Tries for each of the shares of the object that a crop should keep; after them the best crop
/// is taken.
const TRIES: usize = 100;
const SHARES: [f64; 5] = [0.9, 0.8, 0.7, 0.6, 0.5];
/// With less of the object in the best crop, there is no crop.
const LEAST_SHARE: f64 = 0.3;

impl Scaled {
    /// The longer side becomes `image_size`. `original` is width, height.
    pub fn resize(original: Size, image_size: usize) -> Self {
        let scaled = resize::scaled(original, image_size as f64 / original.0.max(original.1) as f64);
        Self {
            original,
            scaled,
            window: Window::whole(scaled),
            offset: (0.0, 0.0),
            masks: MaskResize::Nearest,
        }
    }

    /// Large-scale jitter (quirk 33). The longer side becomes `image_size` times a factor from
    /// `range`; if the factor is above 1, a part of the size of the plainly resized image is cut
    /// out that keeps most of the objects: of their boxes (x1, y1, x2, y2 in the original image),
    /// or of their masks if those are given and not empty.
    ///
    /// `uniform` draws from [0, 1): the factor, then x and y of each crop tried. Where the
    /// reference moves the box by another crop than the image (33a), forgets the size of an
    /// image that it leaves alone (33b) or takes a crop for good that misses the box on both axes (33e),
    /// this doesn't: 33b is a plain resize.
    pub fn jitter(
        original: Size,
        image_size: usize,
        range: [f64; 2],
        boxes: &[[f64; 4]],
        masks: &[&Mask],
        mut uniform: impl FnMut() -> f64,
    ) -> Self {
        let factor = range[0] + uniform() * (range[1] - range[0]);
        let fit = image_size as f64 / original.0.max(original.1) as f64;
        let scaled = resize::scaled(original, factor * fit);
        let mut frame = Self {
            original,
            scaled,
            window: Window::whole(scaled),
            offset: (0.0, 0.0),
            masks: MaskResize::Linear,
        };
        if factor <= 1.0 {
            return frame;
        }
        let (width, height) = resize::scaled(original, fit);
        let objects: Vec<Object> = boxes
            .iter()
            .enumerate()
            .map(|(i, &bbox)| {
                let mask =
                    masks.get(i).and_then(|mask| resize::linear_part(mask, scaled, Window::whole(scaled)));
                Object::new(frame.scale_box(bbox), mask)
            })
            .collect();
        let mut best: Option<(f64, Self)> = None;
        for share in SHARES {
            for _ in 0..TRIES {
                frame.offset.0 = uniform() * (scaled.0 as f64 - width as f64);
                frame.offset.1 = uniform() * (scaled.1 as f64 - height as f64);
                frame.window =
                    Window { x: frame.offset.0 as usize, y: frame.offset.1 as usize, width, height };
                let kept = objects.iter().map(|object| object.share_in(&frame)).fold(f64::INFINITY, f64::min);
                if kept >= share {
                    return frame;
                }
                if kept > best.as_ref().map_or(0.0, |(kept, _)| *kept) {
                    best = Some((kept, frame.clone()));
                }
            }
        }
        match best {
            Some((kept, frame)) if kept >= LEAST_SHARE => frame,
            _ => Self::resize(original, image_size),
        }
    }

    /// Height and width of the result, without padding.
    pub fn hw(&self) -> (usize, usize) {
        (self.window.height, self.window.width)
    }

    /// Height and width padded to multiples of `stride`.
    fn pad_hw(&self, stride: usize) -> (usize, usize) {
        (self.window.height.next_multiple_of(stride), self.window.width.next_multiple_of(stride))
    }

    /// Resized over original size, x and y.
    pub fn scale(&self) -> (f64, f64) {
        (self.scaled.0 as f64 / self.original.0 as f64, self.scaled.1 as f64 / self.original.1 as f64)
    }

    /// Where the crop begins, x and y.
    pub fn offset(&self) -> (f64, f64) {
        self.offset
    }

    /// The image in this frame, without padding: RGB, row-major, interleaved.
    pub fn image(&self, image: Arc<RgbImage>) -> Vec<u8> {
        if self.scaled == self.original && self.window == Window::whole(self.original) {
            return Arc::unwrap_or_clone(image).into_raw();
        }
        resize::linear::<3>(image.as_raw(), self.original, self.scaled, self.window)
    }

    /// The mask in this frame, padded to multiples of `stride`.
    pub fn mask(&self, mask: &Mask, stride: usize) -> Mask {
        let (height, width) = self.pad_hw(stride);
        match self.masks {
            MaskResize::Nearest => resize::nearest_mask(mask, self.scaled, (width, height)),
            MaskResize::Linear => resize::linear_mask(mask, self.scaled, self.window, (width, height)),
        }
    }

    /// A box (x1, y1, x2, y2) in this frame.
    pub fn bbox(&self, bbox: [f64; 4]) -> [f64; 4] {
        let [x1, y1, x2, y2] = self.scale_box(bbox);
        if self.masks == MaskResize::Nearest {
            return [x1, y1, x2, y2];
        }
        let x = |x: f64| (x - self.offset.0).clamp(0.0, self.window.width as f64 - 1.0);
        let y = |y: f64| (y - self.offset.1).clamp(0.0, self.window.height as f64 - 1.0);
        [x(x1), y(y1), x(x2), y(y2)]
    }

    /// The reference rounds the factors of a plain resize to float32.
    fn scale_box(&self, [x1, y1, x2, y2]: [f64; 4]) -> [f64; 4] {
        let (mut x, mut y) = self.scale();
        if self.masks == MaskResize::Nearest {
            (x, y) = (f64::from(x as f32), f64::from(y as f32));
        }
        [x1 * x, y1 * y, x2 * x, y2 * y]
    }
}

/// What a crop should keep: a box or a mask in the scaled image.
struct Object {
    bbox: [f64; 4],
    /// A rectangle with all of the mask, its pixels and how many are set (not 0).
    mask: Option<(Window, Vec<u8>, usize)>,
}

impl Object {
    fn new(bbox: [f64; 4], mask: Option<(Window, Vec<u8>)>) -> Self {
        let mask = mask.map(|(at, pixels)| {
            let area = count(&pixels);
            (at, pixels, area)
        });
        Self { bbox, mask: mask.filter(|(_, _, area)| *area > 0) }
    }

    /// The share of the object inside the crop (quirk 33d).
    fn share_in(&self, frame: &Scaled) -> f64 {
        let crop = frame.window;
        if let Some((at, pixels, area)) = &self.mask {
            let columns = at.x.max(crop.x)..(at.x + at.width).min(crop.x + crop.width);
            let rows = at.y.max(crop.y)..(at.y + at.height).min(crop.y + crop.height);
            if columns.is_empty() {
                return 0.0;
            }
            let columns = columns.start - at.x..columns.end - at.x;
            let row = |y: usize| &pixels[(y - at.y) * at.width..][columns.clone()];
            return rows.map(|y| count(row(y))).sum::<usize>() as f64 / *area as f64;
        }
        let [x1, y1, x2, y2] = self.bbox;
        let (left, top) = frame.offset;
        let width = x2.min(left + crop.width as f64) - x1.max(left);
        let height = y2.min(top + crop.height as f64) - y1.max(top);
        let area = (x2 - x1) * (y2 - y1);
        if area > 0.0 { width.max(0.0) * height.max(0.0) / area } else { 1.0 }
    }
}

/// Pixels set.
fn count(pixels: &[u8]) -> usize {
    pixels.iter().map(|&pixel| usize::from(pixel)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quirk 33e: two negative sides would multiply to thirteen times the box.
    #[test]
    fn a_crop_that_misses_the_box_on_both_axes_keeps_nothing_of_it() {
        // The factor, a crop from the far corner, and one from the corner where the box is.
        let mut draws = [0.0, 0.99, 0.99, 0.0, 0.0].into_iter();
        let uniform = || draws.next().unwrap();
        let frame = Scaled::jitter((64, 64), 64, [1.4, 1.4], &[[0.0, 0.0, 4.0, 4.0]], &[], uniform);
        assert_eq!(frame.offset(), (0.0, 0.0));
    }
}
