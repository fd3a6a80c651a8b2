//! Layer normalisation, a row to each warp.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, D, Result, Tensor, bail};

use super::launch::{Operand, demand, launch, made, room, size, view, warps};
use super::linear::column_sums;

/// `(x - mean) / sqrt(variance + eps) weight + bias` for rows of f32, all contiguous.
pub fn layer_norm(x: Operand, weight: Operand, bias: Operand, eps: f32) -> Result<CudaStorage> {
    let n = x.1.shape().elem_count();
    let (device, width) = (x.0.device(), weight.1.shape().elem_count());
    if width == 0 || bias.1.shape().elem_count() != width || !n.is_multiple_of(width) {
        bail!("layer norm: {:?}, {:?}, {:?}", x.1.shape(), weight.1.shape(), bias.1.shape())
    }
    let (rows, columns) = ((n / width) as u64, size(width)?);
    let (x, weight, bias) = (view::<f32>(x)?, view::<f32>(weight)?, view::<f32>(bias)?);
    // SAFETY: the kernel writes all of it.
    let mut y = unsafe { room::<f32>(device, n) }?;
    // SAFETY: x and y are rows as wide as weight and bias.
    unsafe {
        launch!(device, "layer_norm", warps(n / width)?, &rows, &columns, &eps, &x, &weight, &bias, &mut y)
    };
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// The gradients of x, the weight and the bias, of those that are tracked.
pub fn layer_norm_gradients(
    [x, weight, bias]: [&Tensor; 3],
    grad: &Tensor,
    eps: f32,
) -> Result<[Option<Tensor>; 3]> {
    let width = x.dim(D::Minus1)?;
    let (n, columns) = (x.elem_count(), size(width)?);
    let rows = n / width.max(1);
    demand(n, grad.elem_count())?;
    demand(width, weight.elem_count())?;
    // dx, and behind it what the weight's gradient is the sum of.
    let both = made([x, weight, grad], (2, rows, width), |[x, weight, grad]| {
        let (device, count) = (x.0.device(), rows as u64);
        let (x, weight, grad) = (view::<f32>(x)?, view::<f32>(weight)?, view::<f32>(grad)?);
        // SAFETY: the kernel writes all of it.
        let mut both = unsafe { room::<f32>(device, 2 * n) }?;
        {
            let (mut to, mut products) = both.split_at_mut(n);
            // SAFETY: x, its gradient and the results are as large, in rows as wide as the weight.
            unsafe {
                launch!(
                    device,
                    "layer_norm_gradient",
                    warps(rows)?,
                    &count,
                    &columns,
                    &eps,
                    &x,
                    &weight,
                    &grad,
                    &mut to,
                    &mut products,
                )
            };
        }
        Ok(CudaStorage::wrap_cuda_slice(both, device.clone()))
    })?;
    Ok([
        x.track_op().then(|| both.get(0)?.reshape(x.shape())).transpose()?,
        weight.track_op().then(|| column_sums(&both.get(1)?)).transpose()?,
        bias.track_op().then(|| column_sums(grad)).transpose()?,
    ])
}
