//! Initial values as hints to a `VarBuilder`; [`super::Parameters`] draws them from a stream of
//! the tensor's own name.

use candle_nn::Init;

pub const ZEROS: Init = Init::Const(0.0);
pub const ONES: Init = Init::Const(1.0);
/// N(0, 1), the framework's default for tables.
pub const STANDARD_NORMAL: Init = Init::Randn { mean: 0.0, stdev: 1.0 };

/// Kaiming normal over the fan out, `slope` being the leaky ReLU's (0 for ReLU).
pub fn kaiming_fan_out(out_channels: usize, kernel: usize, slope: f64) -> Init {
    let fan_out = (out_channels * kernel * kernel) as f64;
    Init::Randn { mean: 0.0, stdev: (2.0 / (1.0 + slope * slope) / fan_out).sqrt() }
}

/// Xavier uniform of a matrix `[outputs, inputs]`.
pub fn xavier(outputs: usize, inputs: usize) -> Init {
    symmetric((6.0 / (inputs + outputs) as f64).sqrt())
}

/// PyTorch's default for a linear layer's weight and bias and for a recurrent layer of that size.
pub fn fan_in(inputs: usize) -> Init {
    symmetric(1.0 / (inputs as f64).sqrt())
}

fn symmetric(bound: f64) -> Init {
    Init::Uniform { lo: -bound, up: bound }
}
