//! The Hugging Face Hub: checkpoints by name, and packages to upload.
//!
//! The cache on disk is the one that Python's `huggingface_hub` uses, through `hf-hub`; the
//! transfers are our own, because hf-hub's neither go on after an interruption nor verify what
//! arrived. Honoured: `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`.

mod client;
mod error;
mod package;
mod repository;
mod transfer;

pub use client::{Hub, Listing};
pub use error::HubError;
pub use package::{Contents, package, write_backbone};
pub use repository::RepositoryId;
pub use transfer::Watch;
