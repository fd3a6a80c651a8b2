use std::collections::BTreeMap;
use std::fmt;

use super::{Vocabulary, words};

/// From this share on, unknown words are worth a warning: the vocabulary is of other data.
const MANY: f64 = 0.05;
/// How many are named.
const NAMED: usize = 8;

/// How much of what is asked a vocabulary knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    pub words: usize,
    pub unknown: usize,
    /// Different unknown words, the most frequent first.
    pub examples: Vec<String>,
}

impl Coverage {
    pub fn of<'a>(vocabulary: &Vocabulary, expressions: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut all, mut counts) = (0, BTreeMap::<String, usize>::new());
        for word in expressions.into_iter().flat_map(words) {
            all += 1;
            if vocabulary.index(&word).is_none() {
                *counts.entry(word).or_default() += 1;
            }
        }
        let unknown = counts.values().sum();
        let mut examples: Vec<(String, usize)> = counts.into_iter().collect();
        // Stable: words of equal counts stay in alphabetical order.
        examples.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let examples = examples.into_iter().map(|(word, _)| word).collect();
        Self { words: all, unknown, examples }
    }

    /// So many are unknown that answers suffer.
    pub fn is_poor(&self) -> bool {
        self.unknown as f64 > MANY * self.words as f64
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, unknown, examples } = self;
        let share = 100.0 * *unknown as f64 / (*words).max(1) as f64;
        let named = examples.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if examples.len() > NAMED { ", …" } else { "" };
        write!(f, "{unknown} of {words} words ({share:.1} %) are not in the vocabulary: {named}{more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_are_counted_and_the_frequent_ones_named_first() {
        let vocabulary = Vocabulary::build(["the red ring"]);
        let coverage = Coverage::of(&vocabulary, ["The red zebra!", "a zebra, ring"]);
        assert_eq!((coverage.words, coverage.unknown, coverage.is_poor()), (6, 3, true));
        assert_eq!(coverage.to_string(), "3 of 6 words (50.0 %) are not in the vocabulary: zebra, a");
        assert!(!Coverage::of(&vocabulary, ["the ring"]).is_poor());
        assert!(!Coverage::of(&vocabulary, []).is_poor());
    }
}
