//! Conversions of what PyTorch saved: checkpoints and dumps of pseudo labels.

mod checkpoint;
mod predictions;
#[path = "../common/tiny.rs"]
mod tiny;
mod torch_file;
