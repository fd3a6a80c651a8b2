use thiserror::Error;

use super::MAX_PIXELS;

/// What can be wrong with a mask.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MaskError {
    #[error("run lengths cover {found} pixels, the mask of {height} x {width} has {expected}")]
    Length { height: usize, width: usize, found: u64, expected: u64 },
    #[error("a mask of {height} x {width} pixels is larger than the {MAX_PIXELS} pixels that are read")]
    TooLarge { height: usize, width: usize },
    #[error("compressed run lengths: byte {position} is {found:#04x}, expected '0' (0x30) to 'o' (0x6f)")]
    Character { position: usize, found: u8 },
    #[error("compressed run lengths end inside run {run}; the string was cut")]
    Truncated { run: usize },
    #[error("compressed run lengths: run {run} is {found}, which is no length in a mask of {pixels} pixels")]
    Run { run: usize, found: i64, pixels: u64 },
    #[error("polygon {polygon} has {found} numbers, expected pairs x, y")]
    OddCoordinates { polygon: usize, found: usize },
    #[error("polygon {polygon}: number {index} is {found}, expected a finite coordinate in pixels")]
    Coordinate { polygon: usize, index: usize, found: f64 },
    #[error("the mask is {found_height} x {found_width}, expected {height} x {width} (height x width)")]
    Size { height: usize, width: usize, found_height: usize, found_width: usize },
    #[error("no masks to merge")]
    Nothing,
    #[error("{truths} masks but {crowds} crowd flags")]
    Crowds { truths: usize, crowds: usize },
}

impl MaskError {
    /// The same error, said of polygon `number` of several.
    pub(super) fn of_polygon(self, number: usize) -> Self {
        match self {
            Self::OddCoordinates { found, .. } => Self::OddCoordinates { polygon: number, found },
            Self::Coordinate { index, found, .. } => Self::Coordinate { polygon: number, index, found },
            other => other,
        }
    }
}
