//! Conversions of what PyTorch saved: checkpoints and dumps of pseudo labels.

mod checkpoint;
#[path = "../common/end.rs"]
mod end;
mod predictions;
mod saved;
mod torch_file;
#[path = "../common/trainer.rs"]
mod trainer;
#[path = "../common/training.rs"]
mod training;
