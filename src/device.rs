//! Where the arithmetic runs.

use std::str::FromStr;

use candle_core::Device;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::cudarc;
use thiserror::Error;

/// `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if there is one that this build can use, else the CPU.
    Auto,
    Cpu,
    /// This one; without a number the first, or of several processes on a machine each its own.
    Cuda(Option<usize>),
}

#[derive(Debug, Error)]
pub enum DeviceError {
    #[error("unknown device `{0}`: expected auto, cpu, cuda or cuda:N")]
    Unknown(String),
    #[error(
        "this build has no CUDA; build it with `cargo build --release --features cuda`, or use --device cpu"
    )]
    NotBuilt,
    #[error(
        "cannot open CUDA device {ordinal}: {source}; `nvidia-smi` lists the devices, --device cpu works without"
    )]
    Open { ordinal: usize, source: candle_core::Error },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.into());
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(None)),
            Some(("cuda", ordinal)) => ordinal.parse().map(Some).map(Self::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl DeviceChoice {
    /// Opens the device and says in a few words what it is. `own` is this process's number on its machine, which
    /// chooses the GPU when none is named.
    ///
    /// # Errors
    /// CUDA asked for but not built in, or no such GPU.
    pub fn open(self, own: usize) -> Result<(Device, String), DeviceError> {
        let cpu = || (Device::Cpu, format!("CPU, {} threads", rayon::current_num_threads()));
        match self {
            Self::Cpu => Ok(cpu()),
            Self::Auto if !candle_core::utils::cuda_is_available() => Ok(cpu()),
            Self::Auto => Ok(open_cuda(visible(own)).unwrap_or_else(|reason| {
                let ((device, name), reason) = (cpu(), reason.to_string());
                // Behind the first line candle writes a backtrace, where RUST_BACKTRACE asks for one.
                (device, format!("{name} (no CUDA: {})", reason.lines().next().unwrap_or_default()))
            })),
            Self::Cuda(_) if !candle_core::utils::cuda_is_available() => Err(DeviceError::NotBuilt),
            Self::Cuda(ordinal) => {
                let ordinal = ordinal.unwrap_or_else(|| visible(own));
                open_cuda(ordinal).map_err(|source| DeviceError::Open { ordinal, source })
            }
        }
    }
}

/// The ordinal of the GPU for this machine's process number `own`: launchers may show each process its own GPU only,
/// which then has ordinal 0, and where they tell no number of the machine it is the number among all processes.
fn visible(own: usize) -> usize {
    #[cfg(feature = "cuda")]
    // Where there is none, opening it says why.
    if let Ok(count @ 1..) = cudarc::driver::CudaContext::device_count() {
        return own % count as usize;
    }
    own
}

fn open_cuda(ordinal: usize) -> candle_core::Result<(Device, String)> {
    let device = Device::new_cuda(ordinal)?;
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = &device {
        // SAFETY: all work for the device is done by one thread on its one stream, in the order of the calls, so that
        // nothing has to wait for events; two of them would be made for every tensor.
        unsafe { cuda.disable_event_tracking() };
        keep_freed_memory_of(cuda);
    }
    Ok((device, format!("CUDA device {ordinal}")))
}

/// Keeps freed memory in the device's pool; by default the pool gives it back at every synchronisation, of which each
/// step has some. A device without pools is left as it is: it takes and frees memory one by one.
#[cfg(feature = "cuda")]
fn keep_freed_memory_of(device: &candle_core::CudaDevice) {
    use cudarc::driver::{result, sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD};

    let stream = device.cuda_stream();
    let mut bytes = u64::MAX;
    // SAFETY: the context is open, so its device is one; this attribute's value is 64 bits without sign.
    let _without_pools = unsafe {
        result::device::get_default_mem_pool(stream.context().cu_device()).and_then(|pool| {
            let value = (&raw mut bytes).cast();
            result::mem_pool::set_attribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, value)
        })
    };
}

/// Whether something failed for want of memory on a GPU: CUDA's allocator says so, or that of a library. Candle keeps
/// their errors as text.
pub fn is_out_of_memory(error: &(dyn std::error::Error + 'static)) -> bool {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .any(|said| said.contains("_OUT_OF_MEMORY") || said.contains("_ALLOC_FAILED"))
}

/// Keeps freed memory for the next tensor in place of giving it back to the system, for the rest of the process.
///
/// A network frees and takes hundreds of megabytes in every step, and fresh memory costs a page fault for each
/// 4 KiB: a tenth of the time of an evaluation at 640 pixels. With glibc only; others decide for themselves.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: these set limits of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!("cuda:2".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(Some(2)));
        assert!("cuda:x".parse::<DeviceChoice>().unwrap_err().to_string().contains("cuda:N"));
        assert!("gpu".parse::<DeviceChoice>().is_err());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_that_is_not_built_in_says_how_to_build_it() {
        let text = DeviceChoice::Cuda(None).open(0).unwrap_err().to_string();
        assert!(text.contains("--features cuda"), "{text}");
    }

    #[cfg(feature = "cuda")]
    #[test]
    #[ignore = "needs a GPU"]
    fn cuda_has_not_so_much_memory() {
        let (device, _) = DeviceChoice::Cuda(None).open(0).unwrap();
        let zeros = |n: usize| candle_core::Tensor::zeros(n, candle_core::DType::U8, &device);
        let error = DeviceError::Open { ordinal: 0, source: zeros(1 << 45).unwrap_err() };
        assert!(is_out_of_memory(&error), "{error}");
        let error = (zeros(2).unwrap() + zeros(3).unwrap()).unwrap_err();
        assert!(!is_out_of_memory(&error), "{error}");
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn without_cuda_auto_says_why() {
        let (device, name) = DeviceChoice::Auto.open(0).unwrap();
        assert_eq!(device.is_cpu(), name.contains("(no CUDA: "), "{name}");
    }
}
