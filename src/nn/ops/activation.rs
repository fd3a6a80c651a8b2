//! Activations.

use candle_core::{Result, Tensor};

/// `x` where positive, else `slope x`.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    (x.relu()? * (1.0 - slope))? + (x * slope)?
}
