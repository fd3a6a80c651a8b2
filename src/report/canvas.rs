//! Anti-aliased lines, discs and fills on a picture.

use image::{Rgb, RgbImage};

/// Red, green, blue.
pub type Colour = [u8; 3];

pub(super) const WHITE: Colour = [255; 3];
pub(super) const INK: Colour = [34, 34, 34];

/// Colours that stay apart, also for the colour-blind (Okabe and Ito, the light ones darkened).
pub const PALETTE: [Colour; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 80, 150],
    [200, 140, 0],
    [60, 160, 215],
    [120, 80, 200],
    [110, 110, 110],
];

/// A picture to draw on. Coordinates are in pixels; pixel `i` covers `i` to `i + 1`. What lies outside
/// is cut off.
#[derive(Clone, Debug)]
pub struct Canvas {
    picture: RgbImage,
}

impl Canvas {
    pub fn new(picture: RgbImage) -> Self {
        Self { picture }
    }

    pub fn blank(width: usize, height: usize, colour: Colour) -> Self {
        Self::new(RgbImage::from_pixel(width as u32, height as u32, Rgb(colour)))
    }

    pub fn into_picture(self) -> RgbImage {
        self.picture
    }

    pub fn width(&self) -> usize {
        self.picture.width() as usize
    }

    pub fn height(&self) -> usize {
        self.picture.height() as usize
    }

    /// Mixes `colour` into a pixel; 1 covers it.
    pub fn blend(&mut self, x: i64, y: i64, colour: Colour, alpha: f64) {
        let inside = (0..self.width() as i64).contains(&x) && (0..self.height() as i64).contains(&y);
        if !inside {
            return;
        }
        let alpha = alpha.clamp(0.0, 1.0);
        for (old, new) in self.picture.get_pixel_mut(x as u32, y as u32).0.iter_mut().zip(colour) {
            *old = (f64::from(*old) * (1.0 - alpha) + f64::from(new) * alpha).round() as u8;
        }
    }

    pub fn paste(&mut self, picture: &RgbImage, x: usize, y: usize) {
        image::imageops::replace(&mut self.picture, picture, x as i64, y as i64);
    }

    /// A line of this width with round ends.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], width: f64, colour: Colour) {
        let along = [to[0] - from[0], to[1] - from[1]];
        let length2 = along[0] * along[0] + along[1] * along[1];
        let reach = width / 2.0 + 1.0;
        let span = |a: f64, b: f64, size: usize| {
            let low = (a.min(b) - reach).floor().clamp(0.0, size as f64) as i64;
            let high = (a.max(b) + reach).ceil().clamp(0.0, size as f64) as i64;
            low..high
        };
        for y in span(from[1], to[1], self.height()) {
            for x in span(from[0], to[0], self.width()) {
                let p = [x as f64 + 0.5 - from[0], y as f64 + 0.5 - from[1]];
                let t = if length2 > 0.0 { (p[0] * along[0] + p[1] * along[1]) / length2 } else { 0.0 };
                let t = t.clamp(0.0, 1.0);
                let distance = (p[0] - t * along[0]).hypot(p[1] - t * along[1]);
                self.blend(x, y, colour, width / 2.0 + 0.5 - distance);
            }
        }
    }

    /// Lines through the points, and from the last to the first.
    pub fn polygon(&mut self, points: &[[f64; 2]], width: f64, colour: Colour) {
        for (i, &point) in points.iter().enumerate() {
            self.line(point, points[(i + 1) % points.len()], width, colour);
        }
    }

    /// The frame of a box `x1, y1, x2, y2`.
    pub fn frame(&mut self, [x1, y1, x2, y2]: [f64; 4], width: f64, colour: Colour) {
        self.polygon(&[[x1, y1], [x2, y1], [x2, y2], [x1, y2]], width, colour);
    }

    pub fn disc(&mut self, centre: [f64; 2], radius: f64, colour: Colour) {
        self.line(centre, centre, 2.0 * radius, colour);
    }

    /// Covers a box `x1, y1, x2, y2` of whole pixels.
    pub fn fill(&mut self, [x1, y1, x2, y2]: [usize; 4], colour: Colour) {
        for y in y1..y2 {
            for x in x1..x2 {
                self.blend(x as i64, y as i64, colour, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_covers_its_own_area() {
        let mut canvas = Canvas::blank(60, 40, [0; 3]);
        canvas.line([10.0, 8.0], [40.0, 30.0], 3.0, [200, 0, 0]);
        let covered: f64 = canvas.picture.pixels().map(|p| f64::from(p.0[0]) / 200.0).sum();
        let exact = 3.0 * 30f64.hypot(22.0) + std::f64::consts::PI * 1.5 * 1.5;
        assert!((covered - exact).abs() < 0.03 * exact, "{covered} {exact}");
        canvas.line([-1e9, 5.0], [1e9, 5.0], 1.0, [1; 3]);
    }
}
