//! Co-content features: a coordinate's token also brings what the image holds along its line.

use candle_core::{Result, Tensor};

use super::grid::Grid;
use crate::config::CoContentAxes;
use crate::nn::ops::line_means;

/// Means of the memory over the map's rows and columns, padded cells included (quirk 11).
#[derive(Clone, Debug)]
pub struct CoContent {
    axes: CoContentAxes,
    bins: usize,
    height: usize,
    width: usize,
    /// `[B * (h + w), D]`: of each image the rows, then the columns.
    lines: Tensor,
}

impl CoContent {
    /// From the encoder's memory `[B, N, D]`, whose first positions are the cells.
    pub fn new(axes: CoContentAxes, bins: usize, memory: &Tensor, grid: &Grid) -> Result<Self> {
        let (height, width) = (grid.height, grid.width);
        let (b, _, d) = memory.dims3()?;
        let lines = line_means(memory, height, width)?.reshape((b * (height + width), d))?;
        Ok(Self { axes, bins, height, width, lines })
    }

    /// Features of tokens, `[B, n, D]`. `tokens[b]` are row b's; `first` counts the tokens before
    /// them: even places are x, odd ones y. The end token takes the last line.
    pub fn features(&self, tokens: &[Vec<u32>], first: usize) -> Result<Tensor> {
        let n = tokens.first().map_or(0, Vec::len);
        let mut lines = Vec::with_capacity(tokens.len() * n);
        for (b, row) in tokens.iter().enumerate() {
            let base = b * (self.height + self.width);
            for (j, &token) in row.iter().enumerate() {
                let is_x = (first + j).is_multiple_of(2);
                let along_row = is_x == (self.axes == CoContentAxes::Crossed);
                let line = if along_row {
                    line(token, self.bins, self.height)
                } else {
                    self.height + line(token, self.bins, self.width)
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
        Ok(Self { lines: lines.reshape((rows.len() * per_row, d))?, ..self.clone() })
    }
}

/// The line of `n` that a token points at, in the reference's float32 arithmetic.
pub fn line(token: u32, bins: usize, n: usize) -> usize {
    (token as f32 / bins as f32 * (n - 1) as f32) as usize
}
