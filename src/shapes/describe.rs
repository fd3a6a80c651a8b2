//! What can be said of an object so that only this object is meant.
//!
//! Every description has two readings: strict (surely true) and lax (arguably true). It is used
//! for a target only where it is strictly true of the target and not even laxly true of anything
//! else in the image.

use super::attributes::Size;
use super::looks::{Looks, Seen};

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

/// In which sense something is, say, the left star.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The only star, and on the left: the place is only help.
    Alone,
    /// The leftmost of several stars, in the left half of the image.
    First,
    /// The leftmost of several stars, all in the right half.
    FirstElsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Description {
    Look(Looks),
    /// The largest or smallest of those that look so; `of_two` when there are just two.
    Extreme {
        looks: Looks,
        size: Size,
        of_two: bool,
    },
    Place {
        looks: Looks,
        side: Side,
        standing: Standing,
    },
    Corner {
        looks: Looks,
        down: Side,
        across: Side,
    },
    /// Between two others that look so, in a row from left to right.
    Middle {
        looks: Looks,
    },
    /// On this side of another object, which looks like `anchor`.
    Beside {
        looks: Looks,
        side: Side,
        anchor: Looks,
    },
    /// The nearest of those that look so.
    Near {
        looks: Looks,
        anchor: Looks,
    },
}

/// Least lead over the next in a direction.
const LEAD: f64 = 0.12;
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
            Self::Place { looks, side, standing } => {
                let several = fitting(&looks, all) > 1;
                let off_centre = side.along(it.within) - side.along([0.5, 0.5]);
                looks.fit(it)
                    && leads(side, it, rivals(&looks, index, all), strict)
                    && match standing {
                        Standing::Alone => !several && off_centre > OFF_CENTRE,
                        Standing::First => several && (!strict || off_centre > 0.0),
                        Standing::FirstElsewhere => several,
                    }
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
                let between = |side: Side| {
                    rivals(&looks, index, all).any(|other| leads(side, it, std::iter::once(other), strict))
                };
                looks.fit(it)
                    && fitting(&looks, all) == 3
                    && between(Side::Left)
                    && between(Side::Right)
                    && (!strict || extent(&looks, all, 0) > extent(&looks, all, 1))
            }
            Self::Beside { looks, side, anchor } => {
                looks.fit(it)
                    && the_one(&anchor, all).is_some_and(|a| {
                        let apart = [it.centre[0] - all[a].centre[0], it.centre[1] - all[a].centre[1]];
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
                        let mut others =
                            (0..all.len()).filter(|&i| i != index && i != a && looks.fit(&all[i])).peekable();
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

/// From the first to the last centre in x (axis 0) or y (axis 1).
fn extent(looks: &Looks, all: &[Seen], axis: usize) -> f64 {
    let along = || all.iter().filter(|seen| looks.fit(seen)).map(|seen| seen.centre[axis]);
    along().fold(f64::MIN, f64::max) - along().fold(f64::MAX, f64::min)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::attributes::{Colour, Kind, Pattern};

    fn seen(kind: Kind, colour: Colour, x: f64, y: f64) -> Seen {
        let (pattern, size) = (Pattern::Plain, Size::Small);
        Seen { kind, colour, pattern, size, radius: 0.13, centre: [x, y], within: [x, y] }
    }

    const NOTHING: Looks = Looks { size: None, pattern: None, colour: None, kind: None };
    const STAR: Looks = Looks { kind: Some(Kind::Star), ..NOTHING };
    const RED: Looks = Looks { colour: Some(Colour::Red), ..NOTHING };

    fn meant(description: Description, all: &[Seen]) -> Vec<usize> {
        (0..all.len()).filter(|&target| description.singles_out(target, all)).collect()
    }

    #[test]
    fn looks_must_be_unlike_all_others() {
        let all = [
            seen(Kind::Star, Colour::Red, 0.2, 0.5),
            seen(Kind::Star, Colour::Blue, 0.5, 0.5),
            seen(Kind::Ring, Colour::Blue, 0.8, 0.5),
        ];
        assert!(meant(Description::Look(STAR), &all).is_empty());
        assert_eq!(meant(Description::Look(RED), &all), [0]);
    }

    #[test]
    fn places_need_a_lead() {
        let side = Side::Left;
        let place = Description::Place { looks: STAR, side, standing: Standing::First };
        let mut all = [
            seen(Kind::Star, Colour::Red, 0.4, 0.5),
            seen(Kind::Star, Colour::Blue, 0.6, 0.5),
            seen(Kind::Ring, Colour::Blue, 0.1, 0.5),
        ];
        assert_eq!(meant(place, &all), [0]);
        all[1].centre[0] = 0.45;
        assert!(meant(place, &all).is_empty());
        // A star with no rival is "on the left" only if it is.
        all[1].kind = Kind::Heart;
        let alone = Description::Place { looks: STAR, side, standing: Standing::Alone };
        assert!(meant(alone, &all).is_empty());
        all[0].within[0] = 0.3;
        assert_eq!(meant(alone, &all), [0]);
    }

    #[test]
    fn relations_need_one_anchor_and_one_target() {
        let above = Description::Beside { looks: STAR, side: Side::Top, anchor: RED };
        let near = Description::Near { looks: STAR, anchor: RED };
        let mut all = [
            seen(Kind::Star, Colour::Blue, 0.5, 0.2),
            seen(Kind::Star, Colour::Blue, 0.5, 0.9),
            seen(Kind::Ring, Colour::Red, 0.5, 0.6),
        ];
        assert_eq!(meant(above, &all), [0]);
        assert_eq!(meant(near, &all), [1]);
        all[1].centre[1] = 0.5;
        assert!(meant(above, &all).is_empty(), "both stars are above the ring");
        all[1].centre[1] = 0.9;
        all[0].colour = Colour::Red;
        assert!(meant(above, &all).is_empty(), "two red things");
    }

    #[test]
    fn the_middle_is_between_two() {
        let middle = Description::Middle { looks: STAR };
        let all = [0.8, 0.5, 0.2].map(|x| seen(Kind::Star, Colour::Red, x, 0.5));
        assert_eq!(meant(middle, &all), [1]);
        assert!(meant(middle, &all[..2]).is_empty());
        let upright = [0.8, 0.5, 0.2].map(|y| seen(Kind::Star, Colour::Red, 0.5 + 0.2 * y, y));
        assert!(meant(middle, &upright).is_empty());
    }
}
