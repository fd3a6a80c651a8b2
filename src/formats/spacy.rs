//! Word vectors of a spaCy model: `vocab/vectors` (a float32 `.npy` matrix) and `vocab/key2row`
//! (MessagePack, hash of a word to its row). Rows are read one by one, so a table of gigabytes
//! costs no memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::npz::npy_header;

/// A header has 128 bytes, or some more for odd shapes.
const HEADER: u64 = 1 << 12;
/// Bytes of `key2row` at most; the largest models have 20 MB.
const MAX_KEYS: u64 = 1 << 28;
/// Numbers of a vector at most.
const MAX_DIM: usize = 1 << 16;

#[derive(Debug, Error)]
pub enum SpacyError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {problem}")]
    Table { path: PathBuf, problem: String },
    #[error("{path}: byte {position} is not what a dict of hashes and rows has there; was it cut?")]
    Keys { path: PathBuf, position: usize },
}

/// An opened table.
#[derive(Debug)]
pub struct SpacyVectors {
    path: PathBuf,
    file: File,
    /// Bytes before the first row.
    header: u64,
    rows: usize,
    dim: usize,
    keys: HashMap<u64, u64>,
}

impl SpacyVectors {
    /// Opens the `vocab` folder of a model.
    pub fn open(vocab: &Path) -> Result<Self, SpacyError> {
        let path = vocab.join("vectors");
        let read = |source| SpacyError::Read { path: path.clone(), source };
        let table = |problem: String| SpacyError::Table { path: path.clone(), problem };
        let mut file = File::open(&path).map_err(read)?;
        let mut start = Vec::new();
        (&mut file).take(HEADER).read_to_end(&mut start).map_err(read)?;
        let (shape, header) = npy_header(&start).map_err(table)?;
        let &[rows, dim] = shape.as_slice() else {
            return Err(table(format!("shape {shape:?}, expected a row of numbers for each word")));
        };
        if dim == 0 || dim > MAX_DIM {
            return Err(table(format!("{dim} numbers for each word, expected 1 to {MAX_DIM}")));
        }
        let expected = rows as u128 * dim as u128 * 4 + header as u128;
        let found = file.metadata().map_err(read)?.len();
        if u128::from(found) != expected {
            return Err(table(format!("{found} bytes, but {rows} x {dim} numbers need {expected}")));
        }
        let keys = read_keys(&vocab.join("key2row"))?;
        Ok(Self { header: header as u64, path, file, rows, dim, keys })
    }

    /// Numbers of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vector of a word, if it has one. Words are looked up whole.
    pub fn get(&mut self, word: &str) -> Result<Option<Vec<f32>>, SpacyError> {
        let own = symbol(word).and_then(|symbol| self.keys.get(&symbol));
        let Some(&row) = own.or_else(|| self.keys.get(&hash(word.as_bytes()))) else { return Ok(None) };
        if row >= self.rows as u64 {
            let problem = format!("{} rows, but \"{word}\" is in row {row}", self.rows);
            return Err(SpacyError::Table { path: self.path.clone(), problem });
        }
        let mut bytes = vec![0; 4 * self.dim];
        let read = |source| SpacyError::Read { path: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(self.header + row * bytes.len() as u64)).map_err(read)?;
        self.file.read_exact(&mut bytes).map_err(read)?;
        let (cells, _) = bytes.as_chunks::<4>();
        Ok(Some(cells.iter().map(|&cell| f32::from_le_bytes(cell)).collect()))
    }
}

fn read_keys(path: &Path) -> Result<HashMap<u64, u64>, SpacyError> {
    let read = |source| SpacyError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(read)?.take(MAX_KEYS).read_to_end(&mut bytes).map_err(read)?;
    parse_keys(&bytes).map_err(|position| SpacyError::Keys { path: path.into(), position })
}

/// A MessagePack map of integers to integers; a row of -1 means none. The error is a position.
pub fn parse_keys(bytes: &[u8]) -> Result<HashMap<u64, u64>, usize> {
    let mut at = 0;
    let count = match take::<1>(bytes, &mut at)?[0] {
        small @ 0x80..=0x8f => u32::from(small & 0x0f),
        0xde => u32::from(u16::from_be_bytes(take(bytes, &mut at)?)),
        0xdf => u32::from_be_bytes(take(bytes, &mut at)?),
        _ => return Err(0),
    };
    let mut keys = HashMap::new();
    for _ in 0..count {
        let key = integer(bytes, &mut at)?;
        let row = integer(bytes, &mut at)?;
        if let Ok(row) = u64::try_from(row) {
            // Hashes above 2^63 may be written as negative numbers.
            keys.insert(key as u64, row);
        }
    }
    if at == bytes.len() { Ok(keys) } else { Err(at) }
}

fn take<const N: usize>(bytes: &[u8], at: &mut usize) -> Result<[u8; N], usize> {
    let found = bytes.get(*at..).and_then(|rest| rest.first_chunk::<N>()).ok_or(*at)?;
    *at += N;
    Ok(*found)
}

fn integer(bytes: &[u8], at: &mut usize) -> Result<i128, usize> {
    let start = *at;
    Ok(match take::<1>(bytes, at)?[0] {
        small @ 0..=0x7f => i128::from(small),
        negative @ 0xe0..=0xff => i128::from(negative.cast_signed()),
        0xcc => i128::from(take::<1>(bytes, at)?[0]),
        0xcd => i128::from(u16::from_be_bytes(take(bytes, at)?)),
        0xce => i128::from(u32::from_be_bytes(take(bytes, at)?)),
        0xcf => i128::from(u64::from_be_bytes(take(bytes, at)?)),
        0xd0 => i128::from(i8::from_be_bytes(take(bytes, at)?)),
        0xd1 => i128::from(i16::from_be_bytes(take(bytes, at)?)),
        0xd2 => i128::from(i32::from_be_bytes(take(bytes, at)?)),
        0xd3 => i128::from(i64::from_be_bytes(take(bytes, at)?)),
        _ => return Err(start),
    })
}

/// Words that are also names of spaCy's dependency labels: it numbers those from 398 on (2.x and 3.x) in place of
/// hashing them. "number" is one.
const SYMBOLS: [&str; 53] = [
    "acomp",
    "advcl",
    "advmod",
    "agent",
    "amod",
    "appos",
    "attr",
    "aux",
    "auxpass",
    "cc",
    "ccomp",
    "complm",
    "conj",
    "cop",
    "csubj",
    "csubjpass",
    "dep",
    "det",
    "dobj",
    "expl",
    "hmod",
    "hyph",
    "infmod",
    "intj",
    "iobj",
    "mark",
    "meta",
    "neg",
    "nmod",
    "nn",
    "npadvmod",
    "nsubj",
    "nsubjpass",
    "num",
    "number",
    "oprd",
    "obj",
    "obl",
    "parataxis",
    "partmod",
    "pcomp",
    "pobj",
    "poss",
    "possessive",
    "preconj",
    "prep",
    "prt",
    "punct",
    "quantmod",
    "rcmod",
    "root",
    "xcomp",
    "acl",
];
const FIRST_SYMBOL: u64 = 398;

/// The number of a word that spaCy doesn't hash.
fn symbol(word: &str) -> Option<u64> {
    (FIRST_SYMBOL..).zip(SYMBOLS).find(|(_, name)| *name == word).map(|(number, _)| number)
}

/// MurmurHash64A with seed 1: spaCy's name of a string.
pub fn hash(text: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = 1 ^ (text.len() as u64).wrapping_mul(M);
    let (words, rest) = text.as_chunks::<8>();
    for &word in words {
        let k = u64::from_le_bytes(word).wrapping_mul(M);
        hash = (hash ^ (k ^ (k >> 47)).wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(M);
    hash ^ (hash >> 47)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_spacys_hashes() {
        // From spaCy's documentation, and from the tables of en_core_web_md 3.8.
        assert_eq!(hash(b"coffee"), 3_197_928_453_018_144_401);
        // As spaCy prints them: token.dep of subjects, determiners, punctuation.
        assert_eq!(["nsubj", "det", "number", "punct"].map(symbol), [429, 415, 432, 445].map(Some));
        assert_eq!(symbol("coffee"), None);
        assert_eq!(hash(b"hello"), 0x530a_1bd8_a612_eb4e);
    }

    #[test]
    fn keys_cut_or_of_another_kind_are_errors() {
        let bytes = b"\x83\xcf\xff\0\0\0\0\0\0\x01\x05\xd3\x80\0\0\0\0\0\0\0\xcd\x01\x02\x07\xff";
        let keys = parse_keys(bytes).unwrap();
        assert_eq!(keys, HashMap::from([(0xff00_0000_0000_0001, 5), (1 << 63, 258)]));
        for length in 0..bytes.len() {
            assert!(parse_keys(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(parse_keys(b"\xdf\xff\xff\xff\xff\x01"), Err(6));
        assert_eq!(parse_keys(b"\x81\xa1a\x01"), Err(1));
    }
}
