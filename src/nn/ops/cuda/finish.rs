//! What comes behind a convolution.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, WithDType, bail,
};
use half::bf16;

use super::{THREADS, kernel, view};

/// `leaky(scale x + shift)` with `scale` and `shift` `[c]` in f32 for `x` `[n, c, ...]`, in the type of `x` (f32 or
/// bf16); computed in f32, without gradient.
pub fn finish(x: &Tensor, scale: &Tensor, shift: &Tensor, slope: f32) -> Result<Tensor> {
    let channels = x.dim(1)?;
    if scale.dims() != [channels] || shift.dims() != [channels] {
        bail!("{:?} scales and {:?} shifts for {channels} channels", scale.shape(), shift.shape())
    }
    x.contiguous()?.apply_op3_no_bwd(&scale.contiguous()?, &shift.contiguous()?, &Finish { slope })
}

struct Finish {
    slope: f32,
}

impl Finish {
    fn run<T: WithDType + CudaDType + DeviceRepr>(
        &self,
        name: &str,
        [x, scale, shift]: [(&CudaStorage, &Layout); 3],
    ) -> Result<CudaStorage> {
        let device = x.0.device();
        let dims = x.1.dims();
        let (planes, plane) = (dims[0] * dims[1], dims[2..].iter().product::<usize>());
        let (Ok(blocks), Ok(plane)) = (i32::try_from(planes), u32::try_from(plane)) else {
            bail!("{planes} planes of {plane} elements are more than a launch can have")
        };
        let channels = dims[1] as u32;
        // Large planes are shared by several blocks, so that few of them fill a card, too.
        let parts = plane.div_ceil(32 * THREADS).clamp(1, 1 << 15);
        let config = LaunchConfig {
            grid_dim: (blocks as u32, parts, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let (x, scale, shift) =
            (view::<T>(x.0, x.1)?, view::<f32>(scale.0, scale.1)?, view::<f32>(shift.0, shift.1)?);
        // SAFETY: the kernel writes every element and reads none.
        let mut y = unsafe { device.alloc::<T>(planes * plane as usize) }?;
        let function = kernel(device, name)?;
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&function);
        launch.arg(&plane).arg(&channels).arg(&self.slope).arg(&x).arg(&scale).arg(&shift).arg(&mut y);
        // SAFETY: the arguments are the kernel's, and the views as long as it takes them to be.
        unsafe { launch.launch(config) }.w()?;
        Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
    }
}

impl CustomOp3 for Finish {
    fn name(&self) -> &'static str {
        "scale, shift and leaky relu"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("a kernel for CUDA on the CPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        scale: &CudaStorage,
        scale_layout: &Layout,
        shift: &CudaStorage,
        shift_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let all = [(x, x_layout), (scale, scale_layout), (shift, shift_layout)];
        let y = match x.dtype() {
            DType::F32 => self.run::<f32>("finish_f32", all)?,
            DType::BF16 => self.run::<bf16>("finish_bf16", all)?,
            other => bail!("no kernel for {other:?}"),
        };
        Ok((y, x_layout.shape().clone()))
    }
}
