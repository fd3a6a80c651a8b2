//! Dropout with the draws of the CPU's.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{CudaStorage, Layout, Result};

use super::{kernel, over, view};
use crate::random::Stream;

/// Zeroes the elements of a contiguous f32 tensor that `stream` draws below `dropped` (of 2^32), a draw for two, and
/// scales the others.
pub fn dropout(
    x: &CudaStorage,
    layout: &Layout,
    stream: &Stream,
    dropped: u64,
    scale: f32,
) -> Result<CudaStorage> {
    let device = x.device();
    let (n, [key, counter]) = (layout.shape().elem_count(), stream.position());
    let x = view::<f32>(x, layout)?;
    // SAFETY: the kernel writes every element and reads none.
    let mut y = unsafe { device.alloc::<f32>(n) }?;
    let (function, stream, count) = (kernel(device, "dropout")?, device.cuda_stream(), n as u64);
    let mut launch = stream.launch_builder(&function);
    launch.arg(&count).arg(&key).arg(&counter).arg(&dropped).arg(&scale).arg(&x).arg(&mut y);
    // SAFETY: the arguments are the kernel's, and the views have `n` elements.
    unsafe { launch.launch(over(n)) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}
