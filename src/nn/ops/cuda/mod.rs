//! Kernels of ours on CUDA, for what candle's operations would do in many launches or not at all: the forward passes of
//! the operations next door, which call them with storages, and their gradients.

mod attention;
mod batch_norm;
mod channels;
mod channels_last;
mod dropout;
mod gru;
mod launch;
mod layer_norm;
mod linear;
mod point_bias;
#[cfg(test)]
mod tests;
mod update;

pub use self::attention::{
    attention_mix, attention_mix_gradients, attention_weights, attention_weights_gradients,
};
pub use self::batch_norm::{batch_norm, normalises};
pub use self::channels::{folded, scale_shift, scales_and_shifts};
pub use self::channels_last::{average_pool, turned};
pub use self::dropout::dropout;
pub use self::gru::{recurrence, recurrence_gradients};
#[cfg(feature = "cudnn")]
pub(super) use self::launch::view;
pub use self::layer_norm::{layer_norm, layer_norm_gradients};
pub use self::linear::{linear, linear_gradients};
pub use self::point_bias::{point_bias, point_bias_gradient};
pub use self::update::{AdamRule, AdamUpdate, adam, blend, keep_running, square_sums};
