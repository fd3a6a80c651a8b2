//! Pieces of the output of Winograd's way, and the transforms of their tiles.

use std::ops::Range;

use super::super::simd::wide;
use super::im2col::Geometry;
use super::transforms::{Four, LANES, Scheme, Square, Two, both_axes};

/// Numbers that the transformed input and output of a piece should take at most: they stay in the cache.
const PIECE_NUMBERS: usize = 1 << 21;
/// Tiles that make a matrix product worth its while.
const LEAST_TILES: usize = 64;

/// Outputs along a side of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileSize {
    /// F(2x2, 3x3): 16 products instead of 36 multiplications, as accurate as the plain sum.
    Two,
    /// F(4x4, 3x3): 36 products instead of 144, within some 1e-5 of the largest value.
    Four,
}

impl TileSize {
    pub fn side(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Products of a tile.
    pub fn points(self) -> usize {
        (self.side() + 2) * (self.side() + 2)
    }
}

/// A piece of the output: whole images, or rows of tiles of a single one.
#[derive(Clone, Debug)]
pub struct Piece {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

/// How maps are cut into tiles.
#[derive(Clone, Copy)]
pub struct Tiling {
    pub tile: TileSize,
    pub height: usize,
    pub width: usize,
    /// Tiles.
    pub rows: usize,
    pub columns: usize,
}

impl Tiling {
    pub fn new(g: &Geometry, tile: TileSize) -> Self {
        let (rows, columns) = (g.height.div_ceil(tile.side()), g.width.div_ceil(tile.side()));
        Self { tile, height: g.height, width: g.width, rows, columns }
    }

    pub fn tiles(self) -> usize {
        self.rows * self.columns
    }

    pub fn pieces(self, n: usize, channels: usize) -> Vec<Piece> {
        let wanted = (PIECE_NUMBERS / (self.tile.points() * channels)).max(LEAST_TILES);
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
        let side = self.tile.side();
        [(piece.rows.start + tile / self.columns) * side, tile % self.columns * side]
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
fn store<const P: usize>(square: &Square<P>, lanes: usize, stride: usize, start: usize, to: &mut [f32]) {
    for (point, from) in square.iter().flatten().enumerate() {
        copy_lanes(from, &mut to[point * stride + start..], lanes);
    }
}

#[inline(always)]
fn load<const P: usize>(from: &[f32], lanes: usize, stride: usize, start: usize) -> Square<P> {
    let mut square = [[[0f32; LANES]; P]; P];
    for (point, to) in square.iter_mut().flatten().enumerate() {
        copy_lanes(&from[point * stride + start..], to, lanes);
    }
    square
}

/// Calls `f(square, first tile, lanes)` for groups of the tiles of one channel, all images in a row.
#[inline(always)]
fn cut_all<const N: usize>(
    planes: &[&[f32]],
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

#[inline(always)]
fn inputs<S: Scheme<P, T>, const P: usize, const T: usize>(
    planes: &[&[f32]],
    tiling: Tiling,
    piece: &Piece,
    to: &mut [f32],
) {
    let tiles = to.len() / (P * P);
    cut_all(planes, tiling, piece, 1, |square, first, lanes| {
        store(&both_axes(square, S::input), lanes, tiles, first, to);
    });
}

#[inline(always)]
fn kernels<S: Scheme<P, T>, const P: usize, const T: usize>(w: &[f32], to: &mut [f32]) {
    let channels = w.len() / 9;
    for first in (0..channels).step_by(LANES) {
        let lanes = LANES.min(channels - first);
        let mut square = [[[0f32; LANES]; 3]; 3];
        for (lane, kernel) in w[first * 9..(first + lanes) * 9].chunks_exact(9).enumerate() {
            for place in 0..9 {
                square[place / 3][place % 3][lane] = kernel[place];
            }
        }
        store(&both_axes(&square, S::kernel), lanes, channels, first, to);
    }
}

/// Adds `f` of the squares of one image (counted in the piece) to a plane.
#[inline(always)]
fn add_all<const P: usize, const N: usize>(
    from: &[f32],
    start: usize,
    (tiling, piece, image): (Tiling, &Piece, usize),
    before: usize,
    plane: &mut [f32],
    f: impl Fn([f32; P]) -> [f32; N],
) {
    let stride = from.len() / (P * P);
    each_group(tiling, piece, image, |first, corners| {
        let square = both_axes(&load(from, corners.len(), stride, start + first), &f);
        for (lane, &corner) in corners.iter().enumerate() {
            tiling.add(&square, corner, before, lane, plane);
        }
    });
}

wide! {
    /// The tiles of one channel, all images of the piece in a row: `[points, tiles]`.
    pub fn transform_inputs(planes: &[&[f32]], tiling: Tiling, piece: &Piece, to: &mut [f32]) {
        match tiling.tile {
            TileSize::Two => inputs::<Two, 4, 2>(planes, tiling, piece, to),
            TileSize::Four => inputs::<Four, 6, 4>(planes, tiling, piece, to),
        }
    }

    /// As [`transform_inputs`] with small tiles, of the gradients of one output.
    pub fn transform_gradients(planes: &[&[f32]], tiling: Tiling, piece: &Piece, to: &mut [f32]) {
        let tiles = to.len() / TileSize::Two.points();
        cut_all(planes, tiling, piece, 0, #[inline(always)] |square, first, lanes| {
            store(&both_axes(square, Two::output_transposed), lanes, tiles, first, to);
        });
    }

    /// Of one output: `[channels, 3, 3]` -> `[points, channels]`.
    pub fn transform_kernels(w: &[f32], tile: TileSize, to: &mut [f32]) {
        match tile {
            TileSize::Two => kernels::<Two, 4, 2>(w, to),
            TileSize::Four => kernels::<Four, 6, 4>(w, to),
        }
    }

    /// Adds the gradients of one output's kernels under small tiles; its numbers of a point begin at `start`.
    pub fn add_kernels(from: &[f32], start: usize, stride: usize, dw: &mut [f32]) {
        let channels = dw.len() / 9;
        for first in (0..channels).step_by(LANES) {
            let lanes = LANES.min(channels - first);
            let square = both_axes(&load(from, lanes, stride, start + first), Two::kernel_transposed);
            for (lane, dw) in dw[first * 9..(first + lanes) * 9].chunks_exact_mut(9).enumerate() {
                for place in 0..9 {
                    dw[place] += square[place / 3][place % 3][lane];
                }
            }
        }
    }

    /// Writes the tiles of one image (counted in the piece) to the plane of an output, which holds zeros.
    pub fn write_outputs(sums: &[f32], start: usize, place: (Tiling, &Piece, usize), plane: &mut [f32]) {
        match place.0.tile {
            TileSize::Two => add_all(sums, start, place, 0, plane, <Two as Scheme<4, 2>>::output),
            TileSize::Four => add_all(sums, start, place, 0, plane, <Four as Scheme<6, 4>>::output),
        }
    }

    /// Adds the gradients of one image (counted in the piece), of small tiles, to the plane of a channel.
    pub fn add_inputs(from: &[f32], start: usize, place: (Tiling, &Piece, usize), plane: &mut [f32]) {
        add_all(from, start, place, 1, plane, Two::input_transposed);
    }
}
