//! Values of a file.

use std::borrow::Cow;

use super::storage::{StorageRef, count};
use super::{ALLOWED, Container, TorchError, TorchTensor};
use crate::formats::pickle::{Node, Object, Pickle, Value};

/// A parameter may wrap a tensor, and a file may lie about that.
const MAX_WRAPPERS: usize = 4;

/// The values of a PyTorch file. Dicts may be plain or ordered.
#[derive(Debug)]
pub struct TorchFile<'c> {
    pub(super) pickle: Pickle<'c>,
    pub(super) container: &'c Container<'c>,
}

impl<'c> TorchFile<'c> {
    pub fn root(&self) -> Value {
        self.pickle.root()
    }

    /// The value in a few words, for messages.
    pub fn describe(&self, value: Value) -> String {
        match self.tensor(value) {
            Some(Ok(tensor)) => format!("a tensor {} {:?}", tensor.dtype.name(), tensor.shape),
            Some(Err(error)) => error.to_string(),
            None => self.pickle.describe(value),
        }
    }

    /// The pairs of a dict.
    pub fn pairs(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.call(value) {
            None => self.pickle.pairs(value),
            Some((("collections", _), object)) => Some(&object.pairs),
            Some(_) => None,
        }
    }

    /// The items of a list or tuple.
    pub fn items(&self, value: Value) -> Option<&[Value]> {
        self.pickle.items(value)
    }

    pub fn text(&self, value: Value) -> Option<&str> {
        self.pickle.text(value)
    }

    /// The value of a key that is text. The last one counts, as in Python.
    pub fn get(&self, dict: Value, key: &str) -> Option<Value> {
        let pairs = self.pairs(dict)?.iter().rev();
        pairs.filter(|(k, _)| self.text(*k) == Some(key)).map(|&(_, value)| value).next()
    }

    /// Bytes, also those that protocol 2 wraps into a call of an encoder.
    pub fn bytes(&self, value: Value) -> Option<Cow<'_, [u8]>> {
        if let Some((("_codecs", "encode"), object)) = self.call(value) {
            let &[text, encoding] = self.items(object.arguments)? else { return None };
            let text = self.text(text).filter(|_| self.text(encoding) == Some("latin1"))?;
            return text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned);
        }
        match self.pickle.node(value)? {
            Node::Bytes(bytes) | Node::OldText(bytes) => Some(Cow::Borrowed(bytes)),
            _ => None,
        }
    }

    /// An integer, a float, a boolean, a number of NumPy's, or a tensor of one element.
    pub fn number(&self, value: Value) -> Option<f64> {
        match value {
            Value::Int(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            Value::Bool(truth) => Some(f64::from(truth)),
            Value::None => None,
            Value::Ref(_) => match self.call(value)? {
                ((_, "scalar"), object) => self.numpy_scalar(object),
                _ => match self.tensor(value)?.ok()? {
                    tensor if tensor.elements() == 1 => tensor.to_f64().first().copied(),
                    _ => None,
                },
            },
        }
    }

    /// The tensor, or nothing if the value is none.
    pub fn tensor(&self, value: Value) -> Option<Result<TorchTensor<'_>, TorchError>> {
        let mut value = value;
        for _ in 0..MAX_WRAPPERS {
            let (name, object) = self.call(value)?;
            let arguments = self.items(object.arguments).unwrap_or_default();
            match name.1 {
                "_rebuild_parameter" => value = *arguments.first()?,
                "_rebuild_tensor" | "_rebuild_tensor_v2" => return Some(self.rebuild(arguments)),
                _ => return None,
            }
        }
        None
    }

    /// `(storage, offset, size, strides, …)`.
    fn rebuild(&self, arguments: &[Value]) -> Result<TorchTensor<'_>, TorchError> {
        let wrong = |problem: String| TorchError::Tensor { problem };
        let &[storage, offset, size, strides, ..] = arguments else {
            return Err(wrong("lacks storage, offset, size or strides".to_owned()));
        };
        let Some(Node::Persistent(description)) = self.pickle.node(storage) else {
            return Err(wrong("has no storage".to_owned()));
        };
        let offset = count(offset)
            .ok_or_else(|| wrong(format!("begins at {} of its storage", self.pickle.describe(offset))))?;
        let (size, strides) = (self.counts(size), self.counts(strides));
        let (Some(shape), Some(strides)) = (size, strides) else {
            return Err(wrong("has a size or strides that are no counts".to_owned()));
        };
        let reference = StorageRef::read(&self.pickle, *description)?;
        let mut storage = self.container.storage(reference.key)?;
        let (width, problem) = (reference.dtype.size(), |problem| TorchError::Storage {
            key: super::container::short(reference.key),
            problem,
        });
        if reference.elements.checked_mul(width) != Some(storage.len()) {
            let (found, elements) = (storage.len(), reference.elements);
            return Err(problem(format!("{found} bytes, but {elements} elements of {width} are announced")));
        }
        if let Some((start, length)) = reference.view {
            let end = start.checked_add(length).filter(|&end| end <= reference.elements);
            let end = end.ok_or_else(|| problem(format!("a view of {length} elements from {start} on")))?;
            storage = match storage {
                Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[start * width..end * width]),
                Cow::Owned(bytes) => Cow::Owned(bytes[start * width..end * width].to_vec()),
            };
        }
        TorchTensor::new(reference.dtype, shape, strides, offset, storage)
    }

    /// A tuple of counts, also as `torch.Size`.
    fn counts(&self, value: Value) -> Option<Vec<usize>> {
        let tuple = match self.call(value) {
            Some((("torch", "Size"), object)) => *self.items(object.arguments)?.first()?,
            Some(_) => return None,
            None => value,
        };
        self.items(tuple)?.iter().map(|&item| count(item)).collect()
    }

    /// `scalar(dtype("f8", …), bytes)`.
    fn numpy_scalar(&self, object: &Object) -> Option<f64> {
        let &[dtype, bytes] = self.items(object.arguments)? else { return None };
        let (("numpy", "dtype"), dtype) = self.call(dtype)? else { return None };
        let code = self.text(*self.items(dtype.arguments)?.first()?)?;
        let bytes = self.bytes(bytes)?;
        let order = dtype.state.and_then(|state| self.text(*self.items(state)?.get(1)?));
        let mut bytes = bytes.into_owned();
        if order == Some(">") {
            bytes.reverse();
        }
        Some(match code {
            "f8" => f64::from_le_bytes(bytes.try_into().ok()?),
            "f4" => f64::from(f32::from_le_bytes(bytes.try_into().ok()?)),
            "i8" => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
            "i4" => f64::from(i32::from_le_bytes(bytes.try_into().ok()?)),
            "b1" => f64::from(*bytes.first()? != 0),
            _ => return None,
        })
    }

    /// What would have been called, with what.
    fn call(&self, value: Value) -> Option<((&'static str, &'static str), &Object)> {
        let Node::Object(object) = self.pickle.node(value)? else { return None };
        match self.pickle.node(object.callable)? {
            Node::Global(place) => Some((ALLOWED[*place], object)),
            _ => None,
        }
    }
}
