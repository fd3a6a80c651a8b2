//! Masks, outlines, boxes, numbered points and captions on an image.

use image::RgbImage;
use image::imageops::{FilterType, resize};

use super::canvas::{Canvas, Colour, INK, WHITE};
use super::text;
use crate::mask::Mask;

const MARGIN: usize = 8;
const TITLE_SIZE: f64 = 16.0;
const CAPTION_SIZE: f64 = 15.0;
const NUMBER_SIZE: f64 = 13.0;
/// Room for a caption under a narrow image.
const MIN_WIDTH: usize = 200;
const MAX_ENLARGEMENT: f64 = 8.0;
const FILL_ALPHA: f64 = 0.38;

/// What is drawn in one colour. Coordinates are pixels of the image.
#[derive(Clone, Debug, Default)]
pub struct Layer<'a> {
    pub colour: Colour,
    /// Filled translucently, its border drawn; must have the size of the image.
    pub mask: Option<&'a Mask>,
    /// A closed polygon.
    pub outline: &'a [[f64; 2]],
    /// Number the points of `outline` in their order, from 1.
    pub numbered: bool,
    /// x1, y1, x2, y2.
    pub bbox: Option<[f64; 4]>,
}

/// A text under the image; with a colour, a square of it stands before the text.
#[derive(Clone, Debug)]
pub struct Caption {
    pub text: String,
    pub colour: Option<Colour>,
}

/// An image with what is to be drawn on it. Small images are enlarged by a whole factor, so that
/// numbers and captions are legible.
#[derive(Clone, Debug)]
pub struct Overlay<'a> {
    pub image: &'a RgbImage,
    pub title: Option<String>,
    pub layers: Vec<Layer<'a>>,
    pub captions: Vec<Caption>,
    /// The longer side is brought near this many pixels.
    pub long_side: usize,
}

impl<'a> Overlay<'a> {
    pub fn new(image: &'a RgbImage) -> Self {
        Self { image, title: None, layers: Vec::new(), captions: Vec::new(), long_side: 512 }
    }

    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    pub fn layer(mut self, layer: Layer<'a>) -> Self {
        self.layers.push(layer);
        self
    }

    pub fn caption(mut self, text: impl Into<String>, colour: Option<Colour>) -> Self {
        self.captions.push(Caption { text: text.into(), colour });
        self
    }

    pub fn long_side(mut self, pixels: usize) -> Self {
        self.long_side = pixels;
        self
    }

    fn scale(&self) -> f64 {
        let long = f64::from(self.image.width().max(self.image.height()).max(1));
        let wanted = self.long_side.max(1) as f64;
        if long <= wanted {
            (wanted / long).floor().min(MAX_ENLARGEMENT)
        } else {
            (2.0 * wanted / long).min(1.0)
        }
    }

    /// The finished panel, with a white margin.
    pub fn draw(&self) -> RgbImage {
        let picture = self.draw_image();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let room = width.max(MIN_WIDTH);
        let title = self.title.as_deref().map(|title| text::wrap(title, TITLE_SIZE, room as f64));
        let title = title.unwrap_or_default();
        let indent = |caption: &Caption| if caption.colour.is_some() { CAPTION_SIZE } else { 0.0 };
        let captions: Vec<(&Caption, Vec<String>)> = self
            .captions
            .iter()
            .map(|caption| (caption, text::wrap(&caption.text, CAPTION_SIZE, room as f64 - indent(caption))))
            .collect();

        let title_height = title.len() * text::line_height(TITLE_SIZE) + if title.is_empty() { 0 } else { 4 };
        let lines: usize = captions.iter().map(|(_, lines)| lines.len()).sum();
        let captions_height = lines * text::line_height(CAPTION_SIZE) + if lines == 0 { 0 } else { 4 };
        let mut canvas =
            Canvas::blank(room + 2 * MARGIN, title_height + height + captions_height + 2 * MARGIN, WHITE);
        let mut y = MARGIN;
        for line in &title {
            canvas.text([MARGIN as f64, y as f64], TITLE_SIZE, INK, line);
            y += text::line_height(TITLE_SIZE);
        }
        canvas.paste(&picture, MARGIN, MARGIN + title_height);
        y = MARGIN + title_height + height + 4;
        for (caption, lines) in captions {
            if let Some(colour) = caption.colour {
                canvas.fill([MARGIN, y + 4, MARGIN + 10, y + 14], colour);
            }
            for line in lines {
                canvas.text([MARGIN as f64 + indent(caption), y as f64], CAPTION_SIZE, INK, &line);
                y += text::line_height(CAPTION_SIZE);
            }
        }
        canvas.into_picture()
    }

    fn draw_image(&self) -> RgbImage {
        let scale = self.scale();
        let size = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
        let (width, height) = (size(self.image.width()), size(self.image.height()));
        let filter = if scale > 1.0 { FilterType::CatmullRom } else { FilterType::Triangle };
        let mut canvas = Canvas::new(if scale == 1.0 {
            self.image.clone()
        } else {
            resize(self.image, width, height, filter)
        });
        for mask in self.layers.iter().filter_map(|layer| Some((layer.mask?, layer.colour))) {
            fill_mask(&mut canvas, mask.0, scale, mask.1);
        }
        for layer in &self.layers {
            draw_layer(&mut canvas, layer, scale);
        }
        for layer in self.layers.iter().filter(|layer| layer.numbered) {
            number_points(&mut canvas, layer, scale);
        }
        canvas.into_picture()
    }
}

fn fill_mask(canvas: &mut Canvas, mask: &Mask, scale: f64, colour: Colour) {
    for y in 0..canvas.height() {
        for x in 0..canvas.width() {
            let at = |v: usize| ((v as f64 + 0.5) / scale) as usize;
            let (mx, my) = (at(x), at(y));
            if mx < mask.width && my < mask.height && mask.get(mx, my) {
                canvas.blend(x as i64, y as i64, colour, FILL_ALPHA);
            }
        }
    }
}

fn draw_layer(canvas: &mut Canvas, layer: &Layer<'_>, scale: f64) {
    let line = if canvas.width().max(canvas.height()) >= 384 { 2.0 } else { 1.6 };
    if let (Some(mask), true) = (layer.mask, layer.outline.is_empty()) {
        draw_border(canvas, mask, scale, line + 1.6, WHITE);
        draw_border(canvas, mask, scale, line, layer.colour);
    }
    let points: Vec<[f64; 2]> = layer.outline.iter().map(|p| [p[0] * scale, p[1] * scale]).collect();
    canvas.polygon(&points, line + 2.0, WHITE);
    canvas.polygon(&points, line, layer.colour);
    if let Some(bbox) = layer.bbox {
        // Inside the picture, or the frame of a box as large as the image would be cut away.
        let limits = [canvas.width() as f64, canvas.height() as f64];
        let corner = |i: usize| (bbox[i] * scale).clamp(1.0, (limits[i % 2] - 1.0).max(1.0));
        let frame = [corner(0), corner(1), corner(2), corner(3)];
        canvas.frame(frame, line + 1.6, WHITE);
        canvas.frame(frame, line, layer.colour);
    }
}

/// Lines along the edges between pixels inside and outside.
fn draw_border(canvas: &mut Canvas, mask: &Mask, scale: f64, width: f64, colour: Colour) {
    let inside = |x: usize, y: usize| x < mask.width && y < mask.height && mask.get(x, y);
    let before = |x: usize, y: usize, left: bool| match (left, x, y) {
        (true, 0, _) | (false, _, 0) => false,
        (true, ..) => inside(x - 1, y),
        (false, ..) => inside(x, y - 1),
    };
    let at = |x: usize, y: usize| [x as f64 * scale, y as f64 * scale];
    for y in 0..=mask.height {
        for x in 0..=mask.width {
            if inside(x, y) != before(x, y, true) {
                canvas.line(at(x, y), at(x, y + 1), width, colour);
            }
            if inside(x, y) != before(x, y, false) {
                canvas.line(at(x, y), at(x + 1, y), width, colour);
            }
        }
    }
}

/// Discs on the points and their numbers beside them, away from the middle of the outline.
fn number_points(canvas: &mut Canvas, layer: &Layer<'_>, scale: f64) {
    let n = layer.outline.len().max(1) as f64;
    let sum = layer.outline.iter().fold([0.0, 0.0], |sum, p| [sum[0] + p[0], sum[1] + p[1]]);
    let middle = [sum[0] / n, sum[1] / n];
    let limits = [canvas.width() as f64, canvas.height() as f64];
    for (i, point) in layer.outline.iter().enumerate() {
        let at = [point[0] * scale, point[1] * scale];
        canvas.disc(at, 4.6, WHITE);
        canvas.disc(at, 3.4, layer.colour);
        let away = [point[0] - middle[0], point[1] - middle[1]];
        let length = away[0].hypot(away[1]).max(1e-9);
        let place =
            |axis: usize| (at[axis] + 12.0 * away[axis] / length).clamp(8.0, (limits[axis] - 8.0).max(8.0));
        canvas.label([place(0), place(1)], NUMBER_SIZE, WHITE, INK, &(i + 1).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_land_where_the_mask_is() {
        let image = RgbImage::from_pixel(64, 48, image::Rgb([100; 3]));
        let mut mask = Mask::empty(48, 64);
        (20..30).for_each(|y| mask.pixels[y * 64 + 10..y * 64 + 20].fill(1));
        let overlay =
            Overlay::new(&image).layer(Layer { colour: [255, 0, 0], mask: Some(&mask), ..Layer::default() });
        let panel = overlay.draw();
        assert_eq!(overlay.scale(), 8.0);
        let at = |x: u32, y: u32| panel.get_pixel(MARGIN as u32 + 8 * x + 4, MARGIN as u32 + 8 * y + 4).0;
        assert!(at(15, 25)[0] > 140 && at(15, 25)[1] < 100);
        assert_eq!(at(25, 25), [100; 3]);
    }

    #[test]
    fn nothing_outside_the_image_panics() {
        let image = RgbImage::new(3, 2);
        let mask = Mask::empty(9, 9);
        let outline = [[-50.0, 4.0], [1e7, -3.0], [f64::NAN, 2.0]];
        let layer = Layer {
            mask: Some(&mask),
            outline: &outline,
            numbered: true,
            bbox: Some([5.0, -1e6, 1e6, 0.0]),
            ..Layer::default()
        };
        let panel = Overlay::new(&image).layer(layer).title("t").caption("", None).draw();
        assert!(panel.width() >= MIN_WIDTH as u32);
    }
}
