//! Convolutions with few values a patch: the patches of some places at a time, which stay in the nearest cache,
//! are summed straight into registers.
//!
//! A matrix product would pack its operands first, which for few outputs costs more than the sums.

use std::ops::Range;

use rayon::prelude::*;

use super::super::simd::wide;
use super::super::storage::{Shared, with_scratch, written};
use super::finish::Finishing;
use super::im2col::{Geometry, copy_every};
use super::microkernel::{BUNDLE, OUTPUTS, Sums, products};
use super::transforms::LANES;

/// Values of a patch at most: a bundle of them takes the nearest cache.
const LARGEST_PATCH: usize = 256;
/// Places of a band, about.
const PLACES: usize = if cfg!(test) { 64 } else { 1 << 12 };
/// Multiplications that are worth a job of their own.
const LEAST: usize = if cfg!(test) { 1 << 12 } else { 1 << 18 };

/// Whether this way is faster than matrix products.
pub fn applies(g: &Geometry) -> bool {
    g.patch() <= LARGEST_PATCH && !g.is_pointwise()
}

/// Kernels `[o, patch]`, and what happens to the sums.
pub struct Direct<'a> {
    pub w: &'a [f32],
    pub o: usize,
    pub g: &'a Geometry,
    pub finishing: Finishing<'a>,
}

/// Places of a bundle that lie side by side in a row.
#[derive(Clone, Copy, Default)]
struct Run {
    /// In the bundle.
    first: usize,
    len: usize,
    /// Of the first value of the first place's patch, in a plane as [`Padded`] has it.
    from: usize,
}

/// How the rows of a plane are laid out to be gathered: with their padding, and the columns that are a stride
/// apart one after the other, so that a run of places reads neighbours.
#[derive(Clone, Copy)]
struct Padded {
    /// Columns a stride apart.
    phase: usize,
    row: usize,
}

impl Padded {
    fn new(g: &Geometry) -> Self {
        let phase = (g.width + 2 * g.padding).div_ceil(g.stride);
        Self { phase, row: phase * g.stride }
    }

    /// Of a place of the kernel, from where a patch begins.
    #[inline(always)]
    fn offset(self, g: &Geometry, place: usize) -> usize {
        let (y, x) = (place / g.kernel[1], place % g.kernel[1]);
        y * self.row + x % g.stride * self.phase + x / g.stride
    }

    /// The rows of a channel that a band of the output needs, from row `first` of the output on.
    fn fill(self, plane: &[f32], g: &Geometry, first: usize, to: &mut [f32]) {
        for (row, to) in to.chunks_exact_mut(self.row).enumerate() {
            let y = (first * g.stride + row).checked_sub(g.padding).filter(|&y| y < g.height);
            let Some(y) = y else {
                to.fill(0.0);
                continue;
            };
            let line = &plane[y * g.width..][..g.width];
            for (phase, to) in to.chunks_exact_mut(self.phase).enumerate() {
                let skipped = g.padding.saturating_sub(phase).div_ceil(g.stride);
                let x = skipped * g.stride + phase - g.padding;
                let values = g.width.saturating_sub(x).div_ceil(g.stride);
                to[..skipped].fill(0.0);
                to[skipped + values..].fill(0.0);
                if values > 0 {
                    copy_every(g.stride, &line[x..], &mut to[skipped..][..values]);
                }
            }
        }
    }
}

/// One image's rows of the output that are made together.
struct Band {
    image: usize,
    rows: Range<usize>,
}

impl Direct<'_> {
    /// `n` images.
    pub fn run(&self, x: &[f32], n: usize) -> Vec<f32> {
        let &Self { o, g, .. } = self;
        let (k, blocks) = (g.patch(), o.div_ceil(OUTPUTS));
        let rows = (PLACES / g.out_width.max(1)).clamp(1, g.out_height.max(1));
        let bands = g.out_height.div_ceil(rows);
        let work = (rows * g.out_width * k * o).max(1);
        let layout = Padded::new(g);
        let offsets: Vec<usize> = (0..g.kernel[0] * g.kernel[1]).map(|p| layout.offset(g, p)).collect();
        let write = |out: &Shared| {
            with_scratch(blocks * k * OUTPUTS, |kernels| {
                self.pack(kernels);
                let kernels = kernels.as_chunks::<OUTPUTS>().0;
                (0..n * bands).into_par_iter().with_min_len(LEAST.div_ceil(work)).for_each(|job| {
                    let first = job % bands * rows;
                    let band = Band { image: job / bands, rows: first..(first + rows).min(g.out_height) };
                    self.band(x, kernels, (layout, &offsets), &band, out);
                });
            });
        };
        // SAFETY: the bands of all images are the whole output, and each is written.
        unsafe { written(n * o * g.out_plane(), write) }
    }

    /// `[blocks, patch, OUTPUTS]`, zeros behind the last output.
    fn pack(&self, to: &mut [f32]) {
        let k = self.g.patch();
        to.fill(0.0);
        for (output, kernel) in self.w.chunks_exact(k).enumerate() {
            let to = &mut to[output / OUTPUTS * k * OUTPUTS + output % OUTPUTS..];
            to.iter_mut().step_by(OUTPUTS).zip(kernel).for_each(|(to, &value)| *to = value);
        }
    }

    fn band(
        &self,
        x: &[f32],
        kernels: &[[f32; OUTPUTS]],
        (layout, offsets): (Padded, &[usize]),
        band: &Band,
        out: &Shared,
    ) {
        let g = self.g;
        let image = &x[band.image * g.image()..][..g.image()];
        let of_band = (band.rows.len() - 1) * g.stride + g.kernel[0];
        let plane = of_band * layout.row;
        let bundle = g.patch() * BUNDLE;
        with_scratch(bundle + g.channels * plane, |scratch| {
            let (inputs, padded) = scratch.split_at_mut(bundle);
            let inputs = inputs.as_chunks_mut::<BUNDLE>().0;
            for (channel, to) in padded.chunks_exact_mut(plane).enumerate() {
                let from = &image[channel * g.height * g.width..][..g.height * g.width];
                layout.fill(from, g, band.rows.start, to);
            }
            let places = band.rows.start * g.out_width..band.rows.end * g.out_width;
            let mut runs = [Run::default(); BUNDLE];
            let mut sums = [[0f32; BUNDLE]; OUTPUTS];
            for first in places.clone().step_by(BUNDLE) {
                let bundle = first..(first + BUNDLE).min(places.end);
                let count = self.runs(layout, &bundle, band.rows.start, &mut runs);
                gather(padded, plane, offsets, &runs[..count], inputs);
                let groups = bundle.len().div_ceil(LANES);
                for (block, kernels) in kernels.chunks_exact(inputs.len()).enumerate() {
                    products(kernels, inputs, groups, &mut sums);
                    write(self, band.image, block * OUTPUTS, &bundle, &mut sums, out);
                }
            }
        });
    }

    /// The runs of a bundle of places, and how many.
    fn runs(
        &self,
        layout: Padded,
        bundle: &Range<usize>,
        first_row: usize,
        runs: &mut [Run; BUNDLE],
    ) -> usize {
        let g = self.g;
        let (mut place, mut count) = (bundle.start, 0);
        while place < bundle.end {
            let (row, column) = (place / g.out_width, place % g.out_width);
            let len = (g.out_width - column).min(bundle.end - place);
            let from = (row - first_row) * g.stride * layout.row + column;
            runs[count] = Run { first: place - bundle.start, len, from };
            (place, count) = (place + len, count + 1);
        }
        count
    }
}

/// Copies a run without a call where it is as long as rows of small maps are.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    #[inline(always)]
    fn whole<const N: usize>(from: &[f32], to: &mut [f32]) {
        *to.first_chunk_mut::<N>().expect("as long") = *from.first_chunk().expect("as long");
    }
    match to.len() {
        LANES => whole::<LANES>(from, to),
        8 => whole::<8>(from, to),
        len => to.copy_from_slice(&from[..len]),
    }
}

wide! {
    /// `[patch, BUNDLE]` from planes with their padding.
    fn gather(padded: &[f32], plane: usize, offsets: &[usize], runs: &[Run], to: &mut [[f32; BUNDLE]]) {
        for (plane, to) in padded.chunks_exact(plane).zip(to.chunks_exact_mut(offsets.len())) {
            if let &[Run { len: BUNDLE, from, .. }] = runs {
                for (to, offset) in to.iter_mut().zip(offsets) {
                    *to = *plane[from + offset..].first_chunk().expect("a run lies inside");
                }
                continue;
            }
            for (to, offset) in to.iter_mut().zip(offsets) {
                for run in runs {
                    copy(&plane[run.from + offset..], &mut to[run.first..][..run.len]);
                }
            }
        }
    }

    /// Finishes the sums of the outputs from `first` on and writes those that there are.
    fn write(
        work: &Direct,
        image: usize,
        first: usize,
        places: &Range<usize>,
        sums: &mut Sums,
        out: &Shared,
    ) {
        for (output, sums) in (first..work.o).zip(sums) {
            work.finishing.activate(output, std::array::from_mut(sums));
            let start = (image * work.o + output) * work.g.out_plane() + places.start;
            // SAFETY: every place of every output belongs to one band.
            let to = unsafe { out.part(start..start + places.len()) };
            match to.first_chunk_mut::<BUNDLE>() {
                Some(to) => work.finishing.write(sums, start, to),
                None => work.finishing.write(&sums[..places.len()], start, to),
            }
        }
    }
}
