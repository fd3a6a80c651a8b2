use std::collections::HashMap;
use std::path::Path;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{TextError, words};

/// Index of the padding after the last word.
pub const PAD: u32 = 0;
/// Index of every word that the vocabulary lacks.
pub const UNKNOWN: u32 = 1;

/// The first tokens of every vocabulary; the last of them is never used, but has a word vector.
const RESERVED: [&str; 3] = ["PAD", "UNK", "CLS"];

/// Tokens and their indices (rows of the word table). In JSON, as in the reference's
/// `token_to_ix.pkl`: `{"PAD": 0, "UNK": 1, "CLS": 2, "the": 3, …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    indices: HashMap<String, u32>,
}

/// An expression in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Word indices, [`PAD`] after the last: exactly `max_words` numbers.
    pub ids: Vec<u32>,
    /// How many of them are words. 0: the expression says nothing.
    pub words: usize,
    /// Words that the vocabulary lacks, as cleaned.
    pub unknown: Vec<String>,
    /// Words beyond `max_words`, which the network doesn't see.
    pub dropped: usize,
}

impl Vocabulary {
    /// The vocabulary of these expressions: their words in the order of first appearance. The
    /// reference takes those of all splits in file order (quirk 37).
    pub fn build<'a>(expressions: impl IntoIterator<Item = &'a str>) -> Self {
        let mut vocabulary = Self { tokens: Vec::new(), indices: HashMap::new() };
        for token in RESERVED {
            vocabulary.add(token.to_owned());
        }
        for expression in expressions {
            for word in words(expression) {
                vocabulary.add(word);
            }
        }
        vocabulary
    }

    fn add(&mut self, token: String) {
        if !self.indices.contains_key(&token) {
            self.indices.insert(token.clone(), self.tokens.len() as u32);
            self.tokens.push(token);
        }
    }

    /// The vocabulary with these indices, which must be 0, 1, 2 … in any order, with PAD at 0 and
    /// UNK at 1.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, i64)>) -> Result<Self, TextError> {
        let pairs: Vec<(String, i64)> = pairs.into_iter().collect();
        let mut slots: Vec<Option<String>> = vec![None; pairs.len()];
        let mut indices = HashMap::with_capacity(pairs.len());
        for (token, index) in pairs {
            let tokens = slots.len();
            match usize::try_from(index).ok().and_then(|i| slots.get_mut(i)) {
                Some(slot) if slot.is_none() => *slot = Some(token.clone()),
                _ => return Err(TextError::Index { token, index, tokens }),
            }
            if indices.insert(token.clone(), index as u32).is_some() {
                return Err(TextError::Twice { token });
            }
        }
        // As many tokens as slots and each slot filled once: there is no gap.
        let tokens: Vec<String> = slots.into_iter().flatten().collect();
        for (index, expected) in RESERVED.into_iter().take(2).enumerate() {
            let found = tokens.get(index).cloned().unwrap_or_default();
            if found != expected {
                return Err(TextError::Reserved { index, found, expected });
            }
        }
        Ok(Self { tokens, indices })
    }

    /// Reads `vocabulary.json`.
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let text = std::fs::read(path).map_err(|source| TextError::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&text).map_err(|source| TextError::Json { path: path.to_owned(), source })
    }

    /// Tokens, the reserved ones included: the rows of the word table.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// All tokens by index.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The index of a word as [`words`] gives it.
    pub fn index(&self, word: &str) -> Option<u32> {
        self.indices.get(word).copied()
    }

    /// The first `max_words` words of an expression as indices.
    pub fn encode(&self, expression: &str, max_words: usize) -> Encoded {
        let mut words = words(expression);
        let dropped = words.len().saturating_sub(max_words);
        words.truncate(max_words);
        let mut ids: Vec<u32> = words.iter().map(|word| self.index(word).unwrap_or(UNKNOWN)).collect();
        ids.resize(max_words, PAD);
        let count = words.len();
        let unknown = words.into_iter().filter(|word| self.index(word).is_none()).collect();
        Encoded { ids, words: count, unknown, dropped }
    }
}

impl Serialize for Vocabulary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.tokens.len()))?;
        for (index, token) in self.tokens.iter().enumerate() {
            map.serialize_entry(token, &index)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = HashMap::<String, i64>::deserialize(deserializer)?;
        Self::from_pairs(pairs).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, i64)]) -> Result<Vocabulary, TextError> {
        Vocabulary::from_pairs(list.iter().map(|&(token, index)| (token.to_owned(), index)))
    }

    #[test]
    fn json_keeps_the_order_of_the_indices() {
        let vocabulary = Vocabulary::build(["zebra on the left", "the ape"]);
        let json = serde_json::to_string(&vocabulary).unwrap();
        assert_eq!(json, r#"{"PAD":0,"UNK":1,"CLS":2,"zebra":3,"on":4,"the":5,"left":6,"ape":7}"#);
        assert_eq!(serde_json::from_str::<Vocabulary>(&json).unwrap(), vocabulary);
    }

    #[test]
    fn unknown_and_dropped_words_are_told() {
        let vocabulary = Vocabulary::build(["the left ape"]);
        let encoded = vocabulary.encode("The left-most ape, of all", 4);
        assert_eq!(encoded.ids, [3, 4, UNKNOWN, 5]);
        assert_eq!((encoded.words, encoded.unknown, encoded.dropped), (4, vec!["most".to_owned()], 2));
        assert_eq!(
            vocabulary.encode("?!", 3),
            Encoded { ids: vec![PAD; 3], words: 0, unknown: vec![], dropped: 0 }
        );
    }

    #[test]
    fn indices_that_are_no_rows_are_refused() {
        assert!(pairs(&[("UNK", 1), ("ape", 2), ("PAD", 0)]).is_ok());
        for (list, expected) in [
            (vec![("PAD", 0), ("UNK", 1), ("ape", 3)], "\"ape\" has index 3; indices must be 0 to 2"),
            (vec![("PAD", 0), ("UNK", 1), ("ape", 1)], "\"ape\" has index 1"),
            (vec![("PAD", 0), ("UNK", -1)], "\"UNK\" has index -1"),
            (vec![("PAD", 0), ("UNK", 1), ("UNK", 2)], "\"UNK\" has two indices"),
            (vec![("the", 0), ("UNK", 1)], "index 0 is \"the\", expected \"PAD\""),
            (vec![], "index 0 is \"\", expected \"PAD\""),
        ] {
            let message = pairs(&list).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
