//! Winograd's way: 3x3 convolutions with fewer multiplications, and the gradients of their kernels.
//!
//! Overlapping patches of the input, and the kernels, are mapped to as many products as a patch has values;
//! these are summed over channels, and mapped to tiles of outputs. The gradients run the transposed maps: those of
//! the input are a convolution again.

use rayon::prelude::*;

use super::super::jobs::for_rows;
use super::super::matrix::{Matrix, Target, multiply};
use super::super::storage::with_scratch;
use super::im2col::Geometry;
use super::tiles::{Sums, add_kernels, transform_gradients, transform_inputs};
use super::tiling::{TileSize, Tiling, row_stride};
use super::transforms::LANES;

/// Channels that are worth transforming.
const LEAST_CHANNELS: usize = 16;
/// With stride 2, where less is saved.
const LEAST_STRIDED: usize = if cfg!(test) { 16 } else { 64 };
/// Products of a small tile.
const POINTS: usize = 16;
/// Numbers that transformed gradients of kernels may take at once; tests see several blocks at small sizes.
const KERNEL_NUMBERS: usize = if cfg!(test) { POINTS * 48 * 16 } else { 5 << 22 };
/// Numbers that the transformed input and gradients of a piece should take at most: they stay in the cache.
const PIECE_NUMBERS: usize = 1 << 21;
/// Tiles that make a matrix product worth its while.
const LEAST_TILES: usize = 64;

/// How to convolve: with tiles of this size or, with stride 2, of their own where large ones are preferred. Nothing
/// where patches are faster.
pub fn tile_size(g: &Geometry, preferred: TileSize, n: usize, outputs: usize) -> Option<TileSize> {
    let (tile, least) = match g.stride {
        1 => (preferred, LEAST_CHANNELS),
        2 if preferred == TileSize::Four => (TileSize::Strided, LEAST_STRIDED),
        _ => return None,
    };
    let tiles = Tiling::new(g, tile).tiles();
    let worth_it = g.kernel == [3, 3]
        && g.padding == 1
        && g.channels.min(outputs) >= least
        && n * tiles >= LANES
        && g.out_plane() >= tiles * tile.side() * tile.side() / 2;
    worth_it.then_some(tile)
}

/// Numbers of a table `[rows, POINTS, columns]`, whose rows are `row_stride(columns)` apart.
fn table([rows, columns]: [usize; 2]) -> usize {
    rows * POINTS * row_stride(columns)
}

/// Of such a table the matrix of one point.
fn of_point(data: &[f32], point: usize, [rows, columns]: [usize; 2]) -> Matrix<'_> {
    let stride = row_stride(columns);
    Matrix::with_stride(&data[point * stride..], rows, columns, POINTS * stride)
}

/// The gradient of kernels `[o, channels, 3, 3]`, with small tiles. It is summed over pieces that depend on the
/// sizes alone, so the number of threads does not change it.
pub fn kernel_gradients(g: &Geometry, x: &[f32], grad: &[f32], n: usize) -> Vec<f32> {
    let (plane, channels) = (g.out_plane(), g.channels);
    let o = grad.len() / (n * plane);
    let tiling = Tiling::new(g, TileSize::Two);
    let block = (KERNEL_NUMBERS / table([1, channels])).clamp(LEAST_CHANNELS, o.max(LEAST_CHANNELS));
    let pieces = tiling.pieces(n, (PIECE_NUMBERS / (POINTS * (channels + o))).max(LEAST_TILES));
    let mut dw = vec![0f32; o * g.patch()];
    for (index, dw) in dw.chunks_mut(block * g.patch()).enumerate() {
        let (first, outputs) = (index * block, dw.len() / g.patch());
        with_scratch(table([outputs, channels]), |d_kernels| {
            for (index, piece) in pieces.iter().enumerate() {
                let tiles = tiling.tiles_of(piece);
                with_scratch(table([channels + outputs, tiles]), |scratch| {
                    let (inputs, d_sums) = scratch.split_at_mut(table([channels, tiles]));
                    for_rows(inputs, table([1, tiles]), 1, |channel, to| {
                        let of_image = |image| &x[image * g.image() + channel * plane..][..plane];
                        let planes: Vec<&[f32]> = piece.images.clone().map(of_image).collect();
                        transform_inputs(&planes, tiling, piece, to);
                    });
                    for_rows(d_sums, table([1, tiles]), 1, |row, to| {
                        let of_image = |image| &grad[(image * o + first + row) * plane..][..plane];
                        let planes: Vec<&[f32]> = piece.images.clone().map(of_image).collect();
                        transform_gradients(&planes, tiling, piece, to);
                    });
                    // `[points, outputs, channels]`
                    let size = outputs * row_stride(channels);
                    d_kernels.par_chunks_mut(size).enumerate().for_each(|(point, data)| {
                        let inputs = of_point(inputs, point, [channels, tiles]).transposed();
                        let target = Target { data, stride: row_stride(channels), add: index > 0 };
                        let d_sums = of_point(d_sums, point, [outputs, tiles]);
                        multiply(d_sums, inputs, target, gemm::Parallelism::None);
                    });
                });
            }
            for_rows(dw, g.patch(), 1, |row, dw| {
                let stride = outputs * row_stride(channels);
                add_kernels(Sums { data: d_kernels, start: row * row_stride(channels), stride }, dw);
            });
        });
    }
    dw
}
