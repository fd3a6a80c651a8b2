//! Layers: parameters and what is done with them.

mod conv_unit;
mod embedding;
mod gru;
mod linear;
mod norm;

pub use conv_unit::ConvUnit;
pub use embedding::{lookup, table};
pub use gru::BiGru;
pub use linear::Linear;
pub use norm::{GroupNorm, LayerNorm};
