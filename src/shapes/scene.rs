//! Which objects an image holds, and where.

use super::attributes::{Colour, Pattern, Size};
use super::object::Object;
use super::split::Split;
use crate::random::Stream;

/// Objects, the last one on top.
#[derive(Clone, Debug)]
pub struct Scene {
    pub width: usize,
    pub height: usize,
    pub objects: Vec<Object>,
}

/// Width to height, in proportion.
const ASPECTS: [(usize, usize); 7] = [(1, 1), (1, 1), (5, 4), (4, 5), (4, 3), (3, 4), (3, 2)];
const TRIES: usize = 40;

impl Scene {
    /// Draws a scene for a split, or `None` where its objects found no room or it lacks what the
    /// split needs (the caller draws again). No two objects look alike in all four attributes,
    /// so that each can be told by its looks alone.
    ///
    /// `size`: the longest side of the largest images, in pixels.
    pub(super) fn draw(stream: &mut Stream, split: Split, size: usize) -> Option<Self> {
        let (across, down) = *stream.pick(&ASPECTS);
        let longest = size * (12 + stream.below(5)) / 16;
        let larger = across.max(down);
        let (width, height) = (longest * across / larger, longest * down / larger);
        let mut scene = Self { width, height, objects: Vec::new() };
        let count = split.draw_count(stream);
        for _ in 0..count {
            let object = scene.draw_object(stream, split)?;
            scene.objects.push(object);
        }
        split.accepts(&scene.objects).then_some(scene)
    }

    /// Square root of the image's area: the unit of sizes and distances.
    pub fn unit(&self) -> f64 {
        ((self.width * self.height) as f64).sqrt()
    }

    fn draw_object(&self, stream: &mut Stream, split: Split) -> Option<Object> {
        for _ in 0..TRIES {
            let object = self.draw_candidate(stream, split);
            let closeness = if stream.chance(0.3) { 0.5 } else { 0.85 };
            let room = self.objects.iter().all(|other| {
                let (dx, dy) = (object.x - other.x, object.y - other.y);
                let least = closeness * (object.radius + other.radius);
                dx * dx + dy * dy > least * least
            });
            if room && !self.objects.iter().any(|other| other.looks_like(&object)) {
                return Some(object);
            }
        }
        None
    }

    /// Kinds and colours are often those of an object already there: distractors.
    fn draw_candidate(&self, stream: &mut Stream, split: Split) -> Object {
        let earlier = &self.objects;
        let size = if stream.chance(0.5) { Size::Big } else { Size::Small };
        let (low, high) = size.radius();
        let radius = stream.range(low, high) * self.unit();
        let inset = 0.85 * radius;
        let x = stream.range(inset, self.width as f64 - inset);
        let y = stream.range(inset, self.height as f64 - inset);
        let kind = if !earlier.is_empty() && stream.chance(0.55) {
            stream.pick(earlier).kind
        } else {
            split.draw_kind(stream)
        };
        let colour = if !earlier.is_empty() && stream.chance(0.3) {
            stream.pick(earlier).colour
        } else {
            *stream.pick(&Colour::ALL)
        };
        let pattern = *stream.pick(&[Pattern::Plain, Pattern::Plain, Pattern::Striped, Pattern::Dotted]);
        let brightness = stream.range(0.86, 1.06);
        let rgb = colour.rgb().map(|c| (c * brightness + stream.range(-12.0, 12.0)).clamp(0.0, 255.0));
        let direction = draw_direction(stream);
        let phase = stream.uniform();
        Object { kind, colour, pattern, size, x, y, radius, direction, phase, rgb }
    }
}

/// A unit vector, by rejection: sine and cosine differ between machines in the last bit.
fn draw_direction(stream: &mut Stream) -> (f64, f64) {
    loop {
        let (x, y) = (stream.range(-1.0, 1.0), stream.range(-1.0, 1.0));
        let squared = x * x + y * y;
        if squared <= 1.0 && squared > 0.01 {
            let length = squared.sqrt();
            return (x / length, y / length);
        }
    }
}
