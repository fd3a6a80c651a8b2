//! Kernels of ours on CUDA, for what candle's operations would do in many launches or not at all.

mod add_row;
mod dropout;
mod finish;
mod gru_step;
mod moments;
mod point_bias;
#[cfg(test)]
mod tests;
mod update;

use std::sync::OnceLock;

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaView, CudaViewMut, LaunchConfig};
use candle_core::cuda_backend::cudarc::nvrtc::compile_ptx;
use candle_core::{CudaDevice, CudaStorage, DType, Error, Layout, Result, Tensor, bail};

pub use self::add_row::add_row;
pub use self::dropout::dropout;
pub use self::finish::finish;
pub use self::gru_step::gru_step;
pub use self::moments::moments;
pub use self::point_bias::point_bias;
pub use self::update::{AdamRule, adam_moments, adam_parameter, blend};

const SOURCE: &str = include_str!("kernels.cu");
/// Threads of a block: whole warps, and no more than `block_sum` has room for.
const THREADS: u32 = 256;
/// More blocks than any card runs at once; kernels that go element by element take strides.
const MOST_BLOCKS: u64 = 1 << 14;

/// Whether tensors like this one are for [`finish`] and [`moments`].
pub fn is_f32_or_bf16(tensor: &Tensor) -> bool {
    tensor.device().is_cuda() && matches!(tensor.dtype(), DType::F32 | DType::BF16)
}

/// Whether this is an f32 tensor on CUDA.
pub fn is_f32(tensor: &Tensor) -> bool {
    tensor.device().is_cuda() && tensor.dtype() == DType::F32
}

/// Whether a kernel without gradients does for these f32 tensors.
pub fn are_f32_for_good<const N: usize>(tensors: [&Tensor; N]) -> bool {
    tensors.iter().all(|tensor| is_f32(tensor) && !tensor.track_op())
}

/// All kernels as PTX, compiled once a process.
fn ptx() -> Result<&'static str> {
    static PTX: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compiled = PTX.get_or_init(|| match compile_ptx(SOURCE) {
        Ok(ptx) => Ok(ptx.to_src()),
        Err(error) => Err(format!("NVRTC can't compile the kernels: {error:?}")),
    });
    compiled.as_deref().map_err(|error| Error::Msg(error.clone()))
}

/// The kernel of this name.
fn kernel(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    Ok(device.get_or_load_custom_func(name, "partial_res", ptx()?)?.into_cuda_function())
}

/// A launch over `n` elements.
fn over(n: usize) -> LaunchConfig {
    let blocks = (n as u64).div_ceil(u64::from(THREADS)).clamp(1, MOST_BLOCKS) as u32;
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// The elements of a contiguous tensor.
fn view<'a, T: CudaDType>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, T>> {
    let span = span(layout)?;
    Ok(storage.as_cuda_slice::<T>()?.slice(span))
}

/// The elements of a contiguous tensor, to be changed.
fn view_mut<'a, T: CudaDType>(storage: &'a mut CudaStorage, layout: &Layout) -> Result<CudaViewMut<'a, T>> {
    let span = span(layout)?;
    Ok(storage.as_cuda_slice_mut::<T>()?.slice_mut(span))
}

fn span(layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("expected a contiguous tensor of shape {:?}", layout.shape()),
    }
}
