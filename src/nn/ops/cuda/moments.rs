//! Statistics of the channels of a batch of images.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType, bail,
};
use half::bf16;

use super::{THREADS, kernel, view};

/// The means and the biased variances `[c]` in f32 of the channels of `x` `[n, c, ...]` in f32 or bf16, without
/// gradient. Planes are joined by their means and squares (Chan et al. 1983), so that nothing cancels.
pub fn moments(x: &Tensor) -> Result<[Tensor; 2]> {
    let (n, c) = (x.dim(0)?, x.dim(1)?);
    let plane = x.dims()[2..].iter().product::<usize>() as f64;
    let planes = x.detach().contiguous()?.apply_op1_no_bwd(&PlaneMoments)?.reshape((n, c, 2))?;
    let (means, squares) = (planes.narrow(2, 0, 1)?.squeeze(2)?, planes.narrow(2, 1, 1)?.squeeze(2)?);
    let mean = means.mean(0)?;
    let between = (means.broadcast_sub(&mean)?.sqr()?.sum(0)? * plane)?;
    let variance = ((squares.sum(0)? + between)? / (n as f64 * plane))?;
    Ok([mean, variance])
}

/// `[planes, 2]`: the mean and the sum of squared distances from it.
struct PlaneMoments;

impl PlaneMoments {
    fn run<T: WithDType + CudaDType + DeviceRepr>(
        name: &str,
        x: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = x.device();
        let dims = layout.dims();
        let (planes, plane) = (dims[0] * dims[1], dims[2..].iter().product::<usize>());
        let (Ok(blocks), Ok(plane)) = (i32::try_from(planes), u32::try_from(plane)) else {
            bail!("{planes} planes of {plane} elements are more than a launch can have")
        };
        let config =
            LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
        let x = view::<T>(x, layout)?;
        // SAFETY: the kernel writes every element and reads none.
        let mut moments = unsafe { device.alloc::<f32>(2 * planes) }?;
        let function = kernel(device, name)?;
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch.arg(&plane).arg(&x).arg(&mut moments);
        // SAFETY: the arguments are the kernel's, and the views as long as it takes them to be.
        unsafe { launch.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(moments, device.clone()), (planes, 2).into()))
    }
}

impl CustomOp1 for PlaneMoments {
    fn name(&self) -> &'static str {
        "moments of planes"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("a kernel for CUDA on the CPU")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match x.dtype() {
            DType::F32 => Self::run::<f32>("plane_moments_f32", x, layout),
            DType::BF16 => Self::run::<bf16>("plane_moments_bf16", x, layout),
            other => bail!("no kernel for {other:?}"),
        }
    }
}
