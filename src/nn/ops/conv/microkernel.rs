//! Sums over channels that stay in registers.

use super::transforms::LANES;

/// Outputs of a block.
pub const OUTPUTS: usize = 8;
/// Tiles of a bundle: two groups.
pub const BUNDLE: usize = 2 * LANES;

/// The sums of a block's outputs over one bundle, or its first group.
pub type Sums = [[f32; BUNDLE]; OUTPUTS];

/// `sums[o][tile] = sum_c kernels[c][o] inputs[c][tile]`, for the first group only where the second is empty.
/// With fused multiply-add where the processor has it, as in `gemm`.
pub fn products(kernels: &[[f32; OUTPUTS]], inputs: &[[f32; BUNDLE]], half: bool, sums: &mut Sums) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512(kernels: &[[f32; OUTPUTS]], inputs: &[[f32; BUNDLE]], half: bool, sums: &mut Sums) {
            if half {
                add_up_avx512::<1>(kernels, inputs, sums);
            } else {
                add_up_avx512::<2>(kernels, inputs, sums);
            }
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(kernels: &[[f32; OUTPUTS]], inputs: &[[f32; BUNDLE]], half: bool, sums: &mut Sums) {
            add_up::<4, 1, true>(kernels, inputs, sums);
            if !half {
                add_up::<4, 2, true>(kernels, inputs, sums);
            }
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has every feature that the function was compiled for.
            return unsafe { avx512(kernels, inputs, half, sums) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { avx2(kernels, inputs, half, sums) };
        }
    }
    add_up::<4, 1, false>(kernels, inputs, sums);
}

/// `ROWS` outputs by `GROUPS` groups at a time.
#[inline(always)]
fn add_up<const ROWS: usize, const GROUPS: usize, const FUSED: bool>(
    kernels: &[[f32; OUTPUTS]],
    inputs: &[[f32; BUNDLE]],
    sums: &mut Sums,
) {
    for first in (0..OUTPUTS).step_by(ROWS) {
        let mut totals = [[[0f32; LANES]; GROUPS]; ROWS];
        for (kernel, input) in kernels.iter().zip(inputs) {
            let (input, _) = input.as_chunks::<LANES>();
            for row in 0..ROWS {
                let kernel = kernel[first + row];
                for group in 0..GROUPS {
                    for lane in 0..LANES {
                        let total = &mut totals[row][group][lane];
                        *total = if FUSED {
                            kernel.mul_add(input[group][lane], *total)
                        } else {
                            *total + kernel * input[group][lane]
                        };
                    }
                }
            }
        }
        for (sums, totals) in sums[first..first + ROWS].iter_mut().zip(&totals) {
            sums[..GROUPS * LANES].copy_from_slice(totals.as_flattened());
        }
    }
}

/// All outputs of a block by `GROUPS` groups; written out, since loops of this size are not unrolled.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn add_up_avx512<const GROUPS: usize>(kernels: &[[f32; OUTPUTS]], inputs: &[[f32; BUNDLE]], sums: &mut Sums) {
    use std::arch::x86_64::{
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };
    let mut totals = [[_mm512_setzero_ps(); GROUPS]; OUTPUTS];
    for (kernel, input) in kernels.iter().zip(inputs) {
        let (input, _) = input.as_chunks::<LANES>();
        // SAFETY: each group is sixteen numbers.
        let input: [_; GROUPS] =
            std::array::from_fn(|group| unsafe { _mm512_loadu_ps(input[group].as_ptr()) });
        for row in 0..OUTPUTS {
            let kernel = _mm512_set1_ps(kernel[row]);
            for group in 0..GROUPS {
                totals[row][group] = _mm512_fmadd_ps(kernel, input[group], totals[row][group]);
            }
        }
    }
    for (sums, totals) in sums.iter_mut().zip(totals) {
        let (sums, _) = sums.as_chunks_mut::<LANES>();
        for (sums, total) in sums.iter_mut().zip(totals) {
            // SAFETY: each group is sixteen numbers.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), total) };
        }
    }
}
