//! Operations that candle lacks, has wrong or has slow, as functions on tensors.
//!
//! On the CPU in f32 they run kernels of this module, forward and backward; elsewhere (CUDA, f64)
//! they are composed of candle's own operations with right gradients. Gradients are computed for
//! tracked arguments only: `detach` what is frozen. No result depends on the number of threads.

mod activation;
mod batch_norm;
mod conv;
mod cross_entropy;
mod dropout;
mod gru;
mod layer_norm;
mod linear;
mod math;
mod matrix;
mod parallel;
mod product;
mod simd;
mod softmax;
mod storage;
#[cfg(test)]
mod testing;

pub use activation::leaky_relu;
pub use batch_norm::{BatchNormed, batch_norm_train, folded, running_average, scale_shift};
pub use conv::{conv2d, conv2d_scale_shift};
pub use cross_entropy::{SoftTarget, cross_entropy};
pub use dropout::dropout;
pub use gru::{GruWeights, gru};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use product::product;
pub use softmax::{log_softmax, softmax};
