//! How far off values may be.

use candle_core::Device;

/// The largest differences allowed; tokens, targets and padding must be equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Of activations and running statistics, absolute.
    pub activations: f64,
    /// Of the second map of DarkNet, whose values reach 14.
    pub large_activations: f64,
    /// Of losses, absolute, and the code of positions.
    pub losses: f64,
    /// Of gradients, absolute, and of their norms as a share.
    pub gradients: f64,
    /// Of the losses of the first training steps, as a share.
    pub curve: f64,
    /// Of the gradients' norms in these steps: Adam turns the tiniest gradients into whole steps, so that
    /// rounding shows. The reference's own two records of the first norm differ by 4e-4.
    pub curve_norms: f64,
    /// Of the optimiser's parameters and moments, absolute; its losses may be off by ten times that.
    pub optimiser: f64,
}

impl Tolerances {
    /// For f32 on the CPU: those that the golden data suggest.
    pub const CPU: Self = Self {
        activations: 1e-4,
        large_activations: 1e-3,
        losses: 1e-5,
        gradients: 1e-4,
        curve: 1e-3,
        curve_norms: 1e-2,
        optimiser: 1e-6,
    };

    /// For f32 on a GPU, without TF32: ten times those of the CPU.
    pub const CUDA: Self = Self {
        activations: 1e-3,
        large_activations: 1e-2,
        losses: 1e-4,
        gradients: 1e-3,
        curve: 1e-2,
        curve_norms: 1e-1,
        optimiser: 1e-5,
    };

    /// Those of a device.
    pub fn of(device: &Device) -> Self {
        if device.is_cpu() { Self::CPU } else { Self::CUDA }
    }
}
