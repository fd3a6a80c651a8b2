//! The network, as the paper draws it.

mod inputs;

pub use inputs::{Inputs, Targets};
