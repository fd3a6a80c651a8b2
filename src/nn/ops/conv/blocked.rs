//! Winograd's way forward, in blocks that stay in the cache.
//!
//! The input of a piece is transformed once. Then jobs of some outputs and some tiles each transform their
//! kernels, sum over channels in registers and write finished outputs, so that nothing else goes through memory.

use std::ops::Range;

use rayon::prelude::*;

use super::super::simd::wide;
use super::super::storage::{Shared, with_scratch, written};
use super::finish::Finishing;
use super::im2col::Geometry;
use super::microkernel::{BUNDLE, GROUPS, OUTPUTS, Sums, products};
use super::tiles::{Place, strip};
use super::tiling::{Piece, TileSize, Tiling};
use super::transforms::{Four, LANES, Scheme, Square, Strided, Two, both_axes};

/// Numbers of a piece's transformed input.
const INPUT_NUMBERS: usize = if cfg!(test) { 1 << 12 } else { 1 << 21 };
/// Bundles of a piece at least.
const LEAST_BUNDLES: usize = if cfg!(test) { 1 } else { 4 };
/// Numbers of a job's transformed kernels.
const KERNEL_NUMBERS: usize = 1 << 18;
/// Blocks of outputs of a job at most.
const MOST_BLOCKS: usize = 8;

/// A convolution with 3x3 kernels; or its transpose, the gradient of its input.
pub struct Convolution<'a> {
    /// `[o, channels, 3, 3]`; transposed `[channels, o, 3, 3]`, to be turned by half.
    pub w: &'a [f32],
    pub transposed: bool,
    pub o: usize,
    pub g: &'a Geometry,
    pub tile: TileSize,
    pub finishing: Finishing<'a>,
}

impl Convolution<'_> {
    /// Of `n` images.
    pub fn run(self, x: &[f32], n: usize) -> Vec<f32> {
        let tiling = Tiling::new(self.g, self.tile);
        let work =
            Work { x, tiling, rows: self.g.channels + 2, points: self.tile.points(), convolution: self };
        // SAFETY: the tiles of all outputs are written, and cover them.
        unsafe { written(n * work.convolution.o * work.convolution.g.out_plane(), |out| work.run(n, out)) }
    }
}

struct Work<'a> {
    convolution: Convolution<'a>,
    x: &'a [f32],
    tiling: Tiling,
    points: usize,
    /// Rows from one point to the next: more than there are channels, or points would compete for the same lines
    /// of the cache.
    rows: usize,
}

/// Outputs and tiles of one bundle.
struct Part<'a> {
    piece: &'a Piece,
    bundle: usize,
    outputs: Range<usize>,
}

impl Work<'_> {
    fn run(&self, n: usize, out: &Shared) {
        let o = self.convolution.o;
        let of_block = self.points * self.rows * OUTPUTS;
        let of_bundle = self.points * self.rows * BUNDLE;
        let chunk = (KERNEL_NUMBERS / of_block).clamp(1, MOST_BLOCKS) * OUTPUTS;
        let chunks = o.div_ceil(chunk);
        for piece in self.tiling.pieces(n, (INPUT_NUMBERS / of_bundle).max(LEAST_BUNDLES) * BUNDLE) {
            let bundles = self.tiling.tiles_of(&piece).div_ceil(BUNDLE);
            with_scratch(bundles * of_bundle, |inputs| {
                inputs.par_chunks_exact_mut(of_bundle).enumerate().for_each(|(bundle, to)| {
                    transform_inputs(self, &piece, bundle, to);
                });
                // Kernels are transformed once for each split; none without need.
                let threads = rayon::current_num_threads();
                let splits = if threads == 1 { 1 } else { (2 * threads).div_ceil(chunks).min(bundles) };
                (0..chunks * splits).into_par_iter().for_each(|job| {
                    let (index, split) = (job / splits, job % splits);
                    let outputs = index * chunk..((index + 1) * chunk).min(o);
                    let blocks = outputs.len().div_ceil(OUTPUTS);
                    let of_sums = blocks * self.points * OUTPUTS * BUNDLE;
                    with_scratch(blocks * of_block + of_sums, |scratch| {
                        let (kernels, sums) = scratch.split_at_mut(blocks * of_block);
                        transform_kernels(self, outputs.clone(), kernels);
                        let (sums, _) = sums.as_chunks_mut::<BUNDLE>();
                        let (sums, _) = sums.as_chunks_mut::<OUTPUTS>();
                        for bundle in bundles * split / splits..bundles * (split + 1) / splits {
                            let inputs = &inputs[bundle * of_bundle..(bundle + 1) * of_bundle];
                            let part = Part { piece: &piece, bundle, outputs: outputs.clone() };
                            self.sum(&part, kernels, inputs, sums);
                            write_outputs(self, &part, sums, out);
                        }
                    });
                });
            });
        }
    }

    /// Tiles of a group of a bundle; none behind the end.
    #[inline(always)]
    fn group(&self, piece: &Piece, bundle: usize, group: usize) -> Range<usize> {
        let first = bundle * BUNDLE + group * LANES;
        first..(first + LANES).min(self.tiling.tiles_of(piece)).max(first)
    }

    /// `[points, rows, tiles]`.
    #[inline(always)]
    fn inputs<S: Scheme<P, T>, const P: usize, const T: usize, const STEP: usize>(
        &self,
        piece: &Piece,
        bundle: usize,
        to: &mut [f32],
    ) {
        let g = self.convolution.g;
        let plane = g.height * g.width;
        let place = Place { tiling: self.tiling, piece, before: 1 };
        for group in 0..GROUPS {
            let tiles = self.group(piece, bundle, group);
            let runs = self.tiling.runs(piece, &tiles);
            for channel in 0..if tiles.is_empty() { 0 } else { g.channels } {
                let of_image = |image: usize| {
                    &self.x[(piece.images.start + image) * g.image() + channel * plane..][..plane]
                };
                let square: Square<P> = both_axes(&place.cut::<P, STEP>(of_image, &runs), S::input);
                for (point, values) in square.as_flattened().iter().enumerate() {
                    let start = (point * self.rows + channel) * BUNDLE + group * LANES;
                    to[start..start + LANES].copy_from_slice(values);
                }
            }
        }
    }

    /// `[blocks, points, rows, OUTPUTS]`.
    #[inline(always)]
    fn kernels<S: Scheme<P, T>, const P: usize, const T: usize>(
        &self,
        outputs: Range<usize>,
        to: &mut [f32],
    ) {
        const TOGETHER: usize = LANES / OUTPUTS;
        let Convolution { w, transposed, o, g, .. } = self.convolution;
        let stride = self.rows * OUTPUTS;
        for (block, to) in to.chunks_exact_mut(P * P * stride).enumerate() {
            for first in (0..g.channels).step_by(TOGETHER) {
                let mut square = [[[0f32; LANES]; 3]; 3];
                let outputs_of_block = outputs.clone().skip(block * OUTPUTS).take(OUTPUTS).enumerate();
                for (row, output) in outputs_of_block {
                    for channel in first..(first + TOGETHER).min(g.channels) {
                        let lane = (channel - first) * OUTPUTS + row;
                        let index =
                            if transposed { channel * o + output } else { output * g.channels + channel };
                        for (place, &value) in w[index * 9..][..9].iter().enumerate() {
                            let place = if transposed { 8 - place } else { place };
                            square[place / 3][place % 3][lane] = value;
                        }
                    }
                }
                let square: Square<P> = both_axes(&square, S::kernel);
                for (point, values) in square.as_flattened().iter().enumerate() {
                    to[point * stride + first * OUTPUTS..][..LANES].copy_from_slice(values);
                }
            }
        }
    }

    /// `[blocks, points]` sums over channels.
    fn sum(&self, part: &Part, kernels: &[f32], inputs: &[f32], sums: &mut [Sums]) {
        let channels = self.convolution.g.channels;
        let groups = if self.group(part.piece, part.bundle, 1).is_empty() { 1 } else { GROUPS };
        let (inputs, _) = inputs.as_chunks::<BUNDLE>();
        let (kernels, _) = kernels.as_chunks::<OUTPUTS>();
        for (point, inputs) in inputs.chunks_exact(self.rows).enumerate() {
            for (block, sums) in sums.chunks_exact_mut(self.points).enumerate() {
                let kernels = &kernels[(block * self.points + point) * self.rows..][..channels];
                products(kernels, &inputs[..channels], groups, &mut sums[point]);
            }
        }
    }

    #[inline(always)]
    fn outputs<S: Scheme<P, T>, const P: usize, const T: usize>(
        &self,
        part: &Part,
        sums: &[Sums],
        out: &Shared,
    ) {
        let Part { piece, bundle, outputs } = part;
        let Convolution { o, g, finishing, .. } = self.convolution;
        let place = Place { tiling: self.tiling, piece, before: 0 };
        let plane = g.out_plane();
        for group in 0..GROUPS {
            let runs = self.tiling.runs(piece, &self.group(piece, *bundle, group));
            for (index, output) in outputs.clone().enumerate() {
                let sums = &sums[index / OUTPUTS * P * P..][..P * P];
                let mut square = [[[0f32; LANES]; P]; P];
                for (to, sums) in square.as_flattened_mut().iter_mut().zip(sums) {
                    to.copy_from_slice(&sums[index % OUTPUTS][group * LANES..][..LANES]);
                }
                let square: Square<T> = both_axes(&square, S::output);
                for (row, square) in square.iter().enumerate() {
                    let mut strip = strip::<T>(square);
                    finishing.activate(output, &mut strip);
                    for run in &*runs {
                        let Some((first, range)) = place.span::<T>(run, [row, 0]) else { continue };
                        let first = ((piece.images.start + run.image) * o + output) * plane + first;
                        // SAFETY: every tile of every output belongs to one job.
                        let to = unsafe { out.part(first..first + range.len()) };
                        finishing.write(&strip.as_flattened()[range], first, to);
                    }
                }
            }
        }
    }
}

wide! {
    fn transform_inputs(work: &Work, piece: &Piece, bundle: usize, to: &mut [f32]) {
        match work.convolution.tile {
            TileSize::Two => work.inputs::<Two, 4, 2, 2>(piece, bundle, to),
            TileSize::Four => work.inputs::<Four, 6, 4, 4>(piece, bundle, to),
            TileSize::Strided => work.inputs::<Strided, 9, 4, 8>(piece, bundle, to),
        }
    }

    fn transform_kernels(work: &Work, outputs: Range<usize>, to: &mut [f32]) {
        match work.convolution.tile {
            TileSize::Two => work.kernels::<Two, 4, 2>(outputs, to),
            TileSize::Four => work.kernels::<Four, 6, 4>(outputs, to),
            TileSize::Strided => work.kernels::<Strided, 9, 4>(outputs, to),
        }
    }

    fn write_outputs(work: &Work, part: &Part, sums: &[Sums], out: &Shared) {
        match work.convolution.tile {
            TileSize::Two => work.outputs::<Two, 4, 2>(part, sums, out),
            TileSize::Four => work.outputs::<Four, 6, 4>(part, sums, out),
            TileSize::Strided => work.outputs::<Strided, 9, 4>(part, sums, out),
        }
    }
}
