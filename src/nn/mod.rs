//! What networks are made of: operations on tensors, layers, the store of parameters.

mod arithmetic;
pub mod init;
mod layers;
pub mod ops;
mod parameters;
mod pass;

pub use arithmetic::{Arithmetic, UnknownArithmetic};
pub use layers::{BiGru, ConvUnit, GroupNorm, LayerNorm, Linear, lookup, table};
pub use parameters::{LoadReport, Parameter, Parameters, Role, Rules, ShapeMismatch};
pub use pass::Pass;
