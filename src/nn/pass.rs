//! One run through the network: evaluation or training, and what may be watched in it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use candle_core::{Result, Tensor};

use super::ops::dropout;
use crate::random::Stream;

/// How the network runs: in evaluation (running statistics, no dropout) or in training (batch
/// statistics, dropout drawn from the step's stream).
#[derive(Debug, Default)]
pub struct Pass {
    dropout: Option<Stream>,
    /// Each place with dropout takes the next child of the stream.
    places: Cell<u64>,
    joint: bool,
    bf16: bool,
    watched: Option<RefCell<HashMap<String, Tensor>>>,
}

impl Pass {
    pub fn evaluation() -> Self {
        Self::default()
    }

    /// A training step whose dropout depends on `stream` alone.
    pub fn training(stream: Stream) -> Self {
        Self { dropout: Some(stream), ..Self::default() }
    }

    /// Batch norms take their statistics over the batches of all processes together.
    pub fn jointly(self, joint: bool) -> Self {
        Self { joint, ..self }
    }

    pub fn is_joint(&self) -> bool {
        self.joint
    }

    /// Convolutions of images run in bf16 (on the CPU: rounded to it), in training those that are frozen.
    pub fn in_bf16(self, bf16: bool) -> Self {
        Self { bf16, ..self }
    }

    /// Whether a layer runs in bf16.
    pub fn is_bf16(&self, frozen: bool) -> bool {
        self.bf16 && self.is_constant(frozen)
    }

    /// Whether nothing of a layer is trained in this pass.
    pub fn is_constant(&self, frozen: bool) -> bool {
        frozen || !self.is_training()
    }

    /// Keeps the activations that modules report.
    pub fn watching(self) -> Self {
        Self { watched: Some(RefCell::default()), ..self }
    }

    pub fn is_training(&self) -> bool {
        self.dropout.is_some()
    }

    /// Zeroes elements with probability `p` and scales the others, in training only.
    pub fn dropout(&self, x: &Tensor, p: f64) -> Result<Tensor> {
        match &self.dropout {
            Some(stream) if p > 0.0 => {
                let place = self.places.replace(self.places.get() + 1);
                dropout(x, p, &stream.child(place))
            }
            _ => Ok(x.clone()),
        }
    }

    /// Reports an activation to whoever watches.
    pub fn watch(&self, name: impl FnOnce() -> String, x: &Tensor) {
        if let Some(watched) = &self.watched {
            watched.borrow_mut().insert(name(), x.clone());
        }
    }

    /// The activations of a watching pass, by name; empty otherwise.
    pub fn watched(self) -> HashMap<String, Tensor> {
        self.watched.map(RefCell::into_inner).unwrap_or_default()
    }
}
