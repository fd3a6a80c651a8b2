//! What the machine can do and what the process has used.

use std::fs;
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor};

/// Floating-point operations a second in products of square matrices, 1 536 a side on a CPU and 8 192 on a GPU, the
/// best of five.
///
/// # Errors
/// Where the device has no products of this type.
pub fn matrix_rate(device: &Device, dtype: DType) -> Result<f64> {
    let size = if device.is_cpu() { 1536 } else { 8192 };
    let a = Tensor::rand(-1f32, 1f32, (size, size), device)?.to_dtype(dtype)?;
    let mut best = f64::INFINITY;
    for _ in 0..6 {
        let started = Instant::now();
        let product = a.matmul(&a)?;
        device.synchronize()?;
        best = best.min(started.elapsed().as_secs_f64());
        drop(product);
    }
    Ok(2.0 * (size as f64).powi(3) / best)
}

/// The most memory this process has had, in bytes, where the system tells (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Processor time of all threads so far, in seconds, where the system tells (Linux): on a busy machine it
/// says more than the clock.
pub fn cpu_seconds() -> Option<f64> {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Some(ticks.iter().sum::<u64>() as f64 / TICKS_A_SECOND)
}

/// Processor time of this thread so far, in seconds, where the system tells (Linux).
pub(super) fn thread_cpu_seconds() -> Option<f64> {
    let spent = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    spent.split(' ').next()?.parse::<u64>().ok().map(|nanoseconds| nanoseconds as f64 / 1e9)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_was_used() {
        let before = (cpu_seconds().unwrap(), thread_cpu_seconds().unwrap());
        assert!(matrix_rate(&Device::Cpu, DType::F32).unwrap() > 1e6);
        assert!(cpu_seconds().unwrap() >= before.0 && thread_cpu_seconds().unwrap() >= before.1);
        assert!(peak_memory().unwrap() > 1 << 20);
    }
}
