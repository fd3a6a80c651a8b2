//! Where on the map a referent lies, as a distribution over cells.

use candle_core::{Result, Tensor};

use super::grid::Grid;

/// The aim of each row, and the boxes it comes from.
#[derive(Clone, Debug)]
pub struct Aim {
    /// By row, a Gaussian around the box's middle, a quarter of its sides wide and at least half
    /// a cell; it sums to 1 over valid cells.
    pub weights: Vec<Vec<f32>>,
    /// x1, y1, x2, y2 in shares of the row's padded size.
    boxes: Vec<[f32; 4]>,
    /// Middles of the cells in the same shares, by row.
    middles: Vec<Vec<[f32; 2]>>,
}

/// Softmax of Gaussian exponents over valid cells; deviations and distances in shares.
fn gaussian(middles: &[[f32; 2]], padding: &[bool], at: [f32; 2], deviation: [f32; 2]) -> Vec<f32> {
    let exponents: Vec<f32> = middles
        .iter()
        .zip(padding)
        .map(|(middle, &ignored)| {
            let scaled = [0, 1].map(|axis| (middle[axis] - at[axis]) / deviation[axis]);
            if ignored { f32::NEG_INFINITY } else { -0.5 * (scaled[0] * scaled[0] + scaled[1] * scaled[1]) }
        })
        .collect();
    let highest = exponents.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let values: Vec<f32> = exponents.iter().map(|exponent| (exponent - highest).exp()).collect();
    let sum: f32 = values.iter().sum();
    values.into_iter().map(|value| value / sum).collect()
}

impl Aim {
    /// Boxes x1, y1, x2, y2 in pixels, of rows whose images are padded to `pad_hw` each.
    pub fn new(grid: &Grid, boxes: &[[f64; 4]], pad_hw: &[(usize, usize)]) -> Self {
        let mut aim = Self { weights: Vec::new(), boxes: Vec::new(), middles: Vec::new() };
        for ((corners, &(height, width)), padding) in boxes.iter().zip(pad_hw).zip(&grid.padding) {
            let size = [width as f32, height as f32];
            let corners: [f32; 4] = std::array::from_fn(|i| corners[i] as f32 / size[i % 2]);
            let middles: Vec<[f32; 2]> = (0..grid.cells())
                .map(|i| {
                    let middle = grid.middle(i);
                    [middle[0] / size[0], middle[1] / size[1]]
                })
                .collect();
            let cell = [grid.cell[1] / size[0], grid.cell[0] / size[1]];
            let at = [0, 1].map(|axis| (corners[axis] + corners[axis + 2]) / 2.0);
            let deviation =
                [0, 1].map(|axis| ((corners[axis + 2] - corners[axis]) / 4.0).max(0.5 * cell[axis]));
            aim.weights.push(gaussian(&middles, padding, at, deviation));
            aim.boxes.push(corners);
            aim.middles.push(middles);
        }
        aim
    }

    /// Half the aim of a row, half a Gaussian one cell wide around a vertex.
    pub fn halfway_to(&self, row: usize, vertex: [f32; 2], grid: &Grid) -> Vec<f32> {
        let middles = &self.middles[row];
        // The first middle is half a cell from both edges.
        let deviation = middles[0].map(|half| 2.0 * half);
        let around = gaussian(middles, &grid.padding[row], vertex, deviation);
        around.iter().zip(&self.weights[row]).map(|(vertex, own)| 0.5 * vertex + 0.5 * own).collect()
    }

    /// `[B, cells]`.
    pub fn tensor(&self, like: &Tensor) -> Result<Tensor> {
        let cells = self.weights.first().map_or(0, Vec::len);
        Tensor::from_vec(self.weights.concat(), (self.weights.len(), cells), like.device())
    }

    /// `[B, 4]`.
    pub fn boxes(&self, like: &Tensor) -> Result<Tensor> {
        Tensor::from_vec(self.boxes.concat(), (self.boxes.len(), 4), like.device())
    }

    /// Distances of each cell's middle to the left, top, right and bottom side: `[B, cells, 4]`.
    pub fn sides(&self, like: &Tensor) -> Result<Tensor> {
        let cells = self.weights.first().map_or(0, Vec::len);
        let values: Vec<f32> = self
            .boxes
            .iter()
            .zip(&self.middles)
            .flat_map(|(&[x1, y1, x2, y2], middles)| {
                middles.iter().flat_map(move |&[x, y]| [x - x1, y - y1, x2 - x, y2 - y])
            })
            .collect();
        Tensor::from_vec(values, (self.boxes.len(), cells, 4), like.device())
    }
}
