//! One object of an image.

use super::attributes::{Colour, Kind, Pattern, Size};

/// One object of a scene, in pixels of its image.
#[derive(Clone, Debug)]
pub struct Object {
    pub kind: Kind,
    pub colour: Colour,
    pub pattern: Pattern,
    pub size: Size,
    /// Centre.
    pub x: f64,
    pub y: f64,
    pub radius: f64,
    /// Where the object's own u axis points; a unit vector.
    pub direction: (f64, f64),
    /// Shift of the pattern, in periods.
    pub phase: f64,
    /// The colour as painted: near that of its name, never the same twice.
    pub rgb: [f64; 3],
}

impl Object {
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.colour == other.colour
            && self.pattern == other.pattern
            && self.size == other.size
    }
}
