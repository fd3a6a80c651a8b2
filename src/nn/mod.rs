//! Operations that candle lacks, has wrong or has slow, as functions on tensors.
//!
//! On the CPU in f32 they run kernels of this module, forward and backward; elsewhere (CUDA, f64)
//! they are composed of candle's own operations with right gradients. Gradients are computed for
//! tracked arguments only: `detach` what is frozen. No result depends on the number of threads.

mod conv;
mod matrix;
mod storage;
#[cfg(test)]
mod testing;

pub use conv::conv2d;
