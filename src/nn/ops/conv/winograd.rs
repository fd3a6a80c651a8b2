//! Winograd's F(4x4, 3x3): 3x3 convolutions in a quarter of the multiplications, and their gradients.
//!
//! Patches of 6x6 values of the input and the kernels become 36 products each, which are summed over
//! channels by 36 matrix products and become tiles of 4x4 outputs. The gradients run the transposed maps.
//! Values stay within some 1e-5 of the largest (see the tests).

use std::ops::Range;

use rayon::prelude::*;

use super::super::matrix::{Matrix, Target, multiply};
use super::super::parallel::for_rows;
use super::super::simd::wide;
use super::super::storage::with_scratch;
use super::im2col::Geometry;
use super::product::{Gradients, Kernels, Needed};
use super::transforms::{
    LANES, PATCH, POINTS, Square, TILE, both_axes, input, input_transposed, kernel, kernel_transposed,
    output, output_transposed,
};

/// Numbers that the transformed input and output of a piece should take at most: they stay in the cache.
const PIECE_NUMBERS: usize = 1 << 21;
/// Tiles that make a matrix product worth its while.
const LEAST_TILES: usize = 64;
/// Numbers that transformed kernels may take at once; tests see several blocks at small sizes.
const KERNEL_NUMBERS: usize = if cfg!(test) { POINTS * 17 * 16 } else { 5 << 22 };
/// Channels that are worth transforming.
const LEAST_CHANNELS: usize = 16;

/// A piece of the output: whole images, or rows of tiles of a single one.
#[derive(Clone, Debug)]
struct Piece {
    images: Range<usize>,
    rows: Range<usize>,
}

/// How maps are cut into tiles.
#[derive(Clone, Copy)]
struct Tiling {
    height: usize,
    width: usize,
    /// Tiles.
    rows: usize,
    columns: usize,
}

impl Tiling {
    fn of(g: &Geometry) -> Self {
        let (rows, columns) = (g.height.div_ceil(TILE), g.width.div_ceil(TILE));
        Self { height: g.height, width: g.width, rows, columns }
    }

    fn tiles(self) -> usize {
        self.rows * self.columns
    }

    fn pieces(self, n: usize, channels: usize) -> Vec<Piece> {
        let wanted = (PIECE_NUMBERS / (POINTS * channels)).max(LEAST_TILES);
        let images = (wanted / self.tiles()).max(1);
        let rows = if images > 1 { self.rows } else { (wanted / self.columns).clamp(1, self.rows) };
        (0..n)
            .step_by(images)
            .flat_map(|i| {
                (0..self.rows).step_by(rows).map(move |y| Piece {
                    images: i..(i + images).min(n),
                    rows: y..(y + rows).min(self.rows),
                })
            })
            .collect()
    }

    fn tiles_of(self, piece: &Piece) -> usize {
        piece.images.len() * piece.rows.len() * self.columns
    }

    /// The first value of a tile in a plane, of those of one image in the piece.
    fn corner(self, piece: &Piece, tile: usize) -> [usize; 2] {
        [(piece.rows.start + tile / self.columns) * TILE, tile % self.columns * TILE]
    }

    /// The values that N x N squares of a plane cover, each `before` before the corner of its tile;
    /// zero outside.
    #[inline(always)]
    fn cut<const N: usize>(
        self,
        plane: &[f32],
        corner: [usize; 2],
        before: usize,
        lane: usize,
        to: &mut Square<N>,
    ) {
        for (row, to) in to.iter_mut().enumerate() {
            let y = (corner[0] + row).wrapping_sub(before);
            for (column, to) in to.iter_mut().enumerate() {
                let x = (corner[1] + column).wrapping_sub(before);
                let inside = y < self.height && x < self.width;
                to[lane] = if inside { plane[y * self.width + x] } else { 0.0 };
            }
        }
    }

    /// Adds squares to a plane; the transpose of `cut`.
    #[inline(always)]
    fn add<const N: usize>(
        self,
        from: &Square<N>,
        corner: [usize; 2],
        before: usize,
        lane: usize,
        plane: &mut [f32],
    ) {
        for (row, from) in from.iter().enumerate() {
            let y = (corner[0] + row).wrapping_sub(before);
            for (column, from) in from.iter().enumerate() {
                let x = (corner[1] + column).wrapping_sub(before);
                if y < self.height && x < self.width {
                    plane[y * self.width + x] += from[lane];
                }
            }
        }
    }
}

/// Whether this way is the faster one.
pub fn applies(g: &Geometry, n: usize, outputs: usize) -> bool {
    let tiles = Tiling::of(g).tiles();
    g.kernel == [3, 3]
        && g.stride == 1
        && g.padding == 1
        && g.channels.min(outputs) >= LEAST_CHANNELS
        && n * tiles >= LANES
        && g.out_plane() >= tiles * TILE * TILE / 2
}

/// Outputs whose kernels are transformed together.
fn blocks(g: &Geometry, outputs: usize) -> Vec<Range<usize>> {
    let size = (KERNEL_NUMBERS / (POINTS * g.channels)).clamp(LEAST_CHANNELS, outputs.max(LEAST_CHANNELS));
    (0..outputs).step_by(size).map(|first| first..(first + size).min(outputs)).collect()
}

/// Of `[rows, POINTS, columns]` the matrix of one point.
fn of_point(data: &[f32], point: usize, rows: usize, columns: usize) -> Matrix<'_> {
    Matrix::with_stride(&data[point * columns..], rows, columns, POINTS * columns)
}

/// Writes `[POINTS, rows, columns]`: for every point the product of two matrices.
fn products<'a>(out: &mut [f32], columns: usize, add: bool, pair: impl Fn(usize) -> [Matrix<'a>; 2] + Sync) {
    let size = out.len() / POINTS;
    for_rows(out, size, 1, |point, data| {
        let [a, b] = pair(point);
        multiply(a, b, Target { data, stride: columns, add }, gemm::Parallelism::None);
    });
}

impl Kernels<'_> {
    pub fn winograd_forward(self, x: &[f32], n: usize, finish: &(impl Fn(&mut [f32]) + Sync)) -> Vec<f32> {
        let Self { g, o, .. } = self;
        let (tiling, plane, blocks) = (Tiling::of(g), g.out_plane(), blocks(g, o));
        let mut out = vec![0f32; n * o * plane];
        with_scratch(POINTS * g.channels * blocks[0].len(), |kernels| {
            for (index, piece) in tiling.pieces(n, g.channels + o).iter().enumerate() {
                let tiles = tiling.tiles_of(piece);
                with_scratch(POINTS * tiles * (g.channels + blocks[0].len()), |scratch| {
                    let (inputs, sums) = scratch.split_at_mut(POINTS * tiles * g.channels);
                    self.transform_inputs(x, tiling, piece, inputs);
                    for block in &blocks {
                        if index == 0 || blocks.len() > 1 {
                            self.transform_kernels(block, kernels);
                        }
                        let sums = &mut sums[..POINTS * tiles * block.len()];
                        products(sums, tiles, false, |point| {
                            [
                                of_point(kernels, point, block.len(), g.channels),
                                of_point(inputs, point, g.channels, tiles),
                            ]
                        });
                        let planes = &mut out[piece.images.start * o * plane..piece.images.end * o * plane];
                        for_rows(planes, plane, 4, |index, plane| {
                            let (image, output) = (index / o, index % o);
                            if block.contains(&output) {
                                let of_output = (output - block.start) * tiles;
                                write_outputs(sums, of_output, tiling, piece, image, plane);
                            }
                        });
                    }
                });
                if piece.rows.end == tiling.rows {
                    let images = &mut out[piece.images.start * o * plane..piece.images.end * o * plane];
                    for_rows(images, o * plane, 1, |_, planes| finish(planes));
                }
            }
        });
        out
    }

    pub fn winograd_backward(self, x: &[f32], grad: &[f32], n: usize, needed: Needed) -> Gradients {
        let Self { w, g, o } = self;
        let (tiling, plane, blocks) = (Tiling::of(g), g.out_plane(), blocks(g, o));
        let mut dx = vec![0f32; if needed.x { x.len() } else { 0 }];
        let mut dw = vec![0f32; if needed.w { w.len() } else { 0 }];
        let largest = POINTS * g.channels * blocks[0].len();
        let pieces = tiling.pieces(n, 2 * g.channels + o);
        // With one block the gradients of the kernels gather over the pieces before they are mapped back.
        let together = blocks.len() == 1;
        with_scratch(2 * largest, |kernels| {
            let (kernels, d_kernels) = kernels.split_at_mut(largest);
            for (index, piece) in pieces.iter().enumerate() {
                let tiles = tiling.tiles_of(piece);
                let of_inputs = POINTS * tiles * g.channels;
                with_scratch(2 * of_inputs + POINTS * tiles * blocks[0].len(), |scratch| {
                    let (inputs, rest) = scratch.split_at_mut(of_inputs);
                    let (d_inputs, d_sums) = rest.split_at_mut(of_inputs);
                    if needed.w {
                        self.transform_inputs(x, tiling, piece, inputs);
                    }
                    for (place, block) in blocks.iter().enumerate() {
                        let d_sums = &mut d_sums[..POINTS * tiles * block.len()];
                        for_rows(d_sums, POINTS * tiles, 1, |row, to| {
                            let images = piece.images.clone();
                            let planes =
                                images.map(|image| &grad[(image * o + block.start + row) * plane..][..plane]);
                            transform_gradients(planes, tiling, piece, to);
                        });
                        let d_sums = &*d_sums;
                        let d_outputs = |point| of_point(d_sums, point, block.len(), tiles);
                        if needed.w {
                            let d_kernels = &mut d_kernels[..POINTS * g.channels * block.len()];
                            products(d_kernels, g.channels, together && index > 0, |point| {
                                [d_outputs(point), of_point(inputs, point, g.channels, tiles).transposed()]
                            });
                            if !together || index + 1 == pieces.len() {
                                let dw = &mut dw[block.start * g.patch()..block.end * g.patch()];
                                for_rows(dw, g.patch(), 1, |row, dw| {
                                    add_kernels(d_kernels, row * g.channels, block.len() * g.channels, dw);
                                });
                            }
                        }
                        if needed.x {
                            if index == 0 || !together {
                                self.transform_kernels(block, kernels);
                            }
                            products(d_inputs, tiles, place > 0, |point| {
                                let kernels = of_point(kernels, point, block.len(), g.channels);
                                [kernels.transposed(), d_outputs(point)]
                            });
                        }
                    }
                    if needed.x {
                        let images = &mut dx[piece.images.start * g.image()..piece.images.end * g.image()];
                        for_rows(images, plane, 4, |index, plane| {
                            let (image, channel) = (index / g.channels, index % g.channels);
                            add_inputs(d_inputs, channel * tiles, tiling, piece, image, plane);
                        });
                    }
                });
            }
        });
        (needed.x.then_some(dx), needed.w.then_some(dw))
    }

    /// `[channels, POINTS, tiles]`.
    fn transform_inputs(self, x: &[f32], tiling: Tiling, piece: &Piece, to: &mut [f32]) {
        let g = self.g;
        let (tiles, plane) = (tiling.tiles_of(piece), g.out_plane());
        for_rows(to, POINTS * tiles, 1, |channel, to| {
            let planes = piece.images.clone().map(|image| &x[image * g.image() + channel * plane..][..plane]);
            transform_inputs(planes, tiling, piece, to);
        });
    }

    /// `[block, POINTS, channels]`.
    fn transform_kernels(self, block: &Range<usize>, to: &mut [f32]) {
        let (patch, channels) = (self.g.patch(), self.g.channels);
        let to = &mut to[..POINTS * channels * block.len()];
        to.par_chunks_mut(POINTS * channels).enumerate().for_each(|(row, to)| {
            transform_kernels(&self.w[(block.start + row) * patch..][..patch], to);
        });
    }
}

/// Copies the first lanes of all points to or from rows of `stride` numbers that begin at `start`.
#[inline(always)]
fn store(square: &Square<PATCH>, lanes: usize, stride: usize, start: usize, to: &mut [f32]) {
    for (point, from) in square.iter().flatten().enumerate() {
        to[point * stride + start..][..lanes].copy_from_slice(&from[..lanes]);
    }
}

#[inline(always)]
fn load(from: &[f32], lanes: usize, stride: usize, start: usize) -> Square<PATCH> {
    let mut square = [[[0f32; LANES]; PATCH]; PATCH];
    for (point, to) in square.iter_mut().flatten().enumerate() {
        to[..lanes].copy_from_slice(&from[point * stride + start..][..lanes]);
    }
    square
}

/// Calls `f(square, first tile, lanes)` for groups of the tiles of one channel, all images in a row.
#[inline(always)]
fn cut_all<'a, const N: usize>(
    planes: impl Iterator<Item = &'a [f32]>,
    tiling: Tiling,
    piece: &Piece,
    before: usize,
    mut f: impl FnMut(&Square<N>, usize, usize),
) {
    let mut square = [[[0f32; LANES]; N]; N];
    let (mut lane, mut first) = (0, 0);
    for plane in planes {
        for tile in 0..piece.rows.len() * tiling.columns {
            tiling.cut(plane, tiling.corner(piece, tile), before, lane, &mut square);
            lane += 1;
            if lane == LANES {
                f(&square, first, LANES);
                (lane, first) = (0, first + LANES);
            }
        }
    }
    if lane > 0 {
        f(&square, first, lane);
    }
}

/// Calls `f(first tile, corners of the lanes)` for groups of the tiles of one image in a piece.
#[inline(always)]
fn each_group(tiling: Tiling, piece: &Piece, image: usize, mut f: impl FnMut(usize, &[[usize; 2]])) {
    let tiles = piece.rows.len() * tiling.columns;
    for first in (0..tiles).step_by(LANES) {
        let lanes = LANES.min(tiles - first);
        let corners: [[usize; 2]; LANES] = std::array::from_fn(|lane| tiling.corner(piece, first + lane));
        f(image * tiles + first, &corners[..lanes]);
    }
}

wide! {
    fn transform_inputs_of(planes: &[&[f32]], tiling: Tiling, piece: &Piece, to: &mut [f32]) {
        let tiles = to.len() / POINTS;
        cut_all(planes.iter().copied(), tiling, piece, 1, #[inline(always)] |square: &Square<PATCH>, first, lanes| {
            store(&both_axes(square, input), lanes, tiles, first, to);
        });
    }

    fn transform_gradients_of(planes: &[&[f32]], tiling: Tiling, piece: &Piece, to: &mut [f32]) {
        let tiles = to.len() / POINTS;
        cut_all(planes.iter().copied(), tiling, piece, 0, #[inline(always)] |square: &Square<TILE>, first, lanes| {
            store(&both_axes(square, output_transposed), lanes, tiles, first, to);
        });
    }

    /// Of one output: `[channels, 3, 3]` -> `[POINTS, channels]`.
    fn transform_kernels(w: &[f32], to: &mut [f32]) {
        let channels = w.len() / 9;
        for first in (0..channels).step_by(LANES) {
            let lanes = LANES.min(channels - first);
            let mut square = [[[0f32; LANES]; 3]; 3];
            for (lane, kernel) in w[first * 9..(first + lanes) * 9].chunks_exact(9).enumerate() {
                for place in 0..9 {
                    square[place / 3][place % 3][lane] = kernel[place];
                }
            }
            store(&both_axes(&square, kernel), lanes, channels, first, to);
        }
    }

    /// Adds the gradients of one output's kernels; its numbers of a point begin at `start`.
    fn add_kernels(d_kernels: &[f32], start: usize, stride: usize, dw: &mut [f32]) {
        let channels = dw.len() / 9;
        for first in (0..channels).step_by(LANES) {
            let lanes = LANES.min(channels - first);
            let square = both_axes(&load(d_kernels, lanes, stride, start + first), kernel_transposed);
            for (lane, dw) in dw[first * 9..(first + lanes) * 9].chunks_exact_mut(9).enumerate() {
                for place in 0..9 {
                    dw[place] += square[place / 3][place % 3][lane];
                }
            }
        }
    }

    /// Writes the tiles of one image (counted in the piece) to the plane of an output.
    fn write_outputs(sums: &[f32], start: usize, tiling: Tiling, piece: &Piece, image: usize, plane: &mut [f32]) {
        let stride = sums.len() / POINTS;
        each_group(tiling, piece, image, #[inline(always)] |first, corners| {
            let square = both_axes(&load(sums, corners.len(), stride, start + first), output);
            for (lane, &corner) in corners.iter().enumerate() {
                tiling.add(&square, corner, 0, lane, plane);
            }
        });
    }

    /// Adds the gradients of one image (counted in the piece) to the plane of a channel.
    fn add_inputs(d_inputs: &[f32], start: usize, tiling: Tiling, piece: &Piece, image: usize, plane: &mut [f32]) {
        let stride = d_inputs.len() / POINTS;
        each_group(tiling, piece, image, #[inline(always)] |first, corners| {
            let square = both_axes(&load(d_inputs, corners.len(), stride, start + first), input_transposed);
            for (lane, &corner) in corners.iter().enumerate() {
                tiling.add(&square, corner, 1, lane, plane);
            }
        });
    }
}

fn transform_inputs<'a>(
    planes: impl Iterator<Item = &'a [f32]>,
    tiling: Tiling,
    piece: &Piece,
    to: &mut [f32],
) {
    transform_inputs_of(&planes.collect::<Vec<_>>(), tiling, piece, to);
}

fn transform_gradients<'a>(
    planes: impl Iterator<Item = &'a [f32]>,
    tiling: Tiling,
    piece: &Piece,
    to: &mut [f32],
) {
    transform_gradients_of(&planes.collect::<Vec<_>>(), tiling, piece, to);
}
