//! Changes of parameters and averages in place, and sums over gradients: many tensors in one launch.

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Result, Storage, Tensor, bail};

use super::launch::{blocks, demand, launch, on_cuda, over, room, size, view, views};

/// Elements that one block takes; `CHUNK` of the kernels.
const CHUNK: usize = 1 << 14;

/// The scalars of Adam that all parameters share.
#[derive(Clone, Copy, Debug)]
pub struct AdamRule {
    pub amsgrad: bool,
    /// Of the gradient, before it is used.
    pub scale: f32,
    pub weight_decay: f32,
    pub betas: [f32; 2],
    pub eps: f32,
}

/// One parameter's update, of n elements each; all f32, contiguous.
pub struct AdamUpdate<'a> {
    pub gradient: &'a Tensor,
    pub parameter: &'a Tensor,
    /// `[2 or 3, n]`: first and second moments, with amsgrad the largest second ones.
    pub moments: &'a Tensor,
    pub step_size: f32,
    pub root_correction: f32,
}

/// Where a tensor's elements lie, which are contiguous. The kernels that are given it change what they are said to
/// change; one thread does all work for the device, on one stream, so nobody reads it meanwhile.
fn address<T: CudaDType>(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let view = view::<T>((on_cuda(&storage)?, layout))?;
    let stream = tensor.device().as_cuda_device()?.cuda_stream();
    let (address, _) = view.device_ptr(&stream);
    Ok(address)
}

/// What a launch over many tensors is told: `Entry` of the kernels.
struct Entries {
    words: Vec<u64>,
    blocks: usize,
}

impl Entries {
    /// Numbers of 64 bits of an entry.
    const WORDS: usize = 6;

    fn new() -> Self {
        Self { words: Vec::new(), blocks: 0 }
    }

    /// Adds a tensor of n elements, two numbers and what belongs to it; what is empty needs no blocks.
    fn push(&mut self, n: usize, numbers: [f32; 2], of: [u64; 3]) {
        if n > 0 {
            let [low, high] = numbers.map(|number| u64::from(number.to_bits()));
            self.words.extend([self.blocks as u64, n as u64, low | high << 32]);
            self.words.extend(of);
            self.blocks += n.div_ceil(CHUNK);
        }
    }

    fn on(&self, device: &CudaDevice) -> Result<(u32, CudaSlice<u64>)> {
        Ok((size(self.words.len() / Self::WORDS)?, device.clone_htod(&self.words)?))
    }
}

/// Advances the moments by the gradients, and the parameters by the moments.
pub fn adam(rule: &AdamRule, updates: &[AdamUpdate]) -> Result<()> {
    let mut entries = Entries::new();
    for AdamUpdate { gradient, parameter, moments, step_size, root_correction } in updates {
        let n = parameter.elem_count();
        demand(n, gradient.elem_count())?;
        demand(n * if rule.amsgrad { 3 } else { 2 }, moments.elem_count())?;
        let of = [gradient, parameter, moments].map(|tensor| address::<f32>(tensor));
        let [gradient, parameter, moments] = of;
        entries.push(n, [*step_size, *root_correction], [gradient?, parameter?, moments?]);
    }
    let Some(first) = updates.first().filter(|_| entries.blocks > 0) else { return Ok(()) };
    let device = first.parameter.device().as_cuda_device()?;
    let ((count, table), [beta1, beta2]) = (entries.on(device)?, rule.betas);
    let AdamRule { scale, weight_decay, eps, .. } = rule;
    let (config, amsgrad) = (blocks(entries.blocks)?, u32::from(rule.amsgrad));
    // SAFETY: the sizes were compared, and the tensors live until after the launch.
    unsafe {
        launch!(device, "adam", config, &count, &table, &amsgrad, scale, weight_decay, &beta1, &beta2, eps)
    };
    Ok(())
}

/// average <- keep average + take value, for pairs of an average and a value of equally many elements; all f32,
/// contiguous.
pub fn blend([keep, take]: [f32; 2], pairs: &[(&Tensor, &Tensor)]) -> Result<()> {
    let mut entries = Entries::new();
    for (average, value) in pairs {
        demand(average.elem_count(), value.elem_count())?;
        entries.push(average.elem_count(), [0.0; 2], [address::<f32>(value)?, address::<f32>(average)?, 0]);
    }
    let Some((first, _)) = pairs.first().filter(|_| entries.blocks > 0) else { return Ok(()) };
    let device = first.device().as_cuda_device()?;
    let (config, (count, table)) = (blocks(entries.blocks)?, entries.on(device)?);
    // SAFETY: the sizes were compared, and the tensors live until after the launch.
    unsafe { launch!(device, "blend", config, &count, &table, &keep, &take) };
    Ok(())
}

/// The sums of the squares of parts of contiguous f32 tensors, of all in one.
pub fn square_sums(tensors: &[&Tensor]) -> Result<Tensor> {
    let mut entries = Entries::new();
    for tensor in tensors {
        entries.push(tensor.elem_count(), [0.0; 2], [address::<f32>(tensor)?, 0, 0]);
    }
    let Some(first) = tensors.first().filter(|_| entries.blocks > 0) else { bail!("no numbers to sum") };
    let device = first.device().as_cuda_device()?;
    // SAFETY: the kernel writes all of it.
    let mut sums = unsafe { room::<f32>(device, entries.blocks) }?;
    let (config, (count, table)) = (blocks(entries.blocks)?, entries.on(device)?);
    // SAFETY: there is a sum for each block, and the tensors live until after the launch.
    unsafe { launch!(device, "square_sums", config, &count, &table, &mut sums) };
    let sums = Storage::Cuda(CudaStorage::wrap_cuda_slice(sums, device.clone()));
    Ok(Tensor::from_storage(sums, entries.blocks, BackpropOp::none(), false))
}

/// running <- keep running + take batch, for means and variances `[c]` in f32, and one batch more in the i64 counter.
pub fn keep_running(
    [mean, variance]: [&Tensor; 2],
    [running_mean, running_variance, batches]: [&Tensor; 3],
    [keep, take]: [f32; 2],
) -> Result<()> {
    let n = mean.elem_count();
    for tensor in [variance, running_mean, running_variance] {
        demand(n, tensor.elem_count())?;
    }
    demand(1, batches.elem_count())?;
    if batches.dtype() != DType::I64 {
        bail!("batches are counted in I64, not in {:?}", batches.dtype())
    }
    let device = mean.device().as_cuda_device()?;
    let guards = [mean, variance].map(Tensor::storage_and_layout);
    let [mean, variance] = &guards;
    let [mean, variance] = views([(on_cuda(&mean.0)?, mean.1), (on_cuda(&variance.0)?, variance.1)])?;
    let (running_mean, running_variance) = (address::<f32>(running_mean)?, address::<f32>(running_variance)?);
    let (batches, channels) = (address::<i64>(batches)?, size(n)?);
    // SAFETY: the sizes and types were compared, and the tensors live until after the launch.
    unsafe {
        launch!(
            device,
            "keep_running",
            over(n),
            &channels,
            &keep,
            &take,
            &mean,
            &variance,
            &running_mean,
            &running_variance,
            &batches,
        )
    };
    Ok(())
}
