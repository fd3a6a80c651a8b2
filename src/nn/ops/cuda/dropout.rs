//! Dropout with the draws of the CPU's.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Result};

use super::launch::{Operand, launch, over, room, view};
use crate::random::Stream;

/// Zeroes the elements of a contiguous f32 tensor that `stream` draws below `dropped` (of 2^32), a draw for two, and
/// scales the others.
pub fn dropout(x: Operand, stream: &Stream, dropped: u64, scale: f32) -> Result<CudaStorage> {
    let (n, [key, counter]) = (x.1.shape().elem_count(), stream.position());
    let (device, x, count) = (x.0.device(), view::<f32>(x)?, n as u64);
    // SAFETY: the kernel writes all of it.
    let mut y = unsafe { room::<f32>(device, n) }?;
    // SAFETY: x and y have n elements.
    unsafe { launch!(device, "dropout", over(n), &count, &key, &counter, &dropped, &scale, &x, &mut y) };
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}
