//! Where the records of an annotation file lie in its text, so that each can be read on its own
//! (by many threads, with its index in every message) and be written back as it was.

use std::ops::Range;

/// One split: its name and the text of each record, as byte ranges.
pub(super) type Split = (String, Vec<Range<usize>>);

/// Something else than `{"split": [records], …}`: where, and what was found.
#[derive(Debug, PartialEq)]
pub(super) struct Unexpected {
    pub at: usize,
    pub found: String,
}

/// Splits in the order of the file.
pub(super) fn locate(text: &str) -> Result<Vec<Split>, Unexpected> {
    let mut cursor = Cursor { text: text.as_bytes(), at: 0 };
    let mut splits: Vec<Split> = Vec::new();
    cursor.expect(b'{')?;
    while cursor.another(b'}', splits.is_empty())? {
        let from = cursor.at;
        let key = cursor.value()?;
        let name: String = serde_json::from_str(&text[key])
            .map_err(|_| Unexpected { at: from, found: "a key that is no string".to_owned() })?;
        if splits.iter().any(|(split, _)| *split == name) {
            return Err(Unexpected { at: from, found: format!("the split `{name}` for the second time") });
        }
        cursor.expect(b':')?;
        cursor.expect(b'[')?;
        let mut records = Vec::new();
        while cursor.another(b']', records.is_empty())? {
            records.push(cursor.value()?);
        }
        splits.push((name, records));
    }
    match cursor.peek() {
        None => Ok(splits),
        Some(_) => Err(cursor.unexpected()),
    }
}

/// Where the value of a field of an object stands; nothing if there is no such field. The last one
/// counts, as for a reader.
pub(super) fn field(record: &str, name: &str) -> Result<Option<Range<usize>>, Unexpected> {
    let mut cursor = Cursor { text: record.as_bytes(), at: 0 };
    let (mut found, mut first) = (None, true);
    cursor.expect(b'{')?;
    while cursor.another(b'}', first)? {
        let key = cursor.value()?;
        cursor.expect(b':')?;
        let value = cursor.value()?;
        if serde_json::from_str::<String>(&record[key]).is_ok_and(|key| key == name) {
            found = Some(value);
        }
        first = false;
    }
    Ok(found)
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn unexpected(&mut self) -> Unexpected {
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some(byte) => format!("'{}'", byte.escape_ascii()),
        };
        Unexpected { at: self.at, found }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unexpected> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    /// True if an element follows, after its comma unless it is the first; else the end is passed.
    fn another(&mut self, end: u8, first: bool) -> Result<bool, Unexpected> {
        if self.peek() == Some(end) {
            self.at += 1;
            return Ok(false);
        }
        if !first {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// Passes one value; whether its inside is right is for the reader of that value.
    fn value(&mut self) -> Result<Range<usize>, Unexpected> {
        let start = self.peek().map(|_| self.at).ok_or_else(|| self.unexpected())?;
        let mut depth = 0usize;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b'}' | b']' | b',' | b':' if depth == 0 => break,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            if depth == 0 {
                break;
            }
        }
        if depth > 0 || self.at == start {
            return Err(self.unexpected());
        }
        Ok(start..self.at)
    }

    fn string(&mut self) -> Result<(), Unexpected> {
        self.at += 1;
        while let Some(&byte) = self.text.get(self.at) {
            self.at += match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => 2,
                _ => 1,
            };
        }
        self.at = self.text.len();
        Err(self.unexpected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<(String, Vec<&str>)> {
        let splits = locate(text).unwrap();
        splits
            .into_iter()
            .map(|(name, spans)| (name, spans.into_iter().map(|span| &text[span]).collect()))
            .collect()
    }

    #[test]
    fn records_are_cut_out_as_they_stand() {
        let text = r#" {"train": [ {"a": "}]\",{", "b": [1, [2]]} , 3,null], "v\u0061l" :[],"x":["\\"]} "#;
        assert_eq!(
            records(text),
            [
                ("train".to_owned(), vec![r#"{"a": "}]\",{", "b": [1, [2]]}"#, "3", "null"]),
                ("val".to_owned(), vec![]),
                ("x".to_owned(), vec![r#""\\""#]),
            ]
        );
    }

    #[test]
    fn what_is_no_annotation_file_is_refused() {
        for (text, at) in [
            ("", 0),
            ("[]", 0),
            ("{\"a\": 3}", 6),
            ("{\"a\": [3", 8),
            ("{\"a\": [{\"b\"", 11),
            ("{\"a\": [\"b\\", 10),
            ("{\"a\": [3]} x", 11),
            ("{\"a\": [3,]}", 9),
            ("{\"a\" [3]}", 5),
            ("{\"a\": [3], \"b\": [], \"a\": [4]}", 19),
        ] {
            assert_eq!(locate(text).unwrap_err().at, at, "{text}");
        }
    }
}
