//! From operands to launches of kernels and back to tensors.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaView, CudaViewMut, DeviceRepr, LaunchConfig,
};
use candle_core::cuda_backend::cudarc::nvrtc::compile_ptx;
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Error, Layout, Result, Shape, Storage, Tensor, bail};

const SOURCE: &str = concat!(
    include_str!("kernels/common.cu"),
    include_str!("kernels/pointwise.cu"),
    include_str!("kernels/channels.cu"),
    include_str!("kernels/channels_last.cu"),
    include_str!("kernels/rows.cu"),
    include_str!("kernels/recurrent.cu"),
    include_str!("kernels/point_bias.cu"),
    include_str!("kernels/update.cu"),
);
/// Threads of a block: whole warps, and no more than `block_sum` has room for.
pub const THREADS: u32 = 256;
/// More blocks than any card runs at once; kernels that go element by element take strides.
const MOST_BLOCKS: u64 = 1 << 14;

/// All kernels as PTX, compiled once a process.
pub fn ptx() -> Result<&'static str> {
    static PTX: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compiled = PTX.get_or_init(|| match compile_ptx(SOURCE) {
        Ok(ptx) => Ok(for_old_drivers(&ptx.to_src())),
        Err(error) => Err(format!("NVRTC can't compile the kernels: {error:?}")),
    });
    compiled.as_deref().map_err(|error| Error::Msg(error.clone()))
}

/// PTX of NVRTC's version, which may be newer than what the driver reads (PyTorch's wheels bring their own), with an old
/// version's number: nothing newer is used.
fn for_old_drivers(ptx: &str) -> String {
    const VERSION: &str = ".version ";
    let lines = ptx.lines().map(|line| if line.starts_with(VERSION) { ".version 7.0" } else { line });
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The kernel of this name.
pub fn kernel(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
    Ok(device.get_or_load_custom_func(name, "partial_res", ptx()?)?.into_cuda_function())
}

/// Launches a kernel on the device's stream. Unsafe, as what is called: the arguments must be the kernel's, and
/// the views as long as it takes them to be.
macro_rules! launch {
    ($device:expr, $name:expr, $config:expr, $($argument:expr),+ $(,)?) => {{
        use candle_core::cuda_backend::WrapErr;
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let device: &candle_core::CudaDevice = $device;
        let (function, stream) = ($crate::nn::ops::cuda::launch::kernel(device, $name)?, device.cuda_stream());
        let mut launch = stream.launch_builder(&function);
        $(launch.arg($argument);)+
        launch.launch($config).w()?;
    }};
}
pub(super) use launch;

/// A launch over `n` elements.
pub fn over(n: usize) -> LaunchConfig {
    let blocks = (n as u64).div_ceil(u64::from(THREADS)).clamp(1, MOST_BLOCKS) as u32;
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// A launch of as many blocks as `n`.
pub fn blocks(n: usize) -> Result<LaunchConfig> {
    match i32::try_from(n) {
        Ok(n) => {
            Ok(LaunchConfig { grid_dim: (n as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 })
        }
        Err(_) => bail!("{n} blocks are more than a launch can have"),
    }
}

/// A launch of a warp to each of `n` rows.
pub fn warps(n: usize) -> Result<LaunchConfig> {
    blocks(n.div_ceil(THREADS as usize / 32).max(1))
}

/// A size as kernels take it.
pub fn size(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::Msg(format!("{n} is a larger size than kernels take")))
}

/// That there are as many elements as a kernel takes there to be.
pub fn demand(elements: usize, found: usize) -> Result<()> {
    if found != elements {
        bail!("a kernel for {elements} elements with {found}")
    }
    Ok(())
}

/// A tensor as an operation is given it.
pub type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// The elements of a contiguous operand.
pub fn view<'a, T: CudaDType>((storage, layout): Operand<'a>) -> Result<CudaView<'a, T>> {
    let span = span(layout)?;
    Ok(storage.as_cuda_slice::<T>()?.slice(span))
}

/// The elements of contiguous operands in f32.
pub fn views<const N: usize>(operands: [Operand; N]) -> Result<[CudaView<f32>; N]> {
    let views = operands.into_iter().map(view::<f32>).collect::<Result<Vec<_>>>()?;
    Ok(<[CudaView<f32>; N]>::try_from(views).expect("a view for each operand"))
}

/// The elements of a contiguous tensor, to be changed.
pub fn view_mut<'a, T: CudaDType>(
    storage: &'a mut CudaStorage,
    layout: &Layout,
) -> Result<CudaViewMut<'a, T>> {
    let span = span(layout)?;
    Ok(storage.as_cuda_slice_mut::<T>()?.slice_mut(span))
}

fn span(layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("expected a contiguous tensor of shape {:?}", layout.shape()),
    }
}

/// Memory for `n` elements of any content.
///
/// # Safety
/// What is launched next writes all of it before any is read.
pub unsafe fn room<T: DeviceRepr>(device: &CudaDevice, n: usize) -> Result<CudaSlice<T>> {
    // SAFETY: as above. CUDA has no allocations of none.
    unsafe { device.alloc::<T>(n.max(1)) }
}

/// What a tensor on CUDA holds.
pub fn on_cuda(storage: &Storage) -> Result<&CudaStorage> {
    match storage {
        Storage::Cuda(storage) => Ok(storage),
        _ => bail!("expected tensors on CUDA"),
    }
}

/// Calls `f` with tensors on CUDA, made contiguous; the tensor of `shape` that it makes has no gradient.
pub fn made<const N: usize>(
    tensors: [&Tensor; N],
    shape: impl Into<Shape>,
    f: impl FnOnce([Operand; N]) -> Result<CudaStorage>,
) -> Result<Tensor> {
    let tensors = tensors.iter().map(|tensor| tensor.detach().contiguous()).collect::<Result<Vec<_>>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let operands = guards
        .iter()
        .map(|(storage, layout)| Ok((on_cuda(storage)?, *layout)))
        .collect::<Result<Vec<Operand>>>()?;
    let operands = <[Operand; N]>::try_from(operands).expect("an operand for each tensor");
    Ok(Tensor::from_storage(Storage::Cuda(f(operands)?), shape, BackpropOp::none(), false))
}

/// The matrix products `[batch, m, n]` of `[batch, m, k]` and `[batch, k, n]`.
pub fn product(a: Operand, b: Operand) -> Result<CudaStorage> {
    let (&[batch, m, k], &[b_batch, b_k, n]) = (a.1.dims(), b.1.dims()) else {
        bail!("a product of {:?} and {:?}", a.1.shape(), b.1.shape())
    };
    if (b_batch, b_k) != (batch, k) {
        bail!("a product of {:?} and {:?}", a.1.shape(), b.1.shape())
    }
    a.0.matmul(b.0, (batch, m, n, k), a.1, b.1)
}
