//! Pieces of the output of Winograd's way, and the transforms of their tiles.

use std::ops::Range;

use super::super::simd::wide;
use super::im2col::Geometry;
use super::transforms::{
    LANES, PATCH, POINTS, Square, TILE, both_axes, input, input_transposed, kernel, kernel_transposed,
    output, output_transposed,
};

/// Numbers that the transformed input and output of a piece should take at most: they stay in the cache.
const PIECE_NUMBERS: usize = 1 << 21;
/// Tiles that make a matrix product worth its while.
const LEAST_TILES: usize = 64;

/// A piece of the output: whole images, or rows of tiles of a single one.
#[derive(Clone, Debug)]
pub struct Piece {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

/// How maps are cut into tiles.
#[derive(Clone, Copy)]
pub struct Tiling {
    pub height: usize,
    pub width: usize,
    /// Tiles.
    pub rows: usize,
    pub columns: usize,
}

impl Tiling {
    pub fn of(g: &Geometry) -> Self {
        let (rows, columns) = (g.height.div_ceil(TILE), g.width.div_ceil(TILE));
        Self { height: g.height, width: g.width, rows, columns }
    }

    pub fn tiles(self) -> usize {
        self.rows * self.columns
    }

    pub fn pieces(self, n: usize, channels: usize) -> Vec<Piece> {
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

    pub fn tiles_of(self, piece: &Piece) -> usize {
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

/// Copies the first lanes; a full set without a call.
#[inline(always)]
fn copy_lanes(from: &[f32], to: &mut [f32], lanes: usize) {
    match (from.first_chunk::<LANES>(), to.first_chunk_mut::<LANES>()) {
        (Some(from), Some(to)) if lanes == LANES => *to = *from,
        _ => to[..lanes].iter_mut().zip(from).for_each(|(to, &from)| *to = from),
    }
}

/// Copies the first lanes of all points to or from rows of `stride` numbers that begin at `start`.
#[inline(always)]
fn store(square: &Square<PATCH>, lanes: usize, stride: usize, start: usize, to: &mut [f32]) {
    for (point, from) in square.iter().flatten().enumerate() {
        copy_lanes(from, &mut to[point * stride + start..], lanes);
    }
}

#[inline(always)]
fn load(from: &[f32], lanes: usize, stride: usize, start: usize) -> Square<PATCH> {
    let mut square = [[[0f32; LANES]; PATCH]; PATCH];
    for (point, to) in square.iter_mut().flatten().enumerate() {
        copy_lanes(&from[point * stride + start..], to, lanes);
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
    pub fn transform_kernels(w: &[f32], to: &mut [f32]) {
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
    pub fn add_kernels(d_kernels: &[f32], start: usize, stride: usize, dw: &mut [f32]) {
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
    pub fn write_outputs(sums: &[f32], start: usize, tiling: Tiling, piece: &Piece, image: usize, plane: &mut [f32]) {
        let stride = sums.len() / POINTS;
        each_group(tiling, piece, image, #[inline(always)] |first, corners| {
            let square = both_axes(&load(sums, corners.len(), stride, start + first), output);
            for (lane, &corner) in corners.iter().enumerate() {
                tiling.add(&square, corner, 0, lane, plane);
            }
        });
    }

    /// Adds the gradients of one image (counted in the piece) to the plane of a channel.
    pub fn add_inputs(d_inputs: &[f32], start: usize, tiling: Tiling, piece: &Piece, image: usize, plane: &mut [f32]) {
        let stride = d_inputs.len() / POINTS;
        each_group(tiling, piece, image, #[inline(always)] |first, corners| {
            let square = both_axes(&load(d_inputs, corners.len(), stride, start + first), input_transposed);
            for (lane, &corner) in corners.iter().enumerate() {
                tiling.add(&square, corner, 1, lane, plane);
            }
        });
    }
}

pub fn transform_inputs<'a>(
    planes: impl Iterator<Item = &'a [f32]>,
    tiling: Tiling,
    piece: &Piece,
    to: &mut [f32],
) {
    transform_inputs_of(&planes.collect::<Vec<_>>(), tiling, piece, to);
}

pub fn transform_gradients<'a>(
    planes: impl Iterator<Item = &'a [f32]>,
    tiling: Tiling,
    piece: &Piece,
    to: &mut [f32],
) {
    transform_gradients_of(&planes.collect::<Vec<_>>(), tiling, piece, to);
}
