//! Byte formats of other programs. Nothing read here is trusted: every reader is bounded and answers
//! with an error, never a panic.

pub mod darknet;
pub mod glove;
pub mod npz;
pub mod pickle;
pub mod spacy;
pub mod torch;
pub mod zip;
