//! One image with its records, in the reference's layout.

use serde::Serialize;

use super::attributes::{Colour, Kind, Pattern, Size};
use super::express::express;
use super::looks::Seen;
use super::manner::Manner;
use super::render::Picture;
use super::scene::Scene;
use super::split::Split;
use super::trace::borders;
use crate::mask::{Mask, Rle};
use crate::random::Stream;

/// The `data_source` of every record.
pub const DATA_SOURCE: &str = "refshapes";

/// A visible mask: polygons, or run lengths where it has holes.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Segmentation {
    Polygons(Vec<Vec<usize>>),
    Rle(Rle),
}

impl Segmentation {
    /// Every closed line along its border, those of holes too.
    pub(super) fn lines(&self) -> Vec<Vec<[f64; 2]>> {
        let line = |points: &[usize]| points.chunks(2).map(|p| [p[0] as f64, p[1] as f64]).collect();
        match self {
            Self::Polygons(polygons) => polygons.iter().map(|polygon| line(polygon)).collect(),
            Self::Rle(rle) => {
                let found = borders(&rle.to_mask());
                let both = found.outer.iter().chain(&found.holes);
                both.map(|points| points.iter().map(|&(x, y)| [x as f64, y as f64]).collect()).collect()
            }
        }
    }
}

/// A record of `instances.json`. The last four fields are ours: labels for a pretext task.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Record {
    pub image_id: usize,
    pub ann_id: usize,
    pub category_id: u32,
    /// `[x, y, width, height]` of what is visible, in pixels.
    pub bbox: [usize; 4],
    pub mask: Segmentation,
    pub expressions: Vec<String>,
    pub width: usize,
    pub height: usize,
    pub data_source: &'static str,
    pub kind: Kind,
    pub colour: Colour,
    pub pattern: Pattern,
    pub size: Size,
}

/// An image and everything said about it.
pub(super) struct Drawing {
    pub image_id: usize,
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
    pub objects: usize,
    pub records: Vec<Record>,
    /// Records whose kind another object of the image shares.
    pub with_distractor: usize,
}

/// An object shows at least this share of itself.
const LEAST_VISIBLE: f64 = 0.6;
/// A part of a visible mask has at least this many pixels.
const LEAST_PART: usize = 8;

impl Drawing {
    /// Image `index` of a split. Depends on nothing but the arguments: not on the manner (which
    /// changes the expressions alone), nor on how many images there are.
    pub(super) fn draw(seed: u64, split: Split, index: usize, size: usize, manner: Manner) -> Self {
        let stream = Stream::new(seed, "refshapes").child(split as u64).child(index as u64);
        let image_id = split.image_id(index);
        let mut attempt = 0;
        let (scene, picture, views) = loop {
            let mut stream = stream.child(attempt);
            attempt += 1;
            if let Some(scene) = Scene::draw(&mut stream, split, size) {
                let picture = Picture::draw(&scene, &mut stream);
                if let Some(views) = views(&picture) {
                    break (scene, picture, views);
                }
            }
        };
        let image = [scene.width as f64, scene.height as f64];
        let seen: Vec<Seen> = scene
            .objects
            .iter()
            .zip(&views)
            .map(|(object, view)| Seen::new(object, scene.unit(), view.centre(), image))
            .collect();
        let words = Stream::new(seed, manner.name()).child(split as u64).child(index as u64);
        let mut records = Vec::new();
        let mut with_distractor = 0;
        for (target, view) in views.into_iter().enumerate() {
            let object = &scene.objects[target];
            if !split.refers_to(object.kind) {
                continue;
            }
            let mut words = words.child(target as u64);
            let expressions = express(&seen, target, manner, split.expressions(), &mut words);
            let alike = |other: &Seen| other.kind == object.kind;
            with_distractor += usize::from(seen.iter().filter(|other| alike(other)).count() > 1);
            records.push(Record {
                image_id,
                ann_id: image_id * 10 + target,
                category_id: object.kind.category_id(),
                bbox: view.bbox,
                mask: view.mask,
                expressions,
                width: scene.width,
                height: scene.height,
                data_source: DATA_SOURCE,
                kind: object.kind,
                colour: object.colour,
                pattern: object.pattern,
                size: object.size,
            });
        }
        let (width, height, objects) = (scene.width, scene.height, scene.objects.len());
        Self { image_id, width, height, rgb: picture.rgb, objects, records, with_distractor }
    }
}

/// What is visible of an object, as a record has it.
struct View {
    bbox: [usize; 4],
    mask: Segmentation,
}

impl View {
    fn centre(&self) -> [f64; 2] {
        let [x, y, width, height] = self.bbox.map(|v| v as f64);
        [x + width / 2.0, y + height / 2.0]
    }
}

/// The views of all objects, or `None` where one is too well hidden or leaves crumbs.
fn views(picture: &Picture) -> Option<Vec<View>> {
    picture.visible.iter().zip(&picture.whole).map(|(mask, &whole)| view(mask, whole)).collect()
}

fn view(mask: &Mask, whole: usize) -> Option<View> {
    if mask.area() as f64 <= LEAST_VISIBLE * whole as f64 {
        return None;
    }
    let found = borders(mask);
    if found.outer.iter().any(|polygon| area(polygon) < LEAST_PART) {
        return None;
    }
    let points = || found.outer.iter().flatten();
    let (left, right) = (points().map(|p| p.0).min()?, points().map(|p| p.0).max()?);
    let (top, bottom) = (points().map(|p| p.1).min()?, points().map(|p| p.1).max()?);
    let mask = if !found.holes.is_empty() {
        Segmentation::Rle(mask.to_rle().ok()?)
    } else {
        let flat = |polygon: &Vec<(usize, usize)>| polygon.iter().flat_map(|&(x, y)| [x, y]).collect();
        Segmentation::Polygons(found.outer.iter().map(flat).collect())
    };
    Some(View { bbox: [left, top, right - left, bottom - top], mask })
}

/// Pixels inside a closed polygon, those of its holes too.
fn area(polygon: &[(usize, usize)]) -> usize {
    let next = polygon.iter().cycle().skip(1);
    let twice: isize = polygon
        .iter()
        .zip(next)
        .map(|(&(x, y), &(xn, yn))| x as isize * yn as isize - xn as isize * y as isize)
        .sum();
    twice.unsigned_abs() / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Merge;

    #[test]
    fn polygons_rasterise_to_the_visible_mask() {
        let mut in_parts = 0;
        for index in 0..150 {
            let stream = Stream::new(11, "test").child(index);
            let mut stream = stream.child(0);
            let Some(scene) = Scene::draw(&mut stream, Split::Val, 96) else { continue };
            let picture = Picture::draw(&scene, &mut stream);
            for (mask, &whole) in picture.visible.iter().zip(&picture.whole) {
                let Some(view) = view(mask, whole) else { continue };
                let rle = mask.to_rle().unwrap();
                assert_eq!(rle.bounding_box().map(|v| v as usize), view.bbox);
                let Segmentation::Polygons(polygons) = view.mask else { continue };
                in_parts += usize::from(polygons.len() > 1);
                let parts: Vec<Rle> = polygons
                    .iter()
                    .map(|polygon| {
                        let points: Vec<f64> = polygon.iter().map(|&v| v as f64).collect();
                        Rle::from_polygon(mask.height, mask.width, &points).unwrap()
                    })
                    .collect();
                assert_eq!(Rle::merge(&parts, Merge::Union).unwrap(), rle);
            }
        }
        assert!(in_parts > 0);
    }

    #[test]
    fn images_of_val_hold_distractors_and_those_of_test_a_round_referents() {
        for index in 0..40 {
            let val = Drawing::draw(3, Split::Val, index, 64, Manner::Unc);
            assert!((3..=5).contains(&val.objects) && val.with_distractor >= 2);
            assert_eq!(val.records.len(), val.objects);
            let test_a = Drawing::draw(3, Split::TestA, index, 64, Manner::Unc);
            assert!(test_a.with_distractor >= 2 && test_a.records.iter().all(|r| r.kind.is_round()));
        }
    }

    #[test]
    fn manners_share_images_and_boxes() {
        let [unc, plus] = [Manner::Unc, Manner::Plus].map(|m| Drawing::draw(3, Split::Train, 9, 64, m));
        assert_eq!(unc.rgb, plus.rgb);
        let boxes = |drawing: &Drawing| drawing.records.iter().map(|record| record.bbox).collect::<Vec<_>>();
        assert_eq!(boxes(&unc), boxes(&plus));
    }
}
