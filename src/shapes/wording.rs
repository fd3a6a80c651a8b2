//! Putting a description into words.

use super::attributes::{Colour, Kind, Pattern, Size};
use super::describe::{Description, Side, Standing};
use super::looks::Looks;
use super::manner::Manner;
use crate::random::Stream;
use crate::text::Vocabulary;

/// Every word of the three manners; a test holds this list and the grammar together. It is the
/// vocabulary of all RefShapes, so that a network trained on one manner can read another.
pub(super) const WORDS: [&str; 87] = [
    "a",
    "above",
    "an",
    "and",
    "arrow",
    "at",
    "below",
    "big",
    "bigger",
    "biggest",
    "blue",
    "bottom",
    "bottommost",
    "center",
    "circle",
    "closest",
    "corner",
    "crescent",
    "cross",
    "cyan",
    "disc",
    "donut",
    "dots",
    "dotted",
    "ellipse",
    "far",
    "green",
    "heart",
    "hexagon",
    "highest",
    "image",
    "in",
    "is",
    "l",
    "large",
    "larger",
    "largest",
    "left",
    "leftmost",
    "little",
    "lower",
    "lowest",
    "middle",
    "moon",
    "nearest",
    "next",
    "object",
    "of",
    "on",
    "one",
    "orange",
    "oval",
    "over",
    "picture",
    "plain",
    "plus",
    "purple",
    "red",
    "right",
    "rightmost",
    "ring",
    "shape",
    "side",
    "small",
    "smaller",
    "smallest",
    "solid",
    "spotted",
    "square",
    "star",
    "striped",
    "stripes",
    "stripy",
    "that",
    "the",
    "thing",
    "tiny",
    "to",
    "top",
    "topmost",
    "triangle",
    "under",
    "upper",
    "which",
    "white",
    "with",
    "yellow",
];

type Words = Vec<&'static str>;

/// One of many ways to say it.
pub(super) fn say(description: &Description, manner: Manner, stream: &mut Stream) -> Words {
    let mut speaker = Speaker { long: manner == Manner::G, stream };
    match *description {
        Description::Look(looks) => speaker.look(&looks),
        Description::Extreme { looks, size, of_two } => speaker.extreme(&looks, size, of_two),
        Description::Place { looks, side, standing } => speaker.place(&looks, side, standing),
        Description::Corner { looks, down, across } => speaker.corner(&looks, down, across),
        Description::Middle { looks } => speaker.middle(&looks),
        Description::Beside { looks, side, anchor } => {
            let relation = speaker.one_of(BESIDE[side as usize]);
            speaker.relation(&looks, relation, &anchor)
        }
        Description::Near { looks, anchor } => {
            let relation = speaker.one_of(&[&["next", "to"], &["closest", "to"], &["nearest", "to"]]);
            speaker.relation(&looks, relation, &anchor)
        }
    }
}

struct Speaker<'a> {
    /// Whole phrases with articles, as in RefCOCOg.
    long: bool,
    stream: &'a mut Stream,
}

impl Speaker<'_> {
    fn one_of(&mut self, ways: &[&'static [&'static str]]) -> &'static [&'static str] {
        ways[self.stream.below(ways.len())]
    }

    fn likely(&mut self, usual: &'static str, chance: f64, others: &[&'static str]) -> &'static str {
        if self.stream.chance(chance) { usual } else { others[self.stream.below(others.len())] }
    }

    fn look(&mut self, looks: &Looks) -> Words {
        if let Some(colour) = looks.colour
            && self.long
            && self.stream.chance(0.3)
        {
            let mut words = self.phrase(&Looks { colour: None, pattern: None, ..*looks });
            words.push(self.likely("that", 0.5, &["which"]));
            words.push("is");
            if let Some(pattern) = looks.pattern {
                words.push(self.pattern(pattern));
                words.push("and");
            }
            words.push(colour_word(colour));
            return self.with_article(words);
        }
        let mut words = self.phrase(looks);
        if self.long && self.stream.chance(0.25) {
            words.extend(["in", "the"]);
            words.push(self.likely("picture", 0.5, &["image"]));
        }
        self.with_article(words)
    }

    fn extreme(&mut self, looks: &Looks, size: Size, of_two: bool) -> Words {
        let adjective = match (size, of_two) {
            (Size::Big, true) => self.likely("bigger", 0.6, &["larger"]),
            (Size::Big, false) => self.likely("biggest", 0.6, &["largest"]),
            (Size::Small, true) => "smaller",
            (Size::Small, false) => "smallest",
        };
        let noun = self.phrase(looks);
        self.definite([vec![adjective], noun].concat())
    }

    fn place(&mut self, looks: &Looks, side: Side, standing: Standing) -> Words {
        let noun = self.phrase(looks);
        let chance_of_furthest = match standing {
            Standing::Alone => 0.0,
            Standing::First => 0.25,
            Standing::FirstElsewhere => 1.0,
        };
        if self.stream.chance(chance_of_furthest) {
            let place = self.one_of(FURTHEST[side as usize]);
            return self.before(place, noun, looks);
        }
        if self.stream.chance(if self.long { 0.35 } else { 0.55 }) {
            let place = self.one_of(ON_SIDE[side as usize]);
            return self.before(place, noun, looks);
        }
        let place = self.one_of(if self.long { AT_SIDE_LONG } else { AT_SIDE }[side as usize]);
        self.after(noun, place, true)
    }

    fn corner(&mut self, looks: &Looks, down: Side, across: Side) -> Words {
        let noun = self.phrase(looks);
        let down = match down {
            Side::Top => self.likely("top", 0.7, &["upper"]),
            _ => self.likely("bottom", 0.7, &["lower"]),
        };
        let across = if across == Side::Left { "left" } else { "right" };
        if self.stream.chance(if self.long { 0.3 } else { 0.6 }) {
            return self.before(&[down, across], noun, looks);
        }
        let mut place = vec!["in", "the", down, across];
        if self.stream.chance(0.5) {
            place.push("corner");
        }
        self.after(noun, &place, true)
    }

    fn middle(&mut self, looks: &Looks) -> Words {
        let noun = self.phrase(looks);
        if self.stream.chance(0.6) {
            let place = self.one_of(&[&["middle"], &["center"]]);
            return self.before(place, noun, looks);
        }
        self.after(noun, &["in", "the", "middle"], false)
    }

    /// "left red star", or without the noun where it says nothing: "far left".
    fn before(&mut self, place: &[&'static str], noun: Words, looks: &Looks) -> Words {
        let bare = !self.long && looks.is_empty() && self.stream.chance(0.3);
        let words = if bare { place.to_vec() } else { [place.to_vec(), noun].concat() };
        self.definite(words)
    }

    fn after(&mut self, noun: Words, place: &[&'static str], of_picture: bool) -> Words {
        let mut words = noun;
        words.extend(place);
        if of_picture && self.long && self.stream.chance(0.6) {
            words.extend(["of", "the"]);
            words.push(self.likely("picture", 0.5, &["image"]));
        }
        self.definite(words)
    }

    fn relation(&mut self, looks: &Looks, relation: &[&'static str], anchor: &Looks) -> Words {
        let mut words = self.phrase(looks);
        if self.long && self.stream.chance(0.4) {
            words.push(self.likely("that", 0.6, &["which"]));
            words.push("is");
        }
        words.extend(relation);
        if self.long || self.stream.chance(0.85) {
            words.push("the");
        }
        words.extend(self.phrase(anchor));
        self.with_article(words)
    }

    /// "small striped red star", "small red star with stripes".
    fn phrase(&mut self, looks: &Looks) -> Words {
        let mut words = Vec::new();
        let mut ending: &[&'static str] = &[];
        match looks.size {
            Some(Size::Small) => words.push(self.likely("small", 0.7, &["little", "tiny"])),
            Some(Size::Big) => words.push(self.likely("big", 0.75, &["large"])),
            None => {}
        }
        match looks.pattern {
            Some(Pattern::Striped) if self.stream.chance(0.3) => ending = &["with", "stripes"],
            Some(Pattern::Dotted) if self.stream.chance(0.3) => ending = &["with", "dots"],
            Some(pattern) => words.push(self.pattern(pattern)),
            None => {}
        }
        words.extend(looks.colour.map(colour_word));
        match looks.kind {
            Some(kind) => words.extend(self.kind(kind)),
            None => words.push(self.likely("one", 0.4, &["thing", "shape", "object"])),
        }
        words.extend(ending);
        words
    }

    fn pattern(&mut self, pattern: Pattern) -> &'static str {
        match pattern {
            Pattern::Plain => self.likely("plain", 0.8, &["solid"]),
            Pattern::Striped => self.likely("striped", 0.85, &["stripy"]),
            Pattern::Dotted => self.likely("dotted", 0.85, &["spotted"]),
        }
    }

    fn kind(&mut self, kind: Kind) -> &'static [&'static str] {
        let (usual, other): (&'static [&'static str], &'static [&'static str]) = match kind {
            Kind::Circle => (&["circle"], &["disc"]),
            Kind::Ellipse => (&["ellipse"], &["oval"]),
            Kind::Ring => (&["ring"], &["donut"]),
            Kind::Crescent => (&["crescent"], &["moon"]),
            Kind::Heart => return &["heart"],
            Kind::Square => return &["square"],
            Kind::Triangle => return &["triangle"],
            Kind::Star => return &["star"],
            Kind::Cross => (&["cross"], &["plus"]),
            Kind::Hexagon => return &["hexagon"],
            Kind::Arrow => return &["arrow"],
            Kind::L => return &["l", "shape"],
        };
        if self.stream.chance(0.75) { usual } else { other }
    }

    /// An article where the manner has one: "the", or "a" in long phrases.
    fn with_article(&mut self, words: Words) -> Words {
        if self.long && self.stream.chance(0.3) {
            let article = if words[0].starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            return if words[0] == "one" { self.definite(words) } else { [vec![article], words].concat() };
        }
        self.definite(words)
    }

    fn definite(&mut self, words: Words) -> Words {
        if self.long || self.stream.chance(0.2) { [vec!["the"], words].concat() } else { words }
    }
}

/// Ways to say a thing, by [`Side`].
type BySide = [&'static [&'static [&'static str]]; 4];

const ON_SIDE: BySide = [&[&["left"]], &[&["right"]], &[&["top"], &["upper"]], &[&["bottom"], &["lower"]]];
const FURTHEST: BySide = [
    &[&["leftmost"], &["far", "left"]],
    &[&["rightmost"], &["far", "right"]],
    &[&["topmost"], &["highest"]],
    &[&["bottommost"], &["lowest"]],
];
const AT_SIDE: BySide = [
    &[&["on", "the", "left"], &["on", "left"], &["on", "the", "left", "side"]],
    &[&["on", "the", "right"], &["on", "right"], &["on", "the", "right", "side"]],
    &[&["at", "the", "top"], &["at", "top"], &["on", "top"]],
    &[&["at", "the", "bottom"], &["at", "bottom"], &["on", "the", "bottom"]],
];
const AT_SIDE_LONG: BySide = [
    &[&["on", "the", "left"], &["on", "the", "left", "side"]],
    &[&["on", "the", "right"], &["on", "the", "right", "side"]],
    &[&["at", "the", "top"]],
    &[&["at", "the", "bottom"]],
];
const BESIDE: BySide = [
    &[&["left", "of"], &["to", "the", "left", "of"], &["on", "the", "left", "of"]],
    &[&["right", "of"], &["to", "the", "right", "of"], &["on", "the", "right", "of"]],
    &[&["above"], &["above"], &["over"]],
    &[&["below"], &["below"], &["under"]],
];

fn colour_word(colour: Colour) -> &'static str {
    match colour {
        Colour::Red => "red",
        Colour::Green => "green",
        Colour::Blue => "blue",
        Colour::Yellow => "yellow",
        Colour::Purple => "purple",
        Colour::Orange => "orange",
        Colour::Cyan => "cyan",
        Colour::White => "white",
    }
}

/// [`WORDS`] with the signs that every vocabulary begins with.
pub(super) fn vocabulary() -> Vocabulary {
    Vocabulary::build(WORDS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::shapes::record::Drawing;
    use crate::shapes::split::Split;

    #[test]
    fn the_vocabulary_is_what_the_grammar_says() {
        let mut said = BTreeSet::new();
        for manner in [Manner::Unc, Manner::Plus, Manner::G] {
            for index in 0..400 {
                for record in Drawing::draw(5, Split::Train, index, 64, manner).records {
                    for expression in record.expressions {
                        assert!(expression.split(' ').count() <= 15, "{expression}");
                        said.extend(expression.split(' ').map(str::to_owned));
                    }
                }
            }
        }
        assert_eq!(said, WORDS.iter().map(|word| word.to_string()).collect());
    }
}
