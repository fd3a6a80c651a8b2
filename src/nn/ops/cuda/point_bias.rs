//! Gaussians on a map as biases of attention.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{THREADS, kernel, view};
use crate::nn::ops::point_bias::Map;

/// As [`crate::nn::ops::point_bias`] for f32, without gradient.
pub fn point_bias(x: &Tensor, heads: usize, map: &Map) -> Result<Tensor> {
    let images = x.dim(0)?;
    let extent = Tensor::from_vec(map.extent.concat(), (images, 2), x.device())?;
    let op = PointBias { heads, height: map.height, width: map.width, extra: map.extra };
    x.contiguous()?.apply_op2_no_bwd(&extent, &op)
}

struct PointBias {
    heads: usize,
    height: usize,
    width: usize,
    /// Positions behind the cells.
    extra: usize,
}

impl CustomOp2 for PointBias {
    fn name(&self) -> &'static str {
        "point bias"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("a kernel for CUDA on the CPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        extent: &CudaStorage,
        extent_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = x.device();
        let (images, queries, _) = x_layout.shape().dims3()?;
        let positions = self.height * self.width + self.extra;
        let rows = images * self.heads * queries;
        if i32::try_from(rows).is_err() || i32::try_from(positions).is_err() {
            bail!("point bias: {rows} rows of {positions} positions are more than a launch can have")
        }
        let sizes = [self.heads, queries, self.height, self.width, positions].map(|size| size as u32);
        let config =
            LaunchConfig { grid_dim: (rows as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
        let (x, extent) = (view::<f32>(x, x_layout)?, view::<f32>(extent, extent_layout)?);
        // SAFETY: the kernel writes every element and reads none.
        let mut y = unsafe { device.alloc::<f32>(rows * positions) }?;
        let (function, stream) = (kernel(device, "point_bias")?, device.cuda_stream());
        let mut launch = stream.launch_builder(&function);
        for size in &sizes {
            launch.arg(size);
        }
        launch.arg(&x).arg(&extent).arg(&mut y);
        // SAFETY: the arguments are the kernel's; `ops::point_bias` has compared the sizes.
        unsafe { launch.launch(config) }.w()?;
        let y = CudaStorage::wrap_cuda_slice(y, device.clone());
        Ok((y, (images, self.heads, queries, positions).into()))
    }
}
