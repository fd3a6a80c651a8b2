//! The transformer: a memory of cells and words, and a decoder that spells tokens.

mod decoder;
mod encoder;
mod feed_forward;

pub use decoder::{Decoded, Decoder, Past, Source};
pub use encoder::Encoder;
