//! Sums from GPU to GPU. What brought the processes together carries the identity of the group.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::nccl::result::NcclError;
use candle_core::cuda_backend::cudarc::nccl::safe::{Comm, Id, ReduceOp};
use candle_core::{CpuStorage, CudaStorage, DType, Device, InplaceOp1, Layout, Result, Tensor, bail};

use super::{ParallelError, World, buckets};

/// This process's GPU among those of all.
pub(super) struct Nccl(Comm);

// SAFETY: a communicator may be used by one thread at a time, and collective operations are called by one thread
// of a process, in the order that all processes share.
unsafe impl Send for Nccl {}
// SAFETY: as above.
unsafe impl Sync for Nccl {}

impl From<NcclError> for ParallelError {
    fn from(error: NcclError) -> Self {
        Self::Nccl(format!("{error:?}"))
    }
}

impl World {
    /// Says on which device this process computes; GPUs then sum among themselves. All processes must call it.
    ///
    /// # Errors
    /// Where some have a GPU and others none, or NCCL fails.
    pub fn compute_on(&self, device: &Device) -> std::result::Result<(), ParallelError> {
        if self.is_alone() || self.nccl.get().is_some() {
            return Ok(());
        }
        let kinds = self.share_f64(&[f64::from(u8::from(device.is_cuda()))]);
        if let Some(rank) = kinds.iter().position(|kind| *kind != kinds[0]) {
            return Err(ParallelError::OtherDevice { rank });
        }
        if !device.is_cuda() {
            return Ok(());
        }
        let own = if self.is_root() { Some(Id::new()?) } else { None };
        let bytes = own.map(|id| id.internal().map(|byte| byte as u8).to_vec()).unwrap_or_default();
        let shared = self.broadcast(bytes);
        let bytes =
            <[u8; 128]>::try_from(shared).map_err(|_| ParallelError::Nccl("an id of 128 bytes".into()))?;
        let nccl = Nccl::join(device, self.rank(), self.size(), Id::uninit(bytes.map(|byte| byte as _)))?;
        self.nccl.get_or_init(|| nccl);
        Ok(())
    }
}

impl Nccl {
    fn join(device: &Device, rank: usize, size: usize, id: Id) -> std::result::Result<Self, ParallelError> {
        let device = device.as_cuda_device().map_err(|error| ParallelError::Nccl(error.to_string()))?;
        Ok(Self(Comm::from_rank(device.cuda_stream(), rank, size, id)?))
    }

    /// Means over all processes; on the stream of the device, so that nothing waits for the CPU.
    pub fn means(&self, tensors: &[Tensor]) -> Result<Vec<Tensor>> {
        let lengths: Vec<usize> = tensors.iter().map(Tensor::elem_count).collect();
        let share = 1.0 / self.0.world_size() as f64;
        let mut means = Vec::with_capacity(tensors.len());
        for place in buckets(&lengths) {
            let flat = tensors[place.clone()].iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?;
            // A copy, also of one tensor alone: what is given stays as it is.
            let bucket = Tensor::cat(&flat, 0)?.force_contiguous()?;
            bucket.inplace_op1(&AllReduce(&self.0))?;
            let bucket = bucket.affine(share, 0.0)?;
            let mut from = 0;
            for tensor in &tensors[place] {
                means.push(bucket.narrow(0, from, tensor.elem_count())?.reshape(tensor.shape())?);
                from += tensor.elem_count();
            }
        }
        Ok(means)
    }
}

/// Replaces a tensor by the sum of those of all processes.
struct AllReduce<'a>(&'a Comm);

impl InplaceOp1 for AllReduce<'_> {
    fn name(&self) -> &'static str {
        "all-reduce"
    }

    fn cpu_fwd(&self, _: &mut CpuStorage, _: &Layout) -> Result<()> {
        bail!("NCCL sums on GPUs only")
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        if layout.contiguous_offsets() != Some((0, layout.shape().elem_count()))
            || storage.dtype() != DType::F32
        {
            bail!("NCCL needs a whole tensor of f32, not {:?} of {layout:?}", storage.dtype())
        }
        let values = storage.as_cuda_slice_mut::<f32>()?;
        self.0
            .all_reduce_in_place(values, &ReduceOp::Sum)
            .map(drop)
            .map_err(|error| candle_core::Error::wrap(ParallelError::from(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs a GPU"]
    fn one_gpu_sums_with_nobody() {
        let device = Device::new_cuda(0).expect("a GPU");
        let nccl = Nccl::join(&device, 0, 1, Id::new().expect("an id")).expect("a group");
        let tensors = [vec![1f32, 2.0, 3.0, 4.0], vec![5.0]];
        let shapes = [(2, 2), (1, 1)];
        let given: Vec<Tensor> = tensors
            .iter()
            .zip(shapes)
            .map(|(values, shape)| Tensor::from_vec(values.clone(), shape, &device).expect("a tensor"))
            .collect();
        for ((mean, values), shape) in nccl.means(&given).expect("means").iter().zip(tensors).zip(shapes) {
            assert_eq!(mean.dims2().expect("two dimensions"), shape);
            assert_eq!(mean.flatten_all().and_then(|mean| mean.to_vec1::<f32>()).expect("values"), values);
        }
    }
}
