//! Activations.

use candle_core::{Result, Tensor};

/// `x` where positive, else `slope x`.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    if !x.track_op() && (0.0..=1.0).contains(&slope) {
        return x.maximum(&(x * slope)?);
    }
    (x.relu()? * (1.0 - slope))? + (x * slope)?
}
