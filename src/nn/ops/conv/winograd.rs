//! Winograd's way: 3x3 convolutions with fewer multiplications, and their gradients.
//!
//! Overlapping patches of the input, and the kernels, are mapped to as many products as a patch has values;
//! these are summed over channels by a matrix product each, and mapped to tiles of outputs. The gradients
//! run the transposed maps.

use std::ops::Range;

use rayon::prelude::*;

use super::super::matrix::{Matrix, Target, multiply};
use super::super::parallel::for_rows;
use super::super::storage::with_scratch;
use super::im2col::Geometry;
use super::product::{Gradients, Kernels, Needed};
use super::tiles::{
    Piece, TileSize, Tiling, add_inputs, add_kernels, transform_gradients, transform_inputs,
    transform_kernels, write_outputs,
};
use super::transforms::LANES;

/// Numbers that transformed kernels may take at once; tests see several blocks at small sizes.
const KERNEL_NUMBERS: usize = if cfg!(test) { 36 * 17 * 16 } else { 5 << 22 };
/// Channels that are worth transforming.
const LEAST_CHANNELS: usize = 16;

/// Whether this way is the faster one.
pub fn applies(g: &Geometry, tile: TileSize, n: usize, outputs: usize) -> bool {
    let tiles = Tiling::new(g, tile).tiles();
    g.kernel == [3, 3]
        && g.stride == 1
        && g.padding == 1
        && g.channels.min(outputs) >= LEAST_CHANNELS
        && n * tiles >= LANES
        && g.out_plane() >= tiles * tile.side() * tile.side() / 2
}

/// Outputs whose kernels are transformed together.
fn blocks(g: &Geometry, tile: TileSize, outputs: usize) -> Vec<Range<usize>> {
    let fitting = KERNEL_NUMBERS / (tile.points() * g.channels);
    let size = fitting.clamp(LEAST_CHANNELS, outputs.max(LEAST_CHANNELS));
    (0..outputs).step_by(size).map(|first| first..(first + size).min(outputs)).collect()
}

/// Of `[rows, points, columns]` the matrix of one point.
fn of_point(data: &[f32], tile: TileSize, point: usize, [rows, columns]: [usize; 2]) -> Matrix<'_> {
    Matrix::with_stride(&data[point * columns..], rows, columns, tile.points() * columns)
}

/// Writes `[points, rows, columns]`: for every point the product of two matrices.
fn products<'a>(
    out: &mut [f32],
    tile: TileSize,
    columns: usize,
    add: bool,
    pair: impl Fn(usize) -> [Matrix<'a>; 2] + Sync,
) {
    let size = out.len() / tile.points();
    for_rows(out, size, 1, |point, data| {
        let [a, b] = pair(point);
        multiply(a, b, Target { data, stride: columns, add }, gemm::Parallelism::None);
    });
}

impl Kernels<'_> {
    pub fn winograd_forward(self, x: &[f32], n: usize, finish: &(impl Fn(&mut [f32]) + Sync)) -> Vec<f32> {
        let Self { g, o, tile, .. } = self;
        let (tiling, plane, blocks, points) =
            (Tiling::new(g, tile), g.out_plane(), blocks(g, tile, o), tile.points());
        let mut out = vec![0f32; n * o * plane];
        with_scratch(points * g.channels * blocks[0].len(), |kernels| {
            for (index, piece) in tiling.pieces(n, g.channels + o).iter().enumerate() {
                let tiles = tiling.tiles_of(piece);
                with_scratch(points * tiles * (g.channels + blocks[0].len()), |scratch| {
                    let (inputs, sums) = scratch.split_at_mut(points * tiles * g.channels);
                    self.transform_inputs(x, tiling, piece, inputs);
                    for block in &blocks {
                        if index == 0 || blocks.len() > 1 {
                            self.transform_kernels(block, tile, kernels);
                        }
                        let sums = &mut sums[..points * tiles * block.len()];
                        products(sums, tile, tiles, false, |point| {
                            [
                                of_point(kernels, tile, point, [block.len(), g.channels]),
                                of_point(inputs, tile, point, [g.channels, tiles]),
                            ]
                        });
                        let planes = &mut out[piece.images.start * o * plane..piece.images.end * o * plane];
                        for_rows(planes, plane, 4, |index, plane| {
                            let (image, output) = (index / o, index % o);
                            if block.contains(&output) {
                                let of_output = (output - block.start) * tiles;
                                write_outputs(sums, of_output, (tiling, piece, image), plane);
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

    /// With small tiles.
    pub fn winograd_backward(self, x: &[f32], grad: &[f32], n: usize, needed: Needed) -> Gradients {
        let Self { w, g, o, .. } = self;
        let tile = TileSize::Two;
        let (tiling, plane, blocks, points) =
            (Tiling::new(g, tile), g.out_plane(), blocks(g, tile, o), tile.points());
        let mut dx = vec![0f32; if needed.x { x.len() } else { 0 }];
        let mut dw = vec![0f32; if needed.w { w.len() } else { 0 }];
        let largest = points * g.channels * blocks[0].len();
        let pieces = tiling.pieces(n, 2 * g.channels + o);
        // With one block the gradients of the kernels gather over the pieces before they are mapped back.
        let together = blocks.len() == 1;
        with_scratch(2 * largest, |kernels| {
            let (kernels, d_kernels) = kernels.split_at_mut(largest);
            for (index, piece) in pieces.iter().enumerate() {
                let tiles = tiling.tiles_of(piece);
                let of_inputs = points * tiles * g.channels;
                with_scratch(2 * of_inputs + points * tiles * blocks[0].len(), |scratch| {
                    let (inputs, rest) = scratch.split_at_mut(of_inputs);
                    let (d_inputs, d_sums) = rest.split_at_mut(of_inputs);
                    if needed.w {
                        self.transform_inputs(x, tiling, piece, inputs);
                    }
                    for (place, block) in blocks.iter().enumerate() {
                        let d_sums = &mut d_sums[..points * tiles * block.len()];
                        for_rows(d_sums, points * tiles, 1, |row, to| {
                            let of_image = |image| &grad[(image * o + block.start + row) * plane..][..plane];
                            let planes: Vec<&[f32]> = piece.images.clone().map(of_image).collect();
                            transform_gradients(&planes, tiling, piece, to);
                        });
                        let d_sums = &*d_sums;
                        let d_outputs = |point| of_point(d_sums, tile, point, [block.len(), tiles]);
                        if needed.w {
                            let d_kernels = &mut d_kernels[..points * g.channels * block.len()];
                            products(d_kernels, tile, g.channels, together && index > 0, |point| {
                                [
                                    d_outputs(point),
                                    of_point(inputs, tile, point, [g.channels, tiles]).transposed(),
                                ]
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
                                self.transform_kernels(block, tile, kernels);
                            }
                            products(d_inputs, tile, tiles, place > 0, |point| {
                                let kernels = of_point(kernels, tile, point, [block.len(), g.channels]);
                                [kernels.transposed(), d_outputs(point)]
                            });
                        }
                    }
                    if needed.x {
                        let images = &mut dx[piece.images.start * g.image()..piece.images.end * g.image()];
                        for_rows(images, plane, 4, |index, plane| {
                            let (image, channel) = (index / g.channels, index % g.channels);
                            add_inputs(d_inputs, channel * tiles, (tiling, piece, image), plane);
                        });
                    }
                });
            }
        });
        (needed.x.then_some(dx), needed.w.then_some(dw))
    }

    /// `[channels, points, tiles]`.
    fn transform_inputs(self, x: &[f32], tiling: Tiling, piece: &Piece, to: &mut [f32]) {
        let g = self.g;
        let (tiles, plane) = (tiling.tiles_of(piece), g.out_plane());
        for_rows(to, tiling.tile.points() * tiles, 1, |channel, to| {
            let of_image = |image| &x[image * g.image() + channel * plane..][..plane];
            let planes: Vec<&[f32]> = piece.images.clone().map(of_image).collect();
            transform_inputs(&planes, tiling, piece, to);
        });
    }

    /// `[block, points, channels]`.
    fn transform_kernels(self, block: &Range<usize>, tile: TileSize, to: &mut [f32]) {
        let (patch, channels) = (self.g.patch(), self.g.channels);
        let size = tile.points() * channels;
        to[..size * block.len()].par_chunks_mut(size).enumerate().for_each(|(row, to)| {
            transform_kernels(&self.w[(block.start + row) * patch..][..patch], tile, to);
        });
    }
}
