//! Checkpoints: folders that are there whole or not at all.
//!
//! A checkpoint holds `model.safetensors` and `ema.safetensors` (names of the reference's
//! `state_dict`), `config.toml`, `vocabulary.json`, `state.json` (progress and scores) and, in the
//! newest ones of a run, `optimizer.safetensors`. `manifest.json` has size and SHA-256 of each. A
//! folder is written beside its place, synced and renamed; one that replaces another changes places
//! with it. `latest`, `det_best` and `segm_best` are files that hold the name of a folder; they are
//! accepted wherever a checkpoint is.

mod error;
mod files;
mod locate;
mod manifest;
mod open;
mod scratch;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod transfer;

pub use error::CheckpointError;
pub use open::Checkpoint;
pub use state::TrainState;
pub use store::{Pointer, Snapshot, Store};
pub use transfer::{Mismatch, Transfer, finetune, load_all};
