//! From tokens to outlines, boxes and masks, in the network's frame and in the original image.

use crate::config::ModelConfig;
use crate::data::Row;
use crate::mask::{MaskError, Rle};
use crate::model::{Answer, quantise};

/// How the network's frame lies over the original image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Height and width of the resized image in its own padding, which tokens are fractions of.
    pub pad_hw: (usize, usize),
    /// Height and width of the original image.
    pub original_hw: (usize, usize),
    /// Resized over original size, x and y.
    pub scale: (f64, f64),
    /// Where a crop or close-up begins in the resized image, x and y; zero for a plain resize.
    pub offset: (f64, f64),
}

impl Place {
    /// Of a row of a batch, in the padding of its image ([`crate::data::Batch::row_pad_hw`]).
    pub fn of_row(row: &Row, pad_hw: (usize, usize)) -> Self {
        Self { pad_hw, original_hw: row.original_hw, scale: row.scale, offset: row.offset }
    }

    /// A point of the frame in the original image.
    pub fn original(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [(x + self.offset.0) / self.scale.0, (y + self.offset.1) / self.scale.1]
    }

    /// A point of the original image in the frame.
    fn framed(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [x * self.scale.0 - self.offset.0, y * self.scale.1 - self.offset.1]
    }
}

/// What an answer draws, in pixels of the padded image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// Vertices x, y; `None` when the task has no outline.
    pub outline: Option<Vec<[f64; 2]>>,
    /// x1, y1, x2, y2; `None` when the task says no box.
    pub bbox: Option<[f32; 4]>,
}

impl Shape {
    /// Puts the tokens of an answer where they belong (quirks 21 and 27).
    pub fn of_answer(cfg: &ModelConfig, answer: &Answer, place: &Place) -> Self {
        let bounds = answer.bounds.as_ref().and_then(|said| said.tokens.first_chunk::<4>());
        let outline = answer.outline.as_ref();
        Self {
            outline: outline.map(|said| quantise::outline(cfg, &said.tokens, place.pad_hw)),
            bbox: bounds.map(|&tokens| quantise::dequantise_box(cfg, tokens, place.pad_hw)),
        }
    }

    /// The same in another frame of the same image.
    pub fn moved(self, from: &Place, to: &Place) -> Self {
        if from == to {
            return self;
        }
        let moved = |point| to.framed(from.original(point));
        let bbox = self.bbox.map(|bbox| bbox.map(f64::from)).map(|[x1, y1, x2, y2]| {
            let ([x1, y1], [x2, y2]) = (moved([x1, y1]), moved([x2, y2]));
            [x1, y1, x2, y2].map(|side| side as f32)
        });
        let outline = self.outline.map(|outline| outline.into_iter().map(moved).collect());
        Self { outline, bbox }
    }

    /// The vertices in the original image, not clipped.
    pub fn original_outline(&self, place: &Place) -> Option<Vec<[f64; 2]>> {
        Some(self.outline.as_ref()?.iter().map(|&point| place.original(point)).collect())
    }

    /// The mask in the original image: the vertices are scaled first, then rasterised, so that neither
    /// padding nor a second resampling enters (the reference stretches the padded mask, quirk 24).
    /// Fewer than three vertices are empty.
    pub fn original_mask(&self, place: &Place) -> Option<Result<Rle, MaskError>> {
        let (height, width) = place.original_hw;
        Some(fill(height, width, &self.original_outline(place)?))
    }

    /// The box in the original image, clipped to it: from the box tokens, else around the vertices; all
    /// 0 for an outline without vertices.
    pub fn original_bbox(&self, place: &Place) -> Option<[f64; 4]> {
        let [x1, y1, x2, y2] = match (self.bbox, &self.outline) {
            (Some(bbox), _) => bbox.map(f64::from),
            (None, Some(outline)) => around(outline),
            (None, None) => return None,
        };
        let (height, width) = (place.original_hw.0 as f64, place.original_hw.1 as f64);
        if self.bbox.is_none() && self.outline.as_ref().is_some_and(Vec::is_empty) {
            return Some([0.0; 4]);
        }
        let ([left, top], [right, bottom]) = (place.original([x1, y1]), place.original([x2, y2]));
        let (x, y) = (|v: f64| v.clamp(0.0, width), |v: f64| v.clamp(0.0, height));
        Some([x(left), y(top), x(right), y(bottom)])
    }

    /// The mask in the padded frame as the reference makes it: two vertices are a box x, y, width,
    /// height (quirk 22).
    pub fn reference_mask(&self, place: &Place) -> Option<Result<Rle, MaskError>> {
        let (height, width) = place.pad_hw;
        Some(match self.outline.as_deref()? {
            [[x, y], [w, h]] => Rle::from_box(height, width, [*x, *y, *w, *h]),
            outline => fill(height, width, outline),
        })
    }
}

fn fill(height: usize, width: usize, outline: &[[f64; 2]]) -> Result<Rle, MaskError> {
    Rle::from_polygon(height, width, outline.as_flattened())
}

fn around(points: &[[f64; 2]]) -> [f64; 4] {
    if points.is_empty() {
        return [0.0; 4];
    }
    points.iter().fold([f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY], |b, p| {
        [b[0].min(p[0]), b[1].min(p[1]), b[2].max(p[0]), b[3].max(p[1])]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Spoken;

    fn answer(tokens: &[u32]) -> Answer {
        let said = Spoken { tokens: tokens.to_vec(), ..Spoken::default() };
        Answer { outline: Some(said), ..Answer::default() }
    }

    #[test]
    fn an_outline_goes_to_the_original_image_without_the_padding() {
        // 50 x 100 pixels, resized to 32 x 64 and padded to 32 x 96.
        let place =
            Place { pad_hw: (32, 96), original_hw: (50, 100), scale: (0.64, 0.64), offset: (0.0, 0.0) };
        let cfg = ModelConfig { bins: 96, ..ModelConfig::default() };
        // A square of 32 by 16 pixels in the padded frame.
        let shape = Shape::of_answer(&cfg, &answer(&[0, 0, 32, 0, 32, 48, 0, 48, 96, 7, 7]), &place);
        let mask = shape.original_mask(&place).expect("an outline").expect("a mask");
        assert_eq!((mask.height(), mask.width(), mask.bounding_box()), (50, 100, [0, 0, 50, 25]));
        assert_eq!(shape.original_bbox(&place), Some([0.0, 0.0, 50.0, 25.0]));
        let padded = shape.reference_mask(&place).expect("an outline").expect("a mask");
        assert_eq!(padded.bounding_box(), [0, 0, 32, 16]);
    }

    #[test]
    fn two_vertices_are_nothing_but_for_the_reference() {
        let place =
            Place { pad_hw: (100, 100), original_hw: (100, 100), scale: (1.0, 1.0), offset: (0.0, 0.0) };
        let cfg = ModelConfig { bins: 100, ..ModelConfig::default() };
        let shape = Shape::of_answer(&cfg, &answer(&[10, 10, 20, 30, 100]), &place);
        assert_eq!(shape.original_mask(&place).expect("an outline").expect("a mask").area(), 0);
        let box_mask = shape.reference_mask(&place).expect("an outline").expect("a mask");
        assert_eq!(box_mask.bounding_box(), [10, 10, 20, 30]);
    }

    #[test]
    fn a_shape_goes_to_another_frame() {
        let from = Place { pad_hw: (64, 64), original_hw: (50, 100), scale: (4.0, 2.0), offset: (40.0, 6.0) };
        let to = Place { pad_hw: (32, 64), scale: (0.64, 0.64), offset: (0.0, 0.0), ..from };
        let shape =
            Shape { outline: Some(vec![[0.0, 0.0], [40.0, 14.0]]), bbox: Some([0.0, 0.0, 40.0, 14.0]) };
        let moved = shape.clone().moved(&from, &to);
        assert_eq!(moved.outline, Some(vec![[6.4, 1.92], [12.8, 6.4]]));
        let [before, after] =
            [(&shape, &from), (&moved, &to)].map(|(shape, place)| shape.original_bbox(place));
        let far = before.expect("a box").into_iter().zip(after.expect("a box")).map(|(a, b)| (a - b).abs());
        assert!(far.fold(0.0, f64::max) < 1e-6);
    }

    #[test]
    fn no_vertices_are_an_empty_box() {
        let place = Place { pad_hw: (32, 32), original_hw: (32, 32), scale: (1.0, 1.0), offset: (0.0, 0.0) };
        let shape = Shape::of_answer(&ModelConfig::default(), &answer(&[1000]), &place);
        assert_eq!(shape.original_bbox(&place), Some([0.0; 4]));
    }
}
