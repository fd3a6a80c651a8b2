//! Tiles cut from maps and put back, a group at a time, and what the gradient of the kernels needs of them.

use std::ops::Range;

use super::super::simd::wide;
use super::finish::copy;
use super::tiling::{Piece, Run, Tiling, groups, row_stride};
use super::transforms::{LANES, Scheme, Square, Two, both_axes};

/// A row of the squares of a group, `T` values each.
type Strip<const T: usize> = [[f32; T]; LANES];

/// Where a group lies.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub tiling: Tiling,
    pub piece: &'a Piece,
    /// Rows and columns that squares begin before their tiles.
    pub before: usize,
}

/// Copies `line[from..]` to `to`; zero outside.
#[inline(always)]
fn copy_or_zero(line: &[f32], from: isize, to: &mut [f32]) {
    if from >= 0 && from as usize + to.len() <= line.len() {
        return copy(&line[from as usize..][..to.len()], to);
    }
    let inside = |x: isize| x.clamp(0, line.len() as isize) as usize;
    let (first, last) = (inside(from), inside(from + to.len() as isize));
    let skipped = (first as isize - from) as usize;
    if last <= first {
        return to.fill(0.0);
    }
    to[..skipped].fill(0.0);
    to[skipped..skipped + last - first].copy_from_slice(&line[first..last]);
    to[skipped + last - first..].fill(0.0);
}

impl Place<'_> {
    /// Row `row` of squares that begins in the tile row `of`, where it lies inside the map.
    #[inline(always)]
    fn line<const T: usize>(self, of: usize, row: usize, height: usize) -> Option<usize> {
        (of * T + row).checked_sub(self.before).filter(|&y| y < height)
    }

    /// The values under squares of side N of a group, whose tiles are T apart; zero outside the maps.
    #[inline(always)]
    pub fn cut<'p, const N: usize, const T: usize>(
        self,
        plane: impl Fn(usize) -> &'p [f32],
        runs: &[Run],
    ) -> Square<N> {
        let Tiling { height, width, .. } = self.tiling;
        let mut square = [[[0f32; LANES]; N]; N];
        for (row, square) in square.iter_mut().enumerate() {
            let mut strip: Strip<T> = [[0.0; T]; LANES];
            let values = strip.as_flattened_mut();
            for run in runs {
                if let Some(y) = self.line::<T>(run.row, row, height) {
                    let line = &plane(run.image)[y * width..(y + 1) * width];
                    let from = (run.column * T) as isize - self.before as isize;
                    let to = &mut values[run.lane * T..(run.lane + run.tiles) * T];
                    copy_or_zero(line, from, to);
                }
            }
            let (own, next) = square.split_at_mut(T);
            for (column, own) in own.iter_mut().enumerate() {
                for lane in 0..LANES {
                    own[lane] = strip[lane][column];
                }
            }
            if next.is_empty() {
                continue;
            }
            // What a square has beyond its tile is the beginning of the next one's, but for the last of a run.
            for (next, own) in next.iter_mut().zip(own) {
                next[..LANES - 1].copy_from_slice(&own[1..]);
            }
            for run in runs {
                let last = run.lane + run.tiles - 1;
                let line = self.line::<T>(run.row, row, height);
                for (column, next) in next.iter_mut().enumerate() {
                    let x = ((run.column + run.tiles) * T + column).checked_sub(self.before);
                    next[last] = match (line, x) {
                        (Some(y), Some(x)) if x < width => plane(run.image)[y * width + x],
                        _ => 0.0,
                    };
                }
            }
        }
        square
    }

    /// Where the part inside the map of a run of squares lies whose row and column are given: the first place in the
    /// plane, and the places in the strip.
    #[inline(always)]
    pub fn span<const T: usize>(self, run: &Run, [row, column]: [usize; 2]) -> Option<(usize, Range<usize>)> {
        let Tiling { out_height, out_width: width, .. } = self.tiling;
        let y = self.line::<T>(run.row, row, out_height)?;
        let first = run.column * T + column;
        let skipped = self.before.saturating_sub(first);
        let first = (first + skipped - self.before).min(width);
        let len = (run.tiles * T - skipped).min(width - first);
        let start = run.lane * T + skipped;
        Some((y * width + first, start..start + len))
    }
}

/// T columns of a row of squares, tile after tile as they lie in the map.
#[inline(always)]
pub fn strip<const T: usize>(columns: &[[f32; LANES]]) -> Strip<T> {
    let mut strip = [[0f32; T]; LANES];
    for (lane, strip) in strip.iter_mut().enumerate() {
        for (to, column) in strip.iter_mut().zip(columns) {
            *to = column[lane];
        }
    }
    strip
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

/// Cuts squares of side N, maps them along both axes and writes them, `[points, tiles]`.
#[inline(always)]
fn transform<const N: usize, const P: usize, const T: usize>(
    planes: &[&[f32]],
    place: Place,
    to: &mut [f32],
    f: impl Fn([f32; N]) -> [f32; P],
) {
    let tiles = place.tiling.tiles_of(place.piece);
    for group in groups(0..tiles) {
        let runs = place.tiling.runs(place.piece, &group);
        let square = both_axes(&place.cut::<N, T>(|image| planes[image], &runs), &f);
        store(&square, group.len(), row_stride(tiles), group.start, to);
    }
}

/// The sums of one output over all tiles of a piece.
#[derive(Clone, Copy)]
pub struct Sums<'a> {
    /// Of all points, `stride` apart; those of the output begin at `start`.
    pub data: &'a [f32],
    pub start: usize,
    pub stride: usize,
}

wide! {
    /// Small tiles of one channel, all images of the piece in a row: `[points, tiles]`.
    pub fn transform_inputs(planes: &[&[f32]], tiling: Tiling, piece: &Piece, to: &mut [f32]) {
        let place = Place { tiling, piece, before: 1 };
        transform::<4, 4, 2>(planes, place, to, <Two as Scheme<4, 2>>::input);
    }

    /// As [`transform_inputs`], of the gradients of one output.
    pub fn transform_gradients(planes: &[&[f32]], tiling: Tiling, piece: &Piece, to: &mut [f32]) {
        let place = Place { tiling, piece, before: 0 };
        transform::<2, 4, 2>(planes, place, to, Two::output_transposed);
    }

    /// Adds the gradients of one output's kernels under small tiles.
    pub fn add_kernels(from: Sums, dw: &mut [f32]) {
        let channels = dw.len() / 9;
        for first in (0..channels).step_by(LANES) {
            let lanes = LANES.min(channels - first);
            let square = load(from.data, lanes, from.stride, from.start + first);
            let square = both_axes(&square, Two::kernel_transposed);
            for (lane, dw) in dw[first * 9..(first + lanes) * 9].chunks_exact_mut(9).enumerate() {
                for place in 0..9 {
                    dw[place] += square[place / 3][place % 3][lane];
                }
            }
        }
    }
}
