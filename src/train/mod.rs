//! How the network learns: Adam with clipping, the learning rate, the average of the weights.

mod ema;
mod gradients;
mod optimiser;
mod schedule;

pub use ema::Ema;
pub use gradients::{Gradients, clip_factor};
pub use optimiser::{Adam, StateError};
pub use schedule::learning_rate;
