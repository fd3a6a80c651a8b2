//! One query an image, as in decoding token by token: its products are too small for a matrix
//! product, whose packing would cost more than its sums.

use super::super::simd::{LANES, sum2, wide};

/// Images that one job takes at least: an image's products take less than a microsecond in a small network.
pub const LEAST: usize = 4;

wide! {
    /// The logits of one image's query `q` `[heads * width]` at its keys `[n, heads * width]`, head by head:
    /// `out` `[heads, n]`, unscaled.
    pub fn look(q: &[f32], keys: &[f32], width: usize, out: &mut [f32]) {
        let n = keys.len() / q.len();
        for (place, key) in keys.chunks_exact(q.len()).enumerate() {
            for (head, (q, key)) in q.chunks_exact(width).zip(key.chunks_exact(width)).enumerate() {
                out[head * n + place] = sum2(q, key, |q, key| q * key);
            }
        }
    }

    /// As [`look`] at keys that are ready, `[heads * width, n]`.
    pub fn look_across(q: &[f32], keys: &[f32], width: usize, out: &mut [f32]) {
        let n = keys.len() / q.len();
        let heads = q.chunks_exact(width).zip(keys.chunks_exact(width * n)).zip(out.chunks_exact_mut(n));
        for ((q, keys), out) in heads {
            weigh(q, keys, n, out);
        }
    }

    /// Adds up one image's values `[n, heads * width]` under the weights of its query `[heads, n]`:
    /// `out` `[heads * width]`.
    pub fn mix(weights: &[f32], values: &[f32], width: usize, out: &mut [f32]) {
        let (channels, n) = (out.len(), values.len() / out.len());
        if width.is_multiple_of(LANES) && channels.is_multiple_of(TOGETHER * LANES) {
            for (index, out) in out.as_chunks_mut::<LANES>().0.as_chunks_mut().0.iter_mut().enumerate() {
                mix_blocks(weights, values, [width, channels, n], index * TOGETHER, out);
            }
            return;
        }
        let heads = weights.chunks_exact(n.max(1)).zip(out.chunks_exact_mut(width));
        for (head, (weights, out)) in heads.enumerate() {
            weigh(weights, &values[head * width..], channels, out);
        }
    }
}

/// Blocks of [`LANES`] channels that [`mix_blocks`] adds up side by side.
const TOGETHER: usize = 4;

/// The channels from block `first` on, each block within a head, in one walk over the values.
#[inline(always)]
fn mix_blocks(
    weights: &[f32],
    values: &[f32],
    [width, channels, n]: [usize; 3],
    first: usize,
    out: &mut [[f32; LANES]; TOGETHER],
) {
    let weights: [&[f32]; TOGETHER] =
        std::array::from_fn(|block| &weights[(first + block) * LANES / width * n..][..n]);
    let mut sums = [[0f32; LANES]; TOGETHER];
    for (i, row) in values.chunks_exact(channels).enumerate() {
        let row = &row[first * LANES..][..TOGETHER * LANES];
        for ((sums, row), weights) in sums.iter_mut().zip(row.as_chunks::<LANES>().0).zip(weights) {
            for lane in 0..LANES {
                sums[lane] += weights[i] * row[lane];
            }
        }
    }
    *out = sums;
}

/// `out = sum weights_i rows_i`, rows `stride` apart; sixteen sums stay in registers.
#[inline(always)]
fn weigh(weights: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let done = blocks.len() * LANES;
    for (block, start) in blocks.iter_mut().zip((0..).step_by(LANES)) {
        let mut sums = [0f32; LANES];
        for (i, &weight) in weights.iter().enumerate() {
            let row = &rows[i * stride + start..][..LANES];
            for lane in 0..LANES {
                sums[lane] += weight * row[lane];
            }
        }
        *block = sums;
    }
    for (out, place) in rest.iter_mut().zip(done..) {
        *out = weights.iter().enumerate().map(|(i, &weight)| weight * rows[i * stride + place]).sum();
    }
}
