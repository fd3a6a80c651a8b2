//! A tensor as a view of a storage.

use std::borrow::Cow;

use half::{bf16, f16};

use super::{Dtype, TorchError};

/// Larger tensors must have as many elements as their storage: what is repeated by a stride of 0
/// is not repeated without bound.
const MAX_EXPANDED: usize = 1 << 24;

/// A tensor whose elements all lie in its storage.
#[derive(Clone, Debug)]
pub struct TorchTensor<'c> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
    offset: usize,
    storage: Cow<'c, [u8]>,
}

impl<'c> TorchTensor<'c> {
    pub(super) fn new(
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
        storage: Cow<'c, [u8]>,
    ) -> Result<Self, TorchError> {
        let wrong = |problem: String| TorchError::Tensor { problem };
        if shape.len() != strides.len() {
            return Err(wrong(format!("has shape {shape:?} and strides {strides:?}")));
        }
        let present = storage.len() / dtype.size();
        let elements = shape.iter().try_fold(1usize, |all, &side| all.checked_mul(side));
        let too_large = || wrong(format!("has shape {shape:?}, in a storage of {present} elements"));
        let elements = elements.ok_or_else(too_large)?;
        if elements > present.max(MAX_EXPANDED) {
            return Err(too_large());
        }
        if elements > 0 {
            let steps = shape.iter().zip(&strides).map(|(&side, &stride)| (side - 1).checked_mul(stride));
            let last = steps.into_iter().try_fold(offset, |sum, step| sum.checked_add(step?));
            if last.is_none_or(|last| last >= present) {
                return Err(wrong(format!(
                    "reaches beyond its storage of {present} elements: shape {shape:?}, strides {strides:?}, offset \
                     {offset}"
                )));
            }
        }
        Ok(Self { dtype, shape, strides, offset, storage })
    }

    /// Numbers in it.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Row-major, rounded to the nearest float32.
    pub fn to_f32(&self) -> Vec<f32> {
        match self.dtype {
            Dtype::F32 => self.map(f32::from_le_bytes),
            Dtype::F16 => self.map(|b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => self.map(|b| bf16::from_le_bytes(b).to_f32()),
            _ => self.to_f64().into_iter().map(|value| value as f32).collect(),
        }
    }

    /// Row-major; 64-bit integers are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.dtype {
            Dtype::F32 => self.map(|b| f64::from(f32::from_le_bytes(b))),
            Dtype::F64 => self.map(f64::from_le_bytes),
            Dtype::F16 => self.map(|b| f16::from_le_bytes(b).to_f64()),
            Dtype::BF16 => self.map(|b| bf16::from_le_bytes(b).to_f64()),
            _ => self.to_i64().into_iter().map(|value| value as f64).collect(),
        }
    }

    /// Row-major; fractions are cut off.
    pub fn to_i64(&self) -> Vec<i64> {
        match self.dtype {
            Dtype::I64 => self.map(i64::from_le_bytes),
            Dtype::I32 => self.map(|b| i64::from(i32::from_le_bytes(b))),
            Dtype::I16 => self.map(|b| i64::from(i16::from_le_bytes(b))),
            Dtype::I8 => self.map(|b| i64::from(i8::from_le_bytes(b))),
            Dtype::U8 => self.map(|[b]| i64::from(b)),
            Dtype::Bool => self.map(|[b]| i64::from(b != 0)),
            Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16 => {
                self.to_f64().into_iter().map(|value| value as i64).collect()
            }
        }
    }

    fn map<const N: usize, T>(&self, convert: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (cells, _) = self.storage.as_chunks::<N>();
        let elements = self.elements();
        if elements == 0 {
            return Vec::new();
        }
        if self.is_contiguous() {
            return cells[self.offset..self.offset + elements].iter().map(|&cell| convert(cell)).collect();
        }
        let mut values = Vec::with_capacity(elements);
        let (mut index, mut at) = (vec![0; self.shape.len()], self.offset);
        loop {
            values.push(convert(cells[at]));
            // The next index, counting from the last dimension.
            let Some(d) = (0..index.len()).rev().find(|&d| index[d] + 1 < self.shape[d]) else {
                return values;
            };
            for (index, stride) in index.iter_mut().zip(&self.strides).skip(d + 1) {
                at -= *index * stride;
                *index = 0;
            }
            index[d] += 1;
            at += self.strides[d];
        }
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == expected;
            expected *= side;
            fits
        })
    }
}
