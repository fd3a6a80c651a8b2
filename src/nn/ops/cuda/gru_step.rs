//! The gates of a recurrent unit.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{kernel, over, view};

/// The states `[rows, hidden]` after word `t`, of `gates` `[rows, words, 3 hidden]` of the words and, of the states
/// `h` before, `recurrent` `[rows, 3 hidden]`. For f32, without gradient.
pub fn gru_step(gates: &Tensor, recurrent: &Tensor, h: &Tensor, t: usize) -> Result<Tensor> {
    let ((rows, words, width), (states, hidden)) = (gates.dims3()?, h.dims2()?);
    if width != 3 * hidden || recurrent.dims() != [rows, width] || states != rows || t >= words {
        bail!("gru: word {t} of {:?}, {:?}, {:?}", gates.shape(), recurrent.shape(), h.shape())
    }
    if i32::try_from(gates.elem_count()).is_err() {
        bail!("gru: gates {:?} are more than a launch can have", gates.shape())
    }
    gates.contiguous()?.apply_op3_no_bwd(&recurrent.contiguous()?, &h.contiguous()?, &GruStep { t })
}

struct GruStep {
    t: usize,
}

impl CustomOp3 for GruStep {
    fn name(&self) -> &'static str {
        "gru step"
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
        gates: &CudaStorage,
        gates_layout: &Layout,
        recurrent: &CudaStorage,
        recurrent_layout: &Layout,
        h: &CudaStorage,
        h_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let device = gates.device();
        let (n, words, hidden) =
            (h_layout.shape().elem_count(), gates_layout.dims()[1] as u32, h_layout.dims()[1] as u32);
        let gates = view::<f32>(gates, gates_layout)?;
        let recurrent = view::<f32>(recurrent, recurrent_layout)?;
        let h = view::<f32>(h, h_layout)?;
        // SAFETY: the kernel writes every element and reads none.
        let mut next = unsafe { device.alloc::<f32>(n) }?;
        let (function, stream) = (kernel(device, "gru_step")?, device.cuda_stream());
        let (count, t) = (n as u64, self.t as u32);
        let mut launch = stream.launch_builder(&function);
        launch.arg(&count).arg(&hidden).arg(&words).arg(&t);
        launch.arg(&gates).arg(&recurrent).arg(&h).arg(&mut next);
        // SAFETY: the arguments are the kernel's, and `gru_step` has compared the sizes.
        unsafe { launch.launch(over(n)) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(next, device.clone()), h_layout.shape().clone()))
    }
}
