//! Changes of parameters in place.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{CudaStorage, Layout, Result, bail};

use super::{kernel, over, view, view_mut};

/// The scalars of Adam's update of one parameter.
#[derive(Clone, Copy, Debug)]
pub struct AdamRule {
    pub amsgrad: bool,
    /// Of the gradient, before it is used.
    pub scale: f32,
    pub weight_decay: f32,
    pub betas: [f32; 2],
    pub step_size: f32,
    pub root_correction: f32,
    pub eps: f32,
}

/// Rows of the moments for each element.
fn rows(rule: &AdamRule) -> usize {
    if rule.amsgrad { 3 } else { 2 }
}

fn demand(elements: usize, found: usize) -> Result<()> {
    if found != elements {
        bail!("an update of {elements} elements with {found}")
    }
    Ok(())
}

/// Advances the moments `[2 or 3, n]` by a gradient and a parameter of n elements; all f32, contiguous.
pub fn adam_moments(
    rule: &AdamRule,
    (moments, moments_layout): (&mut CudaStorage, &Layout),
    (gradient, gradient_layout): (&CudaStorage, &Layout),
    (parameter, parameter_layout): (&CudaStorage, &Layout),
) -> Result<()> {
    let device = moments.device().clone();
    let n = gradient_layout.shape().elem_count();
    demand(n, parameter_layout.shape().elem_count())?;
    demand(n * rows(rule), moments_layout.shape().elem_count())?;
    let (gradient, parameter) =
        (view::<f32>(gradient, gradient_layout)?, view::<f32>(parameter, parameter_layout)?);
    let mut moments = view_mut::<f32>(moments, moments_layout)?;
    let (function, stream) = (kernel(&device, "adam_moments")?, device.cuda_stream());
    let (count, amsgrad) = (n as u64, u32::from(rule.amsgrad));
    let mut launch = stream.launch_builder(&function);
    launch.arg(&count).arg(&amsgrad).arg(&rule.scale).arg(&rule.weight_decay);
    launch.arg(&rule.betas[0]).arg(&rule.betas[1]).arg(&gradient).arg(&parameter).arg(&mut moments);
    // SAFETY: the arguments are the kernel's, and the sizes were compared.
    unsafe { launch.launch(over(n)) }.w()?;
    Ok(())
}

/// Moves a parameter of n elements by its moments `[2 or 3, n]`; all f32, contiguous.
pub fn adam_parameter(
    rule: &AdamRule,
    (parameter, parameter_layout): (&mut CudaStorage, &Layout),
    (moments, moments_layout): (&CudaStorage, &Layout),
) -> Result<()> {
    let device = parameter.device().clone();
    let n = parameter_layout.shape().elem_count();
    demand(n * rows(rule), moments_layout.shape().elem_count())?;
    let moments = view::<f32>(moments, moments_layout)?;
    let mut parameter = view_mut::<f32>(parameter, parameter_layout)?;
    let (function, stream) = (kernel(&device, "adam_parameter")?, device.cuda_stream());
    let (count, amsgrad) = (n as u64, u32::from(rule.amsgrad));
    let mut launch = stream.launch_builder(&function);
    launch.arg(&count).arg(&amsgrad).arg(&rule.step_size).arg(&rule.root_correction).arg(&rule.eps);
    launch.arg(&moments).arg(&mut parameter);
    // SAFETY: the arguments are the kernel's, and the sizes were compared.
    unsafe { launch.launch(over(n)) }.w()?;
    Ok(())
}

/// average <- decay average + (1 - decay) value, of equally many elements; both f32, contiguous.
pub fn blend(
    decay: f32,
    (average, average_layout): (&mut CudaStorage, &Layout),
    (value, value_layout): (&CudaStorage, &Layout),
) -> Result<()> {
    let device = average.device().clone();
    let n = average_layout.shape().elem_count();
    demand(n, value_layout.shape().elem_count())?;
    let value = view::<f32>(value, value_layout)?;
    let mut average = view_mut::<f32>(average, average_layout)?;
    let (function, stream, count) = (kernel(&device, "blend")?, device.cuda_stream(), n as u64);
    let mut launch = stream.launch_builder(&function);
    launch.arg(&count).arg(&decay).arg(&value).arg(&mut average);
    // SAFETY: the arguments are the kernel's, and the sizes were compared.
    unsafe { launch.launch(over(n)) }.w()?;
    Ok(())
}
