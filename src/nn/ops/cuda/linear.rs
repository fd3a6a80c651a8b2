//! Affine maps and the sums of columns.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::LaunchConfig;
use candle_core::{CudaStorage, D, Layout, Result, Tensor, bail};

use super::launch::{Operand, demand, launch, made, over, product, room, size, view, view_mut};

/// `x w^T + bias`, and with `relu` no less than 0, for rows `x` `[..., inputs]`, `w` `[outputs, inputs]` that
/// is dense or turned and `bias` `[outputs]`, all f32.
pub fn linear(x: Operand, w: Operand, bias: Operand, relu: bool) -> Result<CudaStorage> {
    let (outputs, inputs) = w.1.shape().dims2()?;
    let rows = x.1.shape().elem_count() / inputs.max(1);
    if bias.1.dims() != [outputs] || x.1.dims().last() != Some(&inputs) {
        bail!("linear: {:?}, {:?}, {:?}", x.1.shape(), w.1.shape(), bias.1.shape())
    }
    let matrix = Layout::contiguous_with_offset((1, rows, inputs), x.1.start_offset());
    let across = Layout::new(
        (1, inputs, outputs).into(),
        vec![0, w.1.stride()[1], w.1.stride()[0]],
        w.1.start_offset(),
    );
    let mut y = product((x.0, &matrix), (w.0, &across))?;
    let device = y.device().clone();
    let (n, width, relu) = ((rows * outputs) as u64, size(outputs)?, u32::from(relu));
    {
        let (row, mut y) =
            (view::<f32>(bias)?, view_mut::<f32>(&mut y, &Layout::contiguous((rows, outputs)))?);
        // SAFETY: y has n elements, in rows as wide as the bias.
        unsafe { launch!(&device, "add_row", over(rows * outputs), &n, &width, &relu, &row, &mut y) };
    }
    Ok(y)
}

/// The gradients of x, w and the bias, of those that are tracked; y is what a ReLU gave, if there was one.
pub fn linear_gradients(
    [x, w, bias]: [&Tensor; 3],
    y: Option<&Tensor>,
    grad: &Tensor,
) -> Result<[Option<Tensor>; 3]> {
    let (outputs, inputs) = w.dims2()?;
    let grad = match y {
        Some(y) => where_positive(y, grad)?,
        None => grad.detach(),
    };
    let grad = grad.reshape(((), outputs))?;
    let dx = || grad.matmul(&w.detach())?.reshape(x.shape());
    let dw = || grad.t()?.matmul(&x.detach().reshape(((), inputs))?);
    Ok([
        x.track_op().then(dx).transpose()?,
        w.track_op().then(dw).transpose()?,
        bias.track_op().then(|| column_sums(&grad)).transpose()?,
    ])
}

/// The gradient before a ReLU that gave y.
fn where_positive(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let n = y.elem_count();
    demand(n, grad.elem_count())?;
    made([y, grad], y.shape(), |[y, grad]| {
        let device = y.0.device();
        let (y, grad, count) = (view::<f32>(y)?, view::<f32>(grad)?, n as u64);
        // SAFETY: the kernel writes all of it.
        let mut to = unsafe { room::<f32>(device, n) }?;
        // SAFETY: a gradient is as large as what it is of.
        unsafe { launch!(device, "where_positive", over(n), &count, &y, &grad, &mut to) };
        Ok(CudaStorage::wrap_cuda_slice(to, device.clone()))
    })
}

/// Rows of a matrix that one block sums.
const PART: usize = 1024;

/// The sums over all but the last dimension, `[width]`, in an order that does not change.
pub fn column_sums(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    let rows = x.elem_count() / width.max(1);
    let parts = rows.div_ceil(PART).max(1);
    let config = LaunchConfig {
        grid_dim: (size(width.div_ceil(32).max(1))?, size(parts)?, 1),
        block_dim: (32, 8, 1),
        shared_mem_bytes: 0,
    };
    let sums = made([x], (parts, width), |[x]| {
        let device = x.0.device();
        let (x, count, columns, part) = (view::<f32>(x)?, rows as u64, size(width)?, PART as u32);
        // SAFETY: the kernel writes all of it.
        let mut sums = unsafe { room::<f32>(device, parts * width) }?;
        // SAFETY: x has rows * width elements, and sums a row for each part.
        unsafe { launch!(device, "column_sums", config, &count, &columns, &part, &x, &mut sums) };
        Ok(CudaStorage::wrap_cuda_slice(sums, device.clone()))
    })?;
    if parts == 1 { sums.reshape(width) } else { column_sums(&sums) }
}
