//! What can be said of an object so that only this object is meant.
//!
//! Every description has two readings: strict (surely true) and lax (arguably true). It is used
//! for a target only where it is strictly true of the target and not even laxly true of anything
//! else in the image.

use super::attributes::{Colour, Kind, Pattern, Size};
use super::scene::Object;

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

    fn distance(&self, other: &Self) -> f64 {
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

    fn fit(&self, seen: &Seen) -> bool {
        self.size.is_none_or(|size| size == seen.size)
            && self.pattern.is_none_or(|pattern| pattern == seen.pattern)
            && self.colour.is_none_or(|colour| colour == seen.colour)
            && self.kind.is_none_or(|kind| kind == seen.kind)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
    Top,
    Bottom,
}

impl Side {
    pub const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Top, Self::Bottom];
    pub const ACROSS: [Self; 2] = [Self::Left, Self::Right];
    pub const DOWN: [Self; 2] = [Self::Top, Self::Bottom];

    /// How far to this side a point lies.
    fn along(self, point: [f64; 2]) -> f64 {
        match self {
            Self::Left => -point[0],
            Self::Right => point[0],
            Self::Top => -point[1],
            Self::Bottom => point[1],
        }
    }

    fn across(self, point: [f64; 2]) -> f64 {
        match self {
            Self::Left | Self::Right => point[1],
            Self::Top | Self::Bottom => point[0],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Description {
    Look(Looks),
    /// The largest or smallest of those that look so; `of_two` when there are just two.
    Extreme { looks: Looks, size: Size, of_two: bool },
    /// In this part of the image; `alone` when nothing else looks so, and the place is only help.
    Place { looks: Looks, side: Side, alone: bool },
    Corner { looks: Looks, down: Side, across: Side },
    /// Between two others that look the same.
    Middle { looks: Looks },
    /// On this side of another object, which looks like `anchor`.
    Beside { looks: Looks, side: Side, anchor: Looks },
    /// The nearest of those that look so.
    Near { looks: Looks, anchor: Looks },
}

/// Least lead over the next in a direction.
const LEAD: f64 = 0.09;
/// Least distance from the middle of the image of what lies "on the left" with no rival there.
const OFF_CENTRE: f64 = 0.15;
/// What is beside an anchor is this far to that side; what is not is less than the second.
const BESIDE: f64 = 0.12;
const NOT_BESIDE: f64 = 0.04;
/// Largest part of the distance beside that may be in the other direction.
const ASLANT: f64 = 1.5;
/// The biggest is this much bigger than the next, and the nearest this much nearer.
const RATIO: f64 = 1.3;

impl Description {
    /// Whether this says `target` and nothing else.
    pub(super) fn singles_out(&self, target: usize, all: &[Seen]) -> bool {
        self.holds(target, all, true) && (0..all.len()).all(|i| i == target || !self.holds(i, all, false))
    }

    fn holds(&self, index: usize, all: &[Seen], strict: bool) -> bool {
        let it = &all[index];
        match *self {
            Self::Look(looks) => looks.fit(it),
            Self::Extreme { looks, size, of_two } => {
                let mut rivals = rivals(&looks, index, all).peekable();
                let enough = rivals.peek().is_some() && (of_two == (fitting(&looks, all) == 2));
                let ratio = if strict { RATIO } else { 1.0 };
                enough
                    && looks.fit(it)
                    && rivals.all(|other| match size {
                        Size::Big => it.radius >= ratio * other.radius,
                        Size::Small => it.radius * ratio <= other.radius,
                    })
            }
            Self::Place { looks, side, alone } => {
                let single = fitting(&looks, all) == 1;
                looks.fit(it)
                    && alone == single
                    && (!alone || side.along(it.within) - side.along([0.5, 0.5]) > OFF_CENTRE)
                    && leads(side, it, rivals(&looks, index, all), strict)
            }
            Self::Corner { looks, down, across } => {
                looks.fit(it)
                    && fitting(&looks, all) > 1
                    && [down, across].into_iter().all(|side| {
                        leads(side, it, rivals(&looks, index, all), strict)
                            && (!strict || side.along(it.within) - side.along([0.5, 0.5]) > OFF_CENTRE)
                    })
            }
            Self::Middle { looks } => {
                let side = |side: Side| {
                    rivals(&looks, index, all).any(|other| leads(side, it, std::iter::once(other), strict))
                };
                looks.fit(it) && fitting(&looks, all) == 3 && side(Side::Left) && side(Side::Right)
            }
            Self::Beside { looks, side, anchor } => {
                looks.fit(it)
                    && the_one(&anchor, all).is_some_and(|a| {
                        let apart =
                            [it.centre[0] - all[a].centre[0], it.centre[1] - all[a].centre[1]];
                        let (along, aslant) = (side.along(apart), side.across(apart).abs());
                        a != index
                            && if strict {
                                along > BESIDE && aslant < ASLANT * along
                            } else {
                                along > NOT_BESIDE
                            }
                    })
            }
            Self::Near { looks, anchor } => {
                looks.fit(it)
                    && the_one(&anchor, all).is_some_and(|a| {
                        let mut others = (0..all.len())
                            .filter(|&i| i != index && i != a && looks.fit(&all[i]))
                            .peekable();
                        let ratio = if strict { RATIO } else { 1.0 };
                        let own = it.distance(&all[a]);
                        a != index
                            && others.peek().is_some()
                            && others.all(|i| all[i].distance(&all[a]) >= ratio * own)
                    })
            }
        }
    }
}

fn rivals<'a>(looks: &Looks, index: usize, all: &'a [Seen]) -> impl Iterator<Item = &'a Seen> {
    let looks = *looks;
    all.iter().enumerate().filter(move |(i, seen)| *i != index && looks.fit(seen)).map(|(_, seen)| seen)
}

fn fitting(looks: &Looks, all: &[Seen]) -> usize {
    all.iter().filter(|seen| looks.fit(seen)).count()
}

/// The only object that looks so.
fn the_one(looks: &Looks, all: &[Seen]) -> Option<usize> {
    let mut fitting = (0..all.len()).filter(|&i| looks.fit(&all[i]));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first)
}

fn leads<'a>(side: Side, it: &Seen, mut rivals: impl Iterator<Item = &'a Seen>, strict: bool) -> bool {
    let lead = if strict { LEAD } else { 0.0 };
    rivals.all(|other| side.along(it.centre) - side.along(other.centre) >= lead)
}
