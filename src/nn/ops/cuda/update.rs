//! Changes of parameters in place.

use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Layout, Result, Storage, Tensor, bail};

use super::launch::{Operand, blocks, demand, launch, on_cuda, over, room, view, view_mut};

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

/// Advances the moments `[2 or 3, n]` by a gradient and a parameter of n elements; all f32, contiguous.
pub fn adam_moments(
    rule: &AdamRule,
    (moments, layout): (&mut CudaStorage, &Layout),
    gradient: Operand,
    parameter: Operand,
) -> Result<()> {
    let (device, n) = (moments.device().clone(), gradient.1.shape().elem_count());
    demand(n, parameter.1.shape().elem_count())?;
    demand(n * rows(rule), layout.shape().elem_count())?;
    let (gradient, parameter) = (view::<f32>(gradient)?, view::<f32>(parameter)?);
    let mut moments = view_mut::<f32>(moments, layout)?;
    let (count, amsgrad, [beta1, beta2]) = (n as u64, u32::from(rule.amsgrad), rule.betas);
    // SAFETY: the sizes were compared.
    unsafe {
        launch!(
            &device,
            "adam_moments",
            over(n),
            &count,
            &amsgrad,
            &rule.scale,
            &rule.weight_decay,
            &beta1,
            &beta2,
            &gradient,
            &parameter,
            &mut moments,
        )
    };
    Ok(())
}

/// Moves a parameter of n elements by its moments `[2 or 3, n]`; all f32, contiguous.
pub fn adam_parameter(
    rule: &AdamRule,
    (parameter, layout): (&mut CudaStorage, &Layout),
    moments: Operand,
) -> Result<()> {
    let (device, n) = (parameter.device().clone(), layout.shape().elem_count());
    demand(n * rows(rule), moments.1.shape().elem_count())?;
    let moments = view::<f32>(moments)?;
    let mut parameter = view_mut::<f32>(parameter, layout)?;
    let (count, amsgrad) = (n as u64, u32::from(rule.amsgrad));
    // SAFETY: the sizes were compared.
    unsafe {
        launch!(
            &device,
            "adam_parameter",
            over(n),
            &count,
            &amsgrad,
            &rule.step_size,
            &rule.root_correction,
            &rule.eps,
            &moments,
            &mut parameter,
        )
    };
    Ok(())
}

/// average <- keep average + take value, of equally many elements; both f32, contiguous.
pub fn blend(
    [keep, take]: [f32; 2],
    (average, layout): (&mut CudaStorage, &Layout),
    value: Operand,
) -> Result<()> {
    let (device, n) = (average.device().clone(), layout.shape().elem_count());
    demand(n, value.1.shape().elem_count())?;
    let value = view::<f32>(value)?;
    let mut average = view_mut::<f32>(average, layout)?;
    let count = n as u64;
    // SAFETY: the sizes were compared.
    unsafe { launch!(&device, "blend", over(n), &count, &keep, &take, &value, &mut average) };
    Ok(())
}

/// Elements whose squares one block sums.
const PART: usize = 1 << 16;

/// The sums of the squares of parts of contiguous f32 tensors, of all in one.
pub fn square_sums(tensors: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = tensors.first() else { bail!("no tensors to sum") };
    let parts = |tensor: &Tensor| tensor.elem_count().div_ceil(PART).max(1);
    let (device, total) = (first.device().as_cuda_device()?, tensors.iter().map(|t| parts(t)).sum());
    // SAFETY: the kernel writes each tensor's part of it.
    let mut sums = unsafe { room::<f32>(device, total) }?;
    let mut from = 0;
    for tensor in tensors {
        let (storage, layout) = tensor.storage_and_layout();
        let x = view::<f32>((on_cuda(&storage)?, layout))?;
        let (count, part, own) = (tensor.elem_count() as u64, PART as u64, parts(tensor));
        let mut to = sums.slice_mut(from..from + own);
        // SAFETY: x has so many elements, and there is a sum for each block.
        unsafe { launch!(device, "square_sums", blocks(own)?, &count, &part, &x, &mut to) };
        from += own;
    }
    let sums = Storage::Cuda(CudaStorage::wrap_cuda_slice(sums, device.clone()));
    Ok(Tensor::from_storage(sums, total, BackpropOp::none(), false))
}
