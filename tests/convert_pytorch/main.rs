//! Conversions of what PyTorch saved: checkpoints and dumps of pseudo labels.

mod checkpoint;
mod predictions;
mod torch_file;
