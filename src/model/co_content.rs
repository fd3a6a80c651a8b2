//! Co-content features: a coordinate's token also brings what the image holds along its line.

use candle_core::{Result, Tensor};

use super::grid::Grid;
use crate::config::CoContentAxes;
use crate::nn::ops::line_means;

/// Means of the memory over rows and columns: of the whole map, padded cells included, where axes are
/// crossed (quirk 11); of each image's own cells where they are aligned.
#[derive(Clone, Debug)]
pub struct CoContent {
    axes: CoContentAxes,
    bins: usize,
    height: usize,
    width: usize,
    /// Rows and columns of each image's own cells.
    own: Vec<[usize; 2]>,
    /// `[B * (h + w), D]`: of each image the rows, then the columns.
    lines: Tensor,
}

impl CoContent {
    /// From the encoder's memory `[B, N, D]`, whose first positions are the cells.
    pub fn new(axes: CoContentAxes, bins: usize, memory: &Tensor, grid: &Grid) -> Result<Self> {
        let (height, width) = (grid.height, grid.width);
        let (b, _, d) = memory.dims3()?;
        let lines = match axes {
            CoContentAxes::Crossed => line_means(memory, height, width)?,
            CoContentAxes::Aligned => own_line_means(memory, grid)?,
        };
        let lines = lines.reshape((b * (height + width), d))?;
        Ok(Self { axes, bins, height, width, own: grid.own(), lines })
    }

    /// Features of tokens, `[B, n, D]`. `tokens[b]` are row b's; `first` counts the tokens before
    /// them: even places are x, odd ones y. The end token takes the last line.
    ///
    /// Tokens are shares of the image's own padded size, so aligned ones choose among its own lines; crossed
    /// ones choose among the map's, as in the reference.
    pub fn features(&self, tokens: &[Vec<u32>], first: usize) -> Result<Tensor> {
        let n = tokens.first().map_or(0, Vec::len);
        let mut lines = Vec::with_capacity(tokens.len() * n);
        for (b, row) in tokens.iter().enumerate() {
            let base = b * (self.height + self.width);
            let [rows, columns] = self.own[b];
            for (j, &token) in row.iter().enumerate() {
                let is_x = (first + j).is_multiple_of(2);
                let line = match (self.axes, is_x) {
                    (CoContentAxes::Crossed, true) => line(token, self.bins, self.height),
                    (CoContentAxes::Crossed, false) => self.height + line(token, self.bins, self.width),
                    (CoContentAxes::Aligned, true) => self.height + line_at(token, self.bins, columns),
                    (CoContentAxes::Aligned, false) => line_at(token, self.bins, rows),
                };
                lines.push((base + line) as u32);
            }
        }
        let index = Tensor::from_vec(lines, tokens.len() * n, self.lines.device())?;
        self.lines.index_select(&index, 0)?.reshape((tokens.len(), n, self.lines.dim(1)?))
    }

    /// The batch rows named by `rows`.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        let per_row = self.height + self.width;
        let (n, d) = self.lines.dims2()?;
        let index = Tensor::new(rows, self.lines.device())?;
        let lines = self.lines.reshape((n / per_row, per_row, d))?.index_select(&index, 0)?;
        let own = rows.iter().map(|&row| self.own[row as usize]).collect();
        Ok(Self { own, lines: lines.reshape((rows.len() * per_row, d))?, ..self.clone() })
    }
}

/// The line of `n` that a token points at, in the reference's float32 arithmetic.
pub fn line(token: u32, bins: usize, n: usize) -> usize {
    (token as f32 / bins as f32 * (n - 1) as f32) as usize
}

/// The line of `n` equally wide ones in which a token's place lies.
fn line_at(token: u32, bins: usize, n: usize) -> usize {
    (token as usize * n / bins).min(n - 1)
}

/// [`line_means`] over each image's own cells; what lies outside of them is of no use.
fn own_line_means(memory: &Tensor, grid: &Grid) -> Result<Tensor> {
    let (height, width, own) = (grid.height, grid.width, grid.own());
    if own.iter().all(|&cells| cells == [height, width]) {
        return line_means(memory, height, width);
    }
    let column = |values: Vec<f32>, n: usize| Tensor::from_vec(values, (own.len(), n, 1), memory.device());
    let inside = grid.padding.iter().flatten().map(|&ignored| if ignored { 0.0 } else { 1.0 }).collect();
    let cells = memory.narrow(1, 0, grid.cells())?.broadcast_mul(&column(inside, grid.cells())?)?;
    // Means over all cells, of which only some are not 0.
    let larger = own.iter().flat_map(|&[rows, columns]| {
        let of_row = width as f32 / columns as f32;
        let of_column = height as f32 / rows as f32;
        std::iter::repeat_n(of_row, height).chain(std::iter::repeat_n(of_column, width))
    });
    line_means(&cells, height, width)?.broadcast_mul(&column(larger.collect(), height + width)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::random::Stream;

    const BINS: usize = 1000;

    /// Of an image of 2 x 3 cells in a map of this size whose padded cells hold anything, and of the tokens
    /// x, y: what aligned axes bring.
    fn features(height: usize, width: usize, tokens: [u32; 2]) -> Result<Vec<Vec<f32>>> {
        let grid = Grid::new(height, width, (8 * height, 8 * width), &[(13, 24), (8 * height, 8 * width)]);
        let (mut own, mut anything) = (Stream::new(1, "cells"), Stream::new(2, "padding"));
        let mut memory: Vec<f32> = Vec::new();
        for padding in &grid.padding {
            for &ignored in padding {
                let stream = if ignored { &mut anything } else { &mut own };
                memory.extend((0..4).map(|_| stream.range(-1.0, 1.0) as f32));
            }
        }
        let memory = Tensor::from_vec(memory, (2, height * width, 4), &Device::Cpu)?;
        let all = CoContent::new(CoContentAxes::Aligned, BINS, &memory, &grid)?;
        let first = all.features(&[tokens.to_vec(), tokens.to_vec()], 0)?.get(0)?;
        // Decoding goes on with some rows.
        let alone = all.select(&[0])?.features(&[tokens.to_vec()], 0)?.get(0)?;
        assert_eq!(first.to_vec2::<f32>()?, alone.to_vec2::<f32>()?);
        first.to_vec2()
    }

    #[test]
    fn padding_changes_nothing_where_axes_are_aligned() -> Result<()> {
        for tokens in [[0, 0], [333, 499], [334, 500], [999, 999], [1000, 1000]] {
            let expected = features(2, 3, tokens)?.concat();
            for (height, width) in [(2, 5), (4, 3), (4, 5)] {
                let found = features(height, width, tokens)?.concat();
                let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-6, "{tokens:?} in {height} x {width}: {apart}");
            }
        }
        Ok(())
    }

    /// y = 470 of an image of 480 pixels, 15 rows of 32.
    #[test]
    fn aligned_lines_are_where_the_token_is() {
        assert_eq!(line_at(979, BINS, 15), 470 / 32);
        assert_eq!([0, 66, 67, 999, 1000].map(|token| line_at(token, BINS, 15)), [0, 0, 1, 14, 14]);
    }
}
