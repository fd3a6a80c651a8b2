//! Operations that candle lacks, has wrong or has slow, as functions on tensors.
//!
//! On the CPU in f32 they run kernels of this module, forward and backward, and on CUDA those of `cuda` and of
//! cuDNN (`conv`), as far as there are any; otherwise, and in f64, they are composed of candle's own operations with
//! right gradients. Gradients are computed for tracked arguments only: `detach` what is frozen. No result depends on
//! the number of threads.

mod activation;
mod attention;
mod batch_norm;
mod bf16;
mod blend;
mod channels_last;
mod conv;
mod cross_entropy;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod dropout;
mod group_norm;
mod gru;
mod jobs;
mod layer_norm;
mod linear;
mod lines;
mod log_mean;
mod math;
mod matrix;
mod modulate;
mod moments;
mod point_bias;
mod running;
mod simd;
mod softmax;
mod storage;
mod transpose;

#[cfg(test)]
mod testing;

pub use activation::leaky_relu;
pub use attention::{attention_mix, attention_weights, ready_keys, ready_values};
pub use batch_norm::{BatchNormed, Rule, batch_norm_train, scale_shift};
pub use bf16::in_bf16;
pub use blend::blend;
pub use channels_last::{average_pool, for_tensor_cores, in_planes, joined, positions};
pub use conv::{Ending, conv2d, conv2d_bf16, conv2d_finished};
pub use cross_entropy::{SoftTarget, cross_entropy};
pub use dropout::dropout;
pub use group_norm::group_norm;
pub use gru::{GruWeights, gru};
pub use layer_norm::layer_norm;
pub use linear::{by_columns, linear, linear_part, linear_relu};
pub use lines::line_means;
pub use log_mean::log_mean;
pub use modulate::modulate;
pub use point_bias::{Map, point_bias};
pub use running::{Running, folded};
pub(crate) use simd::wide;
pub use softmax::{log_softmax, log_softmax_at};
