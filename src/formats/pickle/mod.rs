//! Python's pickles (protocols 0 to 5) as data: nothing in them is ever executed.
//!
//! [`Pickle::read`] runs the pickle's program on a stack of values, as Python would, but a call
//! only becomes an [`Object`] that remembers what was to be called with what, and only classes
//! and functions on the caller's list may be named. Values live side by side in one list and refer
//! to each other by number, so a value that is used twice is stored once, nothing recurses, and
//! the memory is a small multiple of the file. References may form circles: who walks them bounds
//! the depth.

mod bytes;
mod index;
mod machine;
mod stack;
mod value;

use thiserror::Error;

pub use index::read_index;
pub use value::{Node, NodeId, Object, Pickle, Value};

/// The caller's list of what a pickle may name: module and name of classes and functions.
pub type Allowed<'l> = &'l [(&'l str, &'l str)];

/// How much a pickle may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the pickle itself.
    pub bytes: usize,
    /// Strings, lists, dicts, tuples and objects.
    pub nodes: usize,
    /// Values stored for later use.
    pub memo: usize,
    /// Marks that are open at the same time.
    pub marks: usize,
    /// Instructions, each of which takes a bounded time and makes at most one value.
    pub instructions: usize,
}

impl Default for Limits {
    /// Enough for a vocabulary or a checkpoint's table of contents many times over.
    fn default() -> Self {
        Self { bytes: 256 << 20, nodes: 1 << 20, memo: 1 << 20, marks: 10_000, instructions: 1 << 26 }
    }
}

/// What can be wrong with a pickle. Positions are bytes from its start.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PickleError {
    #[error("the pickle ends at byte {position} inside an instruction; the file was cut")]
    Truncated { position: usize },
    #[error("byte {position} of the pickle is {found:#04x}, which is no instruction; is this a pickle?")]
    Opcode { position: usize, found: u8 },
    #[error("byte {position} of the pickle: {what} is not supported")]
    Unsupported { position: usize, what: &'static str },
    #[error("byte {position} of the pickle: protocol {found} is newer than 5")]
    Protocol { position: usize, found: u8 },
    #[error(
        "the pickle names {module}.{name}, which is not among the classes and functions that are allowed here"
    )]
    Global { module: String, name: String },
    #[error("byte {position} of the pickle: expected {expected}")]
    Stack { position: usize, expected: &'static str },
    #[error("byte {position} of the pickle: nothing was stored under number {index}")]
    Memo { position: usize, index: u32 },
    #[error("byte {position} of the pickle: not a valid {what}")]
    Literal { position: usize, what: &'static str },
    #[error("byte {position} of the pickle: an integer of {bytes} bytes; at most 8 are read")]
    BigInteger { position: usize, bytes: usize },
    #[error("the pickle holds more than {limit} {what}")]
    Limit { what: &'static str, limit: usize },
    #[error("{0}")]
    Content(String),
}
