//! Where the arithmetic runs.

use std::str::FromStr;

use candle_core::Device;
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
    /// Opens the device and says in a few words what it is. `own` is the GPU that is taken when none is named.
    ///
    /// # Errors
    /// CUDA asked for but not built in, or no such GPU.
    pub fn open(self, own: usize) -> Result<(Device, String), DeviceError> {
        let cpu = || (Device::Cpu, format!("CPU, {} threads", rayon::current_num_threads()));
        match self {
            Self::Cpu => Ok(cpu()),
            Self::Auto if !candle_core::utils::cuda_is_available() => Ok(cpu()),
            Self::Auto => Ok(open_cuda(own).unwrap_or_else(|_| cpu())),
            Self::Cuda(_) if !candle_core::utils::cuda_is_available() => Err(DeviceError::NotBuilt),
            Self::Cuda(ordinal) => open_cuda(ordinal.unwrap_or(own)),
        }
    }
}

fn open_cuda(ordinal: usize) -> Result<(Device, String), DeviceError> {
    let device = Device::new_cuda(ordinal).map_err(|source| DeviceError::Open { ordinal, source })?;
    #[cfg(feature = "cuda")]
    if let Device::Cuda(cuda) = &device {
        // SAFETY: all work for the device is done by one thread on its one stream, in the order of the calls, so that
        // nothing has to wait for events; two of them would be made for every tensor.
        unsafe { cuda.disable_event_tracking() };
    }
    Ok((device, format!("CUDA device {ordinal}")))
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
}
