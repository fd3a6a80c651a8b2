//! PyTorch's `.pth` files as data, both forms: the zip archive of today and the row of pickles
//! from before version 1.6. Nothing in them is executed.
//!
//! [`Container::open`] finds the pickle and the storages, [`Container::read`] gives the values. A
//! value is looked up on demand and never copied into a tree, so values that a file uses a million
//! times cost nothing, and a tensor is only materialised when it is asked for.

mod container;
mod dtype;
mod file;
mod legacy;
mod storage;
mod tensor;

use thiserror::Error;

use super::pickle::PickleError;
use super::zip::ZipError;

pub use container::Container;
pub use dtype::Dtype;
pub use file::TorchFile;
pub use tensor::TorchTensor;

/// Classes and functions that a checkpoint may name. They are recognised, never called.
pub(super) const ALLOWED: &[(&str, &str)] = &[
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "Size"),
    ("torch", "FloatStorage"),
    ("torch", "DoubleStorage"),
    ("torch", "HalfStorage"),
    ("torch", "BFloat16Storage"),
    ("torch", "LongStorage"),
    ("torch", "IntStorage"),
    ("torch", "ShortStorage"),
    ("torch", "CharStorage"),
    ("torch", "ByteStorage"),
    ("torch", "BoolStorage"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
];

/// What can be wrong with a PyTorch file.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TorchError {
    #[error("not a PyTorch file: {found}")]
    Kind { found: String },
    #[error(transparent)]
    Zip(#[from] ZipError),
    #[error(transparent)]
    Pickle(#[from] PickleError),
    #[error("the archive has {found}, expected one member */data.pkl; is this a PyTorch file?")]
    NoPickle { found: String },
    #[error(
        "the members of the archive unpack to {found} bytes, at most {limit} are read of a file of this size"
    )]
    Bomb { found: u64, limit: u64 },
    #[error("the file ends at byte {length} inside {what}; it was cut short")]
    Truncated { what: String, length: usize },
    #[error("the file was written on a big-endian machine, which is not read")]
    ByteOrder,
    #[error("storage {key}: {problem}")]
    Storage { key: String, problem: String },
    #[error("a tensor that {problem}")]
    Tensor { problem: String },
}
