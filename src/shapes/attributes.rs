//! What an object can look like: kind, colour, pattern, size.

use serde::{Deserialize, Serialize};

/// The outline of an object, inside the square from -1 to 1 (u to the right, v down).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Circle,
    Ellipse,
    Ring,
    Crescent,
    Heart,
    Square,
    Triangle,
    Star,
    Cross,
    Hexagon,
    Arrow,
    L,
}

impl Kind {
    pub const ROUND: [Self; 5] = [Self::Circle, Self::Ellipse, Self::Ring, Self::Crescent, Self::Heart];
    pub const ANGULAR: [Self; 7] =
        [Self::Square, Self::Triangle, Self::Star, Self::Cross, Self::Hexagon, Self::Arrow, Self::L];

    pub fn is_round(self) -> bool {
        Self::ROUND.contains(&self)
    }

    /// Counted from 1, as COCO's categories.
    pub fn category_id(self) -> u32 {
        self as u32 + 1
    }

    /// Whether the point is inside. Only exact arithmetic (+ - * /), so that every machine
    /// draws the same picture.
    pub(super) fn contains(self, u: f64, v: f64) -> bool {
        let squared = u * u + v * v;
        match self {
            Self::Circle => squared < 0.9 * 0.9,
            Self::Ellipse => u * u + (v / 0.52) * (v / 0.52) < 1.0,
            Self::Ring => squared < 0.95 * 0.95 && squared > 0.48 * 0.48,
            Self::Crescent => squared < 0.95 * 0.95 && (u - 0.42) * (u - 0.42) + v * v > 0.72 * 0.72,
            Self::Heart => {
                let (x, y) = (1.25 * u, 0.15 - 1.25 * v);
                let s = x * x + y * y - 1.0;
                s * s * s < x * x * y * y * y
            }
            Self::Square => u.abs() < 0.8 && v.abs() < 0.8,
            Self::Triangle => v < 0.5 && SIN_60 * u.abs() - 0.5 * v < 0.5,
            Self::Star => {
                // Inside the pentagram at most one of the five lines through its tips is behind.
                let beyond = TIPS.iter().filter(|(x, y)| x * u + y * v > COS_72).count();
                beyond <= 1
            }
            Self::Cross => (u.abs() < 0.3 && v.abs() < 0.95) || (v.abs() < 0.3 && u.abs() < 0.95),
            Self::Hexagon => v.abs() < 0.84 && SIN_60 * u.abs() + 0.5 * v.abs() < 0.84,
            Self::Arrow => {
                (u > -0.95 && u <= 0.1 && v.abs() < 0.25)
                    || (u > 0.1 && u < 0.97 && v.abs() * 0.87 < 0.7 * (0.97 - u))
            }
            Self::L => {
                (u > -0.7 && u < -0.1 && v.abs() < 0.95) || (u > -0.7 && u < 0.75 && v > 0.35 && v < 0.95)
            }
        }
    }
}

const SIN_60: f64 = 0.866_025_403_784_438_6;
const COS_72: f64 = 0.309_016_994_374_947_45;
/// The tips of a five-pointed star of radius 1, the first one up.
const TIPS: [(f64, f64); 5] = [
    (0.0, -1.0),
    (0.951_056_516_295_153_5, -0.309_016_994_374_947_45),
    (0.587_785_252_292_473_1, 0.809_016_994_374_947_5),
    (-0.587_785_252_292_473_1, 0.809_016_994_374_947_5),
    (-0.951_056_516_295_153_5, -0.309_016_994_374_947_45),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    Red,
    Green,
    Blue,
    Yellow,
    Purple,
    Orange,
    Cyan,
    White,
}

impl Colour {
    pub const ALL: [Self; 8] = [
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Purple,
        Self::Orange,
        Self::Cyan,
        Self::White,
    ];

    pub(super) fn rgb(self) -> [f64; 3] {
        match self {
            Self::Red => [215.0, 40.0, 40.0],
            Self::Green => [40.0, 165.0, 60.0],
            Self::Blue => [45.0, 80.0, 215.0],
            Self::Yellow => [235.0, 220.0, 50.0],
            Self::Purple => [140.0, 50.0, 170.0],
            Self::Orange => [240.0, 140.0, 30.0],
            Self::Cyan => [60.0, 205.0, 215.0],
            Self::White => [238.0, 238.0, 238.0],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    Plain,
    Striped,
    Dotted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    Small,
    Big,
}

impl Size {
    /// Lowest and highest radius, as a share of the square root of the image's area.
    pub(super) fn radius(self) -> (f64, f64) {
        match self {
            Self::Small => (0.115, 0.145),
            Self::Big => (0.185, 0.24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outline_has_the_area_of_its_formula() {
        let share = |kind: Kind| {
            let n = 400;
            let at = |i: usize| (i as f64 + 0.5) / n as f64 * 2.0 - 1.0;
            let inside = (0..n * n).filter(|i| kind.contains(at(i % n), at(i / n))).count();
            inside as f64 * 4.0 / (n * n) as f64
        };
        let pi = std::f64::consts::PI;
        for (kind, area) in [
            (Kind::Circle, pi * 0.81),
            (Kind::Ellipse, pi * 0.52),
            (Kind::Ring, pi * (0.95 * 0.95 - 0.48 * 0.48)),
            (Kind::Square, 2.56),
            (Kind::Triangle, 0.75 * 3f64.sqrt()),
            (Kind::Star, 1.122_57),
            (Kind::Cross, 4.0 * 0.6 * 0.95 - 0.36),
            (Kind::Hexagon, 2.0 * 3f64.sqrt() * 0.84 * 0.84),
            (Kind::Arrow, 1.05 * 0.5 + 0.7 * 0.87),
            (Kind::L, 0.6 * 1.9 + 0.85 * 0.6),
        ] {
            assert!((share(kind) - area).abs() < 0.015, "{kind:?}: {} for {area}", share(kind));
        }
        assert!((0.8..1.6).contains(&share(Kind::Crescent)), "{}", share(Kind::Crescent));
        assert!((1.8..2.6).contains(&share(Kind::Heart)), "{}", share(Kind::Heart));
    }
}
