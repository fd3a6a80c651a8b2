//! Pseudo labels: which predicted masks are good enough to train on.

mod judge;
mod projection;

pub use judge::{Judge, Judgement, outlines};
pub use projection::{box_mask, projection_term};
