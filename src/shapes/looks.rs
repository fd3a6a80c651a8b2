//! An object as it is seen, and the looks that a phrase tells of it.

use super::attributes::{Colour, Kind, Pattern, Size};
use super::object::Object;

/// What one sees of an object: its looks and the centre of its visible part.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub kind: Kind,
    pub colour: Colour,
    pub pattern: Pattern,
    pub size: Size,
    /// In units of the scene, see [`super::scene::Scene::unit`].
    pub radius: f64,
    pub centre: [f64; 2],
    /// The centre from 0 to 1 in the image.
    pub within: [f64; 2],
}

impl Seen {
    pub(super) fn new(object: &Object, unit: f64, centre: [f64; 2], image: [f64; 2]) -> Self {
        Self {
            kind: object.kind,
            colour: object.colour,
            pattern: object.pattern,
            size: object.size,
            radius: object.radius / unit,
            centre: centre.map(|c| c / unit),
            within: [centre[0] / image[0], centre[1] / image[1]],
        }
    }

    pub(super) fn distance(&self, other: &Self) -> f64 {
        let (dx, dy) = (self.centre[0] - other.centre[0], self.centre[1] - other.centre[1]);
        (dx * dx + dy * dy).sqrt()
    }
}

/// Some of an object's looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looks {
    pub size: Option<Size>,
    pub pattern: Option<Pattern>,
    pub colour: Option<Colour>,
    pub kind: Option<Kind>,
}

/// Which looks are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub size: bool,
    pub pattern: bool,
    pub colour: bool,
    pub kind: bool,
}

impl Told {
    /// All sixteen choices, nothing first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..16).map(|bits| Self {
            size: bits & 1 != 0,
            pattern: bits & 2 != 0,
            colour: bits & 4 != 0,
            kind: bits & 8 != 0,
        })
    }

    pub(super) fn count(self) -> usize {
        [self.size, self.pattern, self.colour, self.kind].into_iter().filter(|&told| told).count()
    }
}

impl Looks {
    pub(super) fn of(seen: &Seen, told: Told) -> Self {
        Self {
            size: told.size.then_some(seen.size),
            pattern: told.pattern.then_some(seen.pattern),
            colour: told.colour.then_some(seen.colour),
            kind: told.kind.then_some(seen.kind),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.size.is_none() && self.pattern.is_none() && self.colour.is_none() && self.kind.is_none()
    }

    pub(super) fn fit(&self, seen: &Seen) -> bool {
        self.size.is_none_or(|size| size == seen.size)
            && self.pattern.is_none_or(|pattern| pattern == seen.pattern)
            && self.colour.is_none_or(|colour| colour == seen.colour)
            && self.kind.is_none_or(|kind| kind == seen.kind)
    }
}
