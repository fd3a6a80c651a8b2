//! The network, as the paper draws it.

mod aim;
mod attention;
mod auxiliary;
mod check;
mod co_content;
mod darknet;
mod decode;
mod error;
mod fusion;
mod grid;
pub mod info;
mod inputs;
mod language;
mod loss;
mod network;
mod points;
pub mod quantise;
mod rules;
mod transformer;

pub use auxiliary::AuxiliaryLosses;
pub use co_content::line as co_content_line;
pub use decode::{Answer, Constraint, Phase, Spoken, Strategy};
pub use error::ModelError;
pub use grid::Grid;
pub use inputs::{Inputs, Targets};
pub use loss::{target_tokens, token_loss, weight_sum};
pub use network::{Encoded, Losses, Network, Visual};
pub use quantise::Sequence;
pub use rules::{BACKBONE, POSITION_TABLE, WORD_TABLE};
