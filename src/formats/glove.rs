//! Word vectors as text, a line a word: GloVe, also with word2vec's first line.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use thiserror::Error;

/// Longer lines are no vectors.
const MAX_LINE: u64 = 1 << 20;

#[derive(Debug, Error)]
pub enum GloveError {
    #[error("line {line}: {problem}; expected a word and its numbers")]
    Line { line: usize, problem: String },
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
}

/// Vectors of the words that were wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Numbers of a vector; 0 for a file without words.
    pub dim: usize,
    pub vectors: HashMap<String, Vec<f32>>,
}

/// Reads the vectors of the words that `wanted` accepts; the first of two equal words counts.
pub fn read(mut file: impl BufRead, wanted: impl Fn(&str) -> bool) -> Result<Found, GloveError> {
    let mut found = Found::default();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let length = (&mut file).take(MAX_LINE).read_until(b'\n', &mut bytes)?;
        if length == 0 {
            break;
        }
        let wrong = |problem: String| GloveError::Line { line, problem };
        if length as u64 == MAX_LINE {
            return Err(wrong(format!("more than {MAX_LINE} bytes")));
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            // Some published files have broken words; none of ours is among them.
            continue;
        };
        let text = text.trim_end();
        if found.dim == 0 {
            let numbers = text.split(' ').count() - 1;
            if numbers == 1 && line == 1 {
                // word2vec: how many words, how many numbers.
                continue;
            }
            if numbers == 0 {
                return Err(wrong("no numbers".to_owned()));
            }
            found.dim = numbers;
        }
        // Words of the largest files may hold spaces: numbers are counted from the end.
        let mut parts = text.rsplitn(found.dim + 1, ' ');
        let numbers: Vec<&str> = parts.by_ref().take(found.dim).collect();
        let word = parts.next().ok_or_else(|| wrong(format!("fewer than {} numbers", found.dim)))?;
        if !wanted(word) || found.vectors.contains_key(word) {
            continue;
        }
        let number = |text: &&str| {
            let number: Result<f32, _> = text.parse();
            number.ok().filter(|n| n.is_finite()).ok_or_else(|| wrong(format!("\"{text}\" is no number")))
        };
        let vector = numbers.iter().rev().map(number).collect::<Result<Vec<f32>, _>>()?;
        found.vectors.insert(word.to_owned(), vector);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_words_are_read() {
        for text in ["a 1 2\nb c 3 4e-1\na 5 6\nd x y\n", "3 2\na 1 2 \nb c 3 0.4\n"] {
            let found = read(text.as_bytes(), |word| word != "d").unwrap();
            let vectors =
                HashMap::from([("a".to_owned(), vec![1.0, 2.0]), ("b c".to_owned(), vec![3.0, 0.4])]);
            assert_eq!(found, Found { dim: 2, vectors });
        }
        for (text, expected) in [
            ("a 1 2\nb 1\n", "line 2: fewer than 2 numbers"),
            ("a 1 x\n", "line 1: \"x\" is no number"),
            ("<html>\n", "line 1: no numbers"),
        ] {
            let message = read(text.as_bytes(), |_| true).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let endless = vec![b'x'; 2 << 20];
        assert!(matches!(read(&endless[..], |_| true), Err(GloveError::Line { line: 1, .. })));
    }
}
