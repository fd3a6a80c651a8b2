//! How the maps of Winograd's way are cut into pieces, and pieces into groups of tiles.

use std::ops::{Deref, Range};

use super::im2col::Geometry;
use super::transforms::LANES;

/// Outputs along a side of a tile, and their stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileSize {
    /// F(2x2, 3x3): 16 products instead of 36 multiplications, as accurate as the plain sum.
    Two,
    /// F(4x4, 3x3): 36 products instead of 144, within some 1e-5 of the largest value.
    Four,
    /// 4x4 outputs with stride 2: 81 products instead of 144.
    Strided,
}

impl TileSize {
    pub fn side(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four | Self::Strided => 4,
        }
    }

    pub fn stride(self) -> usize {
        if self == Self::Strided { 2 } else { 1 }
    }

    /// Products of a tile.
    pub fn points(self) -> usize {
        let side = (self.side() - 1) * self.stride() + 3;
        side * side
    }
}

/// A piece of the output: whole images, or rows of tiles of a single one.
#[derive(Clone, Debug)]
pub struct Piece {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

/// Tiles of a group that lie side by side in one row of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The first one's place in the group.
    pub lane: usize,
    pub tiles: usize,
    /// Counted in the piece.
    pub image: usize,
    /// Of the first tile, in tiles of the whole map.
    pub row: usize,
    pub column: usize,
}

/// How maps are cut into tiles.
#[derive(Clone, Copy)]
pub struct Tiling {
    /// Of the input.
    pub height: usize,
    pub width: usize,
    pub out_height: usize,
    pub out_width: usize,
    /// Tiles.
    pub rows: usize,
    pub columns: usize,
}

impl Tiling {
    pub fn new(g: &Geometry, tile: TileSize) -> Self {
        let &Geometry { height, width, out_height, out_width, .. } = g;
        let (rows, columns) = (out_height.div_ceil(tile.side()), out_width.div_ceil(tile.side()));
        Self { height, width, out_height, out_width, rows, columns }
    }

    pub fn tiles(self) -> usize {
        self.rows * self.columns
    }

    /// Pieces of about `wanted` tiles.
    pub fn pieces(self, n: usize, wanted: usize) -> Vec<Piece> {
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
        piece.images.len() * self.tiles_of_image(piece)
    }

    pub fn tiles_of_image(self, piece: &Piece) -> usize {
        piece.rows.len() * self.columns
    }

    /// The runs of a group of tiles of a piece.
    pub fn runs(self, piece: &Piece, group: &Range<usize>) -> Runs {
        let of_image = self.tiles_of_image(piece);
        let mut runs = Runs { runs: [Run::default(); LANES], len: 0 };
        let mut next = group.start;
        while next < group.end {
            let (image, place) = (next / of_image, next % of_image);
            let (row, column) = (piece.rows.start + place / self.columns, place % self.columns);
            let tiles = (self.columns - column).min(group.end - next);
            runs.runs[runs.len] = Run { lane: next - group.start, tiles, image, row, column };
            runs.len += 1;
            next += tiles;
        }
        runs
    }
}

/// At most one for each tile of a group.
pub struct Runs {
    runs: [Run; LANES],
    len: usize,
}

impl Deref for Runs {
    type Target = [Run];

    fn deref(&self) -> &[Run] {
        &self.runs[..self.len]
    }
}

/// Groups of tiles that are transformed side by side.
pub fn groups(tiles: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = tiles.end;
    tiles.step_by(LANES).map(move |first| first..(first + LANES).min(end))
}

/// Numbers from one row of a table with `columns` to the next: whole vectors, and an odd count of them, or
/// rows of a power of two would compete for the same lines of the cache.
pub fn row_stride(columns: usize) -> usize {
    (columns.div_ceil(LANES) | 1) * LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_with_the_rows() {
        let tiling = Tiling { height: 5, width: 9, out_height: 5, out_width: 9, rows: 3, columns: 5 };
        let piece = Piece { images: 2..4, rows: 1..3 };
        let run = |lane, tiles, image, row, column| Run { lane, tiles, image, row, column };
        assert_eq!(
            tiling.runs(&piece, &(3..16))[..],
            [run(0, 2, 0, 1, 3), run(2, 5, 0, 2, 0), run(7, 5, 1, 1, 0), run(12, 1, 1, 2, 0)]
        );
    }

    #[test]
    fn strides() {
        assert_eq!([1, 16, 17, 32, 512].map(row_stride), [16, 16, 48, 48, 528]);
    }
}
