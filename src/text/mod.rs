//! Expressions: cleaning, vocabulary, word vectors.

mod coverage;
mod error;
mod vectors;
mod vocabulary;
mod words;

pub use coverage::Coverage;
pub use error::TextError;
pub use vectors::WordVectors;
pub use vocabulary::{Encoded, PAD, UNKNOWN, Vocabulary};
pub use words::{clean, words};
