//! From tensors to slices and back, and scratch memory.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use candle_core::{CpuStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};

/// Whether our own f32 kernels apply; [`has_kernels`] says where those of CUDA do, too.
pub fn is_f32_on_cpu(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// Whether our operations have kernels for these tensors: all f32, and all on the CPU or all on CUDA.
pub fn has_kernels<const N: usize>(tensors: [&Tensor; N]) -> bool {
    let there =
        |tensor: &Tensor| cfg!(feature = "cuda") && tensor.device().is_cuda() && tensor.dtype() == DType::F32;
    tensors.iter().all(|tensor| is_f32_on_cpu(tensor)) || tensors.iter().all(|tensor| there(tensor))
}

/// The elements of a contiguous f32 tensor on the CPU.
pub fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor of shape {:?}", layout.shape())
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Calls `f` with the elements of f32 tensors on the CPU, copied first where not contiguous.
pub fn read<const N: usize, R>(tensors: [&Tensor; N], f: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let tensors = tensors.iter().map(|tensor| tensor.contiguous()).collect::<Result<Vec<_>>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [&[][..]; N];
    for (to, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *to = match &**storage {
            Storage::Cpu(cpu) => slice(cpu, layout)?,
            _ => bail!("expected tensors on the CPU"),
        };
    }
    Ok(f(slices))
}

/// A tensor of these elements on the device of `like`.
pub fn tensor(data: Vec<f32>, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(data, shape.into(), like.device())
}

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` numbers of scratch memory, of any content. The memory is kept by the thread
/// for the next call. Calls may nest, also by a thread that steals work while it waits.
pub fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = f(&mut buffer[..len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}

/// Memory that several threads write to, each its own parts.
pub struct Shared<'a> {
    data: *mut f32,
    len: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a mutable borrow that is handed out in parts.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    /// What is there may be anything until it is written.
    ///
    /// # Safety
    /// Nobody else uses this part at the same time.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "parts are disjoint")]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "a part exceeds the memory");
        // SAFETY: the range lies inside, and the caller keeps parts apart.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(range.start), range.len()) }
    }
}

/// `len` numbers that `write` writes, without clearing them first.
///
/// # Safety
/// `write` writes all of them.
pub unsafe fn written(len: usize, write: impl FnOnce(&Shared)) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(len);
    if cfg!(test) {
        // What stays unwritten shows.
        numbers.resize(len, f32::NAN);
    }
    write(&Shared { data: numbers.as_mut_ptr(), len, borrow: PhantomData });
    // SAFETY: there is room for as many, and all were written.
    unsafe { numbers.set_len(len) };
    numbers
}
