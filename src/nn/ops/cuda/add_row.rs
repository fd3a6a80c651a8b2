//! A sum that candle would upload shapes for.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{kernel, over, view};

/// `x + row`, where x consists of rows of that many elements, and with `relu` no less than 0. For f32, without
/// gradient.
pub fn add_row(x: &Tensor, row: &Tensor, relu: bool) -> Result<Tensor> {
    let width = row.elem_count();
    if width == 0 || u32::try_from(width).is_err() || !x.elem_count().is_multiple_of(width) {
        bail!("can't add a row of {width} to {:?}", x.shape())
    }
    x.contiguous()?.apply_op2_no_bwd(&row.contiguous()?, &AddRow { relu })
}

struct AddRow {
    relu: bool,
}

impl CustomOp2 for AddRow {
    fn name(&self) -> &'static str {
        "add row"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("a kernel for CUDA on the CPU")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        row: &CudaStorage,
        row_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = x.device();
        let (n, width) = (x_layout.shape().elem_count(), row_layout.shape().elem_count());
        let (x, row) = (view::<f32>(x, x_layout)?, view::<f32>(row, row_layout)?);
        // SAFETY: the kernel writes every element and reads none.
        let mut y = unsafe { device.alloc::<f32>(n) }?;
        let (function, stream) = (kernel(device, "add_row")?, device.cuda_stream());
        let (count, width, relu) = (n as u64, width as u32, u32::from(self.relu));
        let mut launch = stream.launch_builder(&function);
        launch.arg(&count).arg(&width).arg(&relu).arg(&x).arg(&row).arg(&mut y);
        // SAFETY: the arguments are the kernel's, and `add_row` has compared the sizes.
        unsafe { launch.launch(over(n)) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(y, device.clone()), x_layout.shape().clone()))
    }
}
