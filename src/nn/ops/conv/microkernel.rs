//! Sums over channels that stay in registers.

use super::transforms::LANES;

/// Outputs of a block.
pub const OUTPUTS: usize = 8;
/// Groups of a bundle.
pub const GROUPS: usize = 2;
/// Tiles of a bundle.
pub const BUNDLE: usize = GROUPS * LANES;

/// The sums of a block's outputs over one bundle.
pub type Sums = [[f32; BUNDLE]; OUTPUTS];

/// `sums[o][tile] = sum_c kernels[c][o] inputs[c][tile]` for the tiles of the first groups. With fused
/// multiply-add where the processor has it, as in `gemm`.
pub fn products(kernels: &[[f32; OUTPUTS]], inputs: &[[f32; BUNDLE]], groups: usize, sums: &mut Sums) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has every feature that the function was compiled for.
            return unsafe { x86::avx512(kernels, inputs, groups, sums) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { x86::avx2(kernels, inputs, groups, sums) };
        }
    }
    add_up::<{ cfg!(target_arch = "aarch64") }>(kernels, inputs, groups, sums);
}

/// Four outputs by one group at a time.
#[inline(always)]
fn add_up<const FUSED: bool>(
    kernels: &[[f32; OUTPUTS]],
    inputs: &[[f32; BUNDLE]],
    groups: usize,
    sums: &mut Sums,
) {
    const ROWS: usize = 4;
    for (group, first) in (0..groups).flat_map(|group| [(group, 0), (group, ROWS)]) {
        let mut totals = [[0f32; LANES]; ROWS];
        for (kernel, input) in kernels.iter().zip(inputs) {
            let input = &input.as_chunks::<LANES>().0[group];
            for (row, totals) in totals.iter_mut().enumerate() {
                let kernel = kernel[first + row];
                for (total, &input) in totals.iter_mut().zip(input) {
                    *total = if FUSED { kernel.mul_add(input, *total) } else { *total + kernel * input };
                }
            }
        }
        for (sums, totals) in sums[first..first + ROWS].iter_mut().zip(&totals) {
            sums.as_chunks_mut::<LANES>().0[group] = *totals;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{BUNDLE, GROUPS, LANES, OUTPUTS, Sums, add_up};

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(kernels: &[[f32; OUTPUTS]], inputs: &[[f32; BUNDLE]], groups: usize, sums: &mut Sums) {
        add_up::<true>(kernels, inputs, groups, sums);
    }

    #[target_feature(enable = "avx512f")]
    pub fn avx512(kernels: &[[f32; OUTPUTS]], inputs: &[[f32; BUNDLE]], groups: usize, sums: &mut Sums) {
        if groups < GROUPS {
            whole_block::<1>(kernels, inputs, sums);
        } else {
            whole_block::<GROUPS>(kernels, inputs, sums);
        }
    }

    /// All outputs of a block at a time; written out, since loops of this size are not unrolled.
    #[target_feature(enable = "avx512f")]
    fn whole_block<const G: usize>(kernels: &[[f32; OUTPUTS]], inputs: &[[f32; BUNDLE]], sums: &mut Sums) {
        let mut totals = [[_mm512_setzero_ps(); G]; OUTPUTS];
        for (kernel, input) in kernels.iter().zip(inputs) {
            let (input, _) = input.as_chunks::<LANES>();
            // SAFETY: a group is sixteen numbers.
            let input: [_; G] =
                std::array::from_fn(|group| unsafe { _mm512_loadu_ps(input[group].as_ptr()) });
            for (totals, &kernel) in totals.iter_mut().zip(kernel) {
                let kernel = _mm512_set1_ps(kernel);
                for (total, input) in totals.iter_mut().zip(input) {
                    *total = _mm512_fmadd_ps(kernel, input, *total);
                }
            }
        }
        for (sums, totals) in sums.iter_mut().zip(totals) {
            for (sums, total) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(totals) {
                // SAFETY: a group is sixteen numbers.
                unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), total) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn every_instruction_set() {
        type Kernel = fn(&[[f32; OUTPUTS]], &[[f32; BUNDLE]], usize, &mut Sums);
        let mut all: Vec<Kernel> = vec![products, |k, i, g, s| add_up::<false>(k, i, g, s)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has them.
            all.push(|k, i, g, s| unsafe { x86::avx2(k, i, g, s) });
        }
        let mut stream = Stream::new(1, "microkernel");
        let kernels: Vec<[f32; OUTPUTS]> =
            (0..19).map(|_| std::array::from_fn(|_| stream.range(-1.0, 1.0) as f32)).collect();
        let inputs: Vec<[f32; BUNDLE]> =
            (0..19).map(|_| std::array::from_fn(|_| stream.range(-1.0, 1.0) as f32)).collect();
        for (kernel, groups) in all.into_iter().flat_map(|kernel| [(kernel, 1), (kernel, GROUPS)]) {
            let mut sums = [[7.0; BUNDLE]; OUTPUTS];
            kernel(&kernels, &inputs, groups, &mut sums);
            for (output, tile) in (0..OUTPUTS).flat_map(|o| (0..BUNDLE).map(move |t| (o, t))) {
                let products =
                    kernels.iter().zip(&inputs).map(|(k, i)| f64::from(k[output]) * f64::from(i[tile]));
                let expected = if tile < groups * LANES { products.sum() } else { 7.0 };
                assert!((f64::from(sums[output][tile]) - expected).abs() < 1e-5);
            }
        }
    }
}
