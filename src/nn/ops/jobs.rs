//! Work split into jobs of fixed size.

use rayon::prelude::*;

/// Calls `f(row, values)` for every row of `out`, `width` numbers each. Jobs have at least `least`
/// rows; what fits into one never leaves the thread, since waking another costs more.
pub fn for_rows(out: &mut [f32], width: usize, least: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let (width, least) = (width.max(1), least.max(1));
    if out.len() <= width * least {
        out.chunks_mut(width).enumerate().for_each(|(row, values)| f(row, values));
    } else {
        let rows = out.par_chunks_mut(width).with_min_len(least);
        rows.enumerate().for_each(|(row, values)| f(row, values));
    }
}

/// `f(row, values)` of every row of `x`, in order; jobs as in [`for_rows`].
pub fn map_rows<R: Send>(
    x: &[f32],
    width: usize,
    least: usize,
    f: impl Fn(usize, &[f32]) -> R + Sync,
) -> Vec<R> {
    let (width, least) = (width.max(1), least.max(1));
    if x.len() <= width * least {
        x.chunks(width).enumerate().map(|(row, values)| f(row, values)).collect()
    } else {
        let rows = x.par_chunks(width).with_min_len(least);
        rows.enumerate().map(|(row, values)| f(row, values)).collect()
    }
}
