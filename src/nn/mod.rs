//! What networks are made of.

pub mod ops;
