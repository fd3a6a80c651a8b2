//! What a pickle says of a storage outside of it.

use super::container::short;
use super::{ALLOWED, Dtype, TorchError};
use crate::formats::pickle::{Node, Pickle, Value};

/// `("storage", class, key, device, elements[, view])`.
pub(super) struct StorageRef<'p> {
    pub key: &'p str,
    pub dtype: Dtype,
    pub elements: usize,
    /// Elements before the part that is meant, and in it.
    pub view: Option<(usize, usize)>,
}

impl<'p> StorageRef<'p> {
    pub fn read(pickle: &'p Pickle, description: Value) -> Result<Self, TorchError> {
        let wrong = |what: &str| TorchError::Storage {
            key: short(&pickle.describe(description)),
            problem: format!("described without {what}"),
        };
        let items = pickle.items(description).ok_or_else(|| wrong("a tuple"))?;
        let [kind, class, key, _device, elements, rest @ ..] = items else {
            return Err(wrong("its five parts"));
        };
        if pickle.text(*kind) != Some("storage") {
            return Err(wrong("the word \"storage\""));
        }
        let dtype = match pickle.node(*class) {
            Some(Node::Global(place)) => Dtype::of_storage(ALLOWED[*place].1),
            _ => None,
        };
        let dtype = dtype.ok_or_else(|| wrong("a class of storages"))?;
        let key = pickle.text(*key).ok_or_else(|| wrong("a key"))?;
        let elements = count(*elements).ok_or_else(|| wrong("a number of elements"))?;
        let view = match rest.first() {
            None | Some(Value::None) => None,
            Some(view) => match pickle.items(*view) {
                Some(&[_, start, length]) => Some((
                    count(start).ok_or_else(|| wrong("a start"))?,
                    count(length).ok_or_else(|| wrong("a length"))?,
                )),
                _ => return Err(wrong("a view of three parts")),
            },
        };
        Ok(Self { key, dtype, elements, view })
    }
}

/// A number that isn't negative.
pub(super) fn count(value: Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(number).ok(),
        _ => None,
    }
}
