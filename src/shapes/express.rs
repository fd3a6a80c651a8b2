//! Choosing what to say of a referent.

use super::attributes::Size;
use super::describe::{Description, Side, Standing};
use super::looks::{Looks, Seen, Told};
use super::manner::Manner;
use super::wording;
use crate::random::Stream;

/// The most words of an expression: networks read no more.
const MOST_WORDS: usize = 15;

/// Up to `count` different expressions for an object, at least one. Each is true of nothing else
/// in the image.
pub(super) fn express(
    all: &[Seen],
    target: usize,
    manner: Manner,
    count: usize,
    stream: &mut Stream,
) -> Vec<String> {
    let choices = Choices::new(all, target, manner);
    let mut found: Vec<String> = Vec::new();
    for _ in 0..4 * count {
        if found.len() == count {
            break;
        }
        let words = wording::say(choices.pick(stream), manner, stream);
        let text = words.join(" ");
        if words.len() <= MOST_WORDS && !found.contains(&text) {
            found.push(text);
        }
    }
    if found.is_empty() {
        found.push(wording::say(&choices.certain, manner, stream).join(" "));
    }
    found
}

/// What can be said of one object, by sort, with weights.
struct Choices {
    sorts: [Vec<(Description, f64)>; 4],
    chances: [f64; 4],
    /// All its looks, which no other object shares.
    certain: Description,
}

impl Choices {
    fn new(all: &[Seen], target: usize, manner: Manner) -> Self {
        let chances = manner.chances();
        let it = &all[target];
        let weight = |told: Told| {
            let named = if told.kind { 3.0 } else { 1.0 };
            (0..told.count()).fold(named, |weight, _| weight * manner.brevity())
        };
        let mut sorts: [Vec<(Description, f64)>; 4] = Default::default();
        let mut offer = |sort: usize, description: Description, weight: f64| {
            if chances[sort] > 0.0 && description.singles_out(target, all) {
                sorts[sort].push((description, weight));
            }
        };
        for told in Told::all() {
            let looks = Looks::of(it, told);
            if told.count() > 0 {
                offer(0, Description::Look(looks), weight(told));
            }
            if !told.size && told.count() <= 2 {
                for (size, of_two) in
                    [(Size::Big, true), (Size::Big, false), (Size::Small, true), (Size::Small, false)]
                {
                    offer(1, Description::Extreme { looks, size, of_two }, weight(told));
                }
            }
            if told.count() > 2 {
                continue;
            }
            for side in Side::ALL {
                let place = |standing| Description::Place { looks, side, standing };
                let first = place(Standing::First);
                if first.singles_out(target, all) {
                    offer(2, first, weight(told));
                } else {
                    offer(2, place(Standing::FirstElsewhere), 0.5 * weight(told));
                }
                if told.kind {
                    offer(2, place(Standing::Alone), 0.15 * weight(told));
                }
            }
            for down in Side::DOWN {
                for across in Side::ACROSS {
                    offer(2, Description::Corner { looks, down, across }, 0.3 * weight(told));
                }
            }
            offer(2, Description::Middle { looks }, weight(told));
        }
        if chances[3] > 0.0 {
            for (looks, anchor, relevance) in pairs(all, target) {
                for side in Side::ALL {
                    offer(3, Description::Beside { looks, side, anchor }, relevance);
                }
                offer(3, Description::Near { looks, anchor }, 0.5 * relevance);
            }
        }
        let every = Told { size: true, pattern: true, colour: true, kind: true };
        Self { sorts, chances, certain: Description::Look(Looks::of(it, every)) }
    }

    fn pick(&self, stream: &mut Stream) -> &Description {
        let chance = |sort: usize| if self.sorts[sort].is_empty() { 0.0 } else { self.chances[sort] };
        let sort = weighted(stream, (0..4).map(chance));
        let descriptions = &self.sorts[sort];
        if descriptions.is_empty() {
            return &self.certain;
        }
        &descriptions[weighted(stream, descriptions.iter().map(|(_, weight)| *weight))].0
    }
}

/// Looks of the target and of an anchor for it, with a weight: most where the target's looks
/// alone would not do.
fn pairs(all: &[Seen], target: usize) -> Vec<(Looks, Looks, f64)> {
    let mut found = Vec::new();
    for told in Told::all().filter(|told| told.count() <= 2 && !(told.size && told.pattern)) {
        let looks = Looks::of(&all[target], told);
        let needed = if Description::Look(looks).singles_out(target, all) { 0.15 } else { 1.0 };
        let named = if told.kind { 2.0 } else { 1.0 };
        for (index, anchor) in all.iter().enumerate().filter(|(index, _)| *index != target) {
            for told in
                Told::all().filter(|told| (1..=2).contains(&told.count()) && (told.kind || told.colour))
            {
                let anchor = Looks::of(anchor, told);
                if Description::Look(anchor).singles_out(index, all) {
                    let plain = if told.kind { 2.0 } else { 1.0 } / told.count() as f64;
                    found.push((looks, anchor, needed * named * plain));
                }
            }
        }
    }
    found
}

/// An index with probability in proportion to its weight; 0 if all weights are 0.
fn weighted(stream: &mut Stream, weights: impl Iterator<Item = f64> + Clone) -> usize {
    let mut left = stream.uniform() * weights.clone().sum::<f64>();
    let mut last = 0;
    for (index, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = index;
            if left < weight {
                return index;
            }
            left -= weight;
        }
    }
    last
}
