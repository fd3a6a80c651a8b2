//! How the network learns: the loop, Adam with clipping, the learning rate, the averaged weights.
//!
//! [`Trainer::begin`] or [`Trainer::resume`], then [`Trainer::run`].

mod accuracy;
mod average;
mod conclusion;
mod ema;
mod error;
mod evaluation;
mod gradients;
mod interval;
mod optimiser;
mod rescue;
mod run;
mod schedule;
mod setup;
mod trainer;

pub use accuracy::Accuracy;
pub use ema::Ema;
pub use error::TrainError;
pub use gradients::{Gradients, clip_factor};
pub use optimiser::{Adam, StateError};
pub use run::RunFolder;
pub use schedule::learning_rate;
pub use trainer::{Outcome, Trainer};
