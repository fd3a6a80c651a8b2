//! The form before PyTorch 1.6: a magic number, the version, facts about the machine, the values,
//! the keys of the storages, each a pickle; then for each key the count of elements and the bytes.

use std::collections::HashMap;
use std::ops::Range;

use super::container::short;
use super::storage::StorageRef;
use super::{ALLOWED, TorchError};
use crate::formats::pickle::{Limits, Node, Pickle, Value};

/// The pickle of PyTorch's magic number, 0x1950a86a20f9469cfc6c.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";
const VERSION: i64 = 1001;

/// The place of the pickle with the values, and the places of the storages by key.
type Places = (Range<usize>, HashMap<String, Range<usize>>);

/// Where things are in the file.
pub(super) fn locate(bytes: &[u8]) -> Result<Places, TorchError> {
    let limits = Limits { nodes: 1 << 22, memo: 1 << 22, ..Limits::default() };
    let mut at = MAGIC.len();
    let mut next = || {
        let pickle = Pickle::read(&bytes[at..], ALLOWED, limits)?;
        let start = at;
        at += pickle.length();
        Ok::<_, TorchError>((pickle, start))
    };
    let (version, _) = next()?;
    if version.root() != Value::Int(VERSION) {
        let found = format!("version {} of the old form", version.describe(version.root()));
        return Err(TorchError::Kind { found });
    }
    let (machine, _) = next()?;
    let little = machine.pairs(machine.root()).unwrap_or_default().iter();
    let mut little = little.filter(|(key, _)| machine.text(*key) == Some("little_endian"));
    if little.next().is_some_and(|(_, value)| *value == Value::Bool(false)) {
        return Err(TorchError::ByteOrder);
    }
    let (values, start) = next()?;
    let (keys, keys_start) = next()?;
    let sizes = sizes(&values)?;
    let keys_list = keys.items(keys.root()).unwrap_or_default();
    let mut ranges = HashMap::with_capacity(keys_list.len());
    for &key in keys_list {
        let key = keys.text(key).ok_or_else(|| TorchError::Storage {
            key: keys.describe(key),
            problem: "a key that is no text".to_owned(),
        })?;
        let cut = || TorchError::Truncated { what: format!("storage {}", short(key)), length: bytes.len() };
        let problem = |problem| TorchError::Storage { key: short(key), problem };
        let &(size, elements) =
            sizes.get(key).ok_or_else(|| problem("no tensor says what it holds".to_owned()))?;
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(cut)?;
        let count = u64::from_le_bytes(*count);
        if count != elements {
            return Err(problem(format!("{count} elements, but the values say {elements}")));
        }
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(size)).ok_or_else(cut)?;
        let end = (at + 8).checked_add(length).filter(|&end| end <= bytes.len()).ok_or_else(cut)?;
        if ranges.insert(key.to_owned(), at + 8..end).is_some() {
            return Err(problem("it is there twice".to_owned()));
        }
        at = end;
    }
    Ok((start..keys_start, ranges))
}

/// Bytes of an element and number of elements of every storage.
fn sizes(pickle: &Pickle) -> Result<HashMap<String, (usize, u64)>, TorchError> {
    let mut sizes = HashMap::new();
    for node in pickle.nodes() {
        if let Node::Persistent(description) = node {
            let storage = StorageRef::read(pickle, *description)?;
            sizes.insert(storage.key.to_owned(), (storage.dtype.size(), storage.elements as u64));
        }
    }
    Ok(sizes)
}
