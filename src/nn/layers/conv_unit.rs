//! DarkNet's building block.

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::VarBuilder;

use crate::nn::ops::{
    BatchNormed, Ending, Rule, Running, batch_norm_train, conv2d, conv2d_bf16, conv2d_finished, folded,
    in_bf16, scale_shift,
};
use crate::nn::{Pass, init};

/// Slope of the leaky ReLU.
const SLOPE: f64 = 0.1;
const EPSILON: f64 = 1e-5;
/// Share of the new value in a running statistic.
const MOMENTUM: f64 = 0.1;

/// Convolution without bias, batch norm, leaky ReLU 0.1.
///
/// In training the batch norm always uses the batch's statistics and updates the running ones,
/// also where its parameters are frozen (quirk 2).
#[derive(Clone, Debug)]
pub struct ConvUnit {
    stride: usize,
    kernel: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    num_batches_tracked: Tensor,
}

impl ConvUnit {
    pub fn new(inputs: usize, outputs: usize, kernel: usize, stride: usize, vb: VarBuilder) -> Result<Self> {
        let size = (outputs, inputs, kernel, kernel);
        let bn = vb.pp("bn");
        Ok(Self {
            stride,
            kernel: vb.pp("conv").get_with_hints(
                size,
                "weight",
                init::kaiming_fan_out(outputs, kernel, SLOPE),
            )?,
            weight: bn.get_with_hints(outputs, "weight", init::ONES)?,
            bias: bn.get_with_hints(outputs, "bias", init::ZEROS)?,
            running_mean: bn.get_with_hints(outputs, "running_mean", init::ZEROS)?,
            running_var: bn.get_with_hints(outputs, "running_var", init::ONES)?,
            num_batches_tracked: bn.get_with_hints_dtype(
                (),
                "num_batches_tracked",
                init::ZEROS,
                DType::I64,
            )?,
        })
    }

    /// `[B, inputs, H, W]` -> `[B, outputs, ceil(H / stride), ceil(W / stride)]`.
    pub fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.add(None, x, pass)
    }

    /// `residual + self.forward(x)`.
    pub fn forward_onto(&self, residual: &Tensor, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.add(Some(residual), x, pass)
    }

    fn add(&self, residual: Option<&Tensor>, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let padding = self.kernel.dim(2)? / 2;
        if !pass.is_training() {
            let [scale, shift] = self.folded()?;
            let ending = Ending { scale: &scale, shift: &shift, slope: SLOPE, residual };
            return conv2d_finished(x, &self.kernel, ending, self.stride, padding);
        }
        self.normalise(&conv2d(x, &self.kernel, self.stride, padding)?, residual, pass)
    }

    /// As [`ConvUnit::forward`], from and to bf16 ([`in_bf16`]), with kernels in bf16 and batch norm in f32, and without
    /// gradient; a residual is added to the rounded result, and the sum rounded.
    pub fn forward_bf16(&self, residual: Option<&Tensor>, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        let constant = Self {
            kernel: self.kernel.detach(),
            weight: self.weight.detach(),
            bias: self.bias.detach(),
            ..self.clone()
        };
        let padding = constant.kernel.dim(2)? / 2;
        let x = in_bf16(&conv2d_bf16(x, &constant.kernel, self.stride, padding)?)?;
        if x.dtype() == DType::BF16 {
            return constant.normalise(&x, residual, pass);
        }
        let y = in_bf16(&constant.normalise(&x, None, pass)?)?;
        residual.map_or(Ok(y.clone()), |residual| in_bf16(&(residual + &y)?))
    }

    /// Batch norm and leaky ReLU, with a residual on top.
    fn normalise(&self, x: &Tensor, residual: Option<&Tensor>, pass: &Pass) -> Result<Tensor> {
        if !pass.is_training() {
            let [scale, shift] = self.folded()?;
            return scale_shift(x, &scale, &shift, Some(SLOPE), residual);
        }
        let rule = Rule { eps: EPSILON, slope: Some(SLOPE), joint: pass.is_joint() };
        let normed = batch_norm_train(x, &self.weight, &self.bias, rule, residual)?;
        self.update(&normed)?;
        Ok(normed.output)
    }

    /// The batch norm of evaluation as a scale and a shift.
    fn folded(&self) -> Result<[Tensor; 2]> {
        let statistics = (&self.running_mean.detach(), &self.running_var.detach());
        folded(&self.weight, &self.bias, statistics, EPSILON)
    }

    fn update(&self, batch: &BatchNormed) -> Result<()> {
        let [mean, variance] = [&self.running_mean, &self.running_var].map(buffer);
        let running =
            Running { mean: mean?, variance: variance?, batches: buffer(&self.num_batches_tracked)? };
        running.keep(batch, MOMENTUM)
    }
}

/// The variable behind a buffer, which this layer changes in place.
fn buffer(tensor: &Tensor) -> Result<Var> {
    if !tensor.is_variable() {
        candle_core::bail!("a network for inference can't run in training: build it with Parameters::builder")
    }
    Var::from_tensor(tensor)
}
