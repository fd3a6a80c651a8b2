//! The cells of the encoder's map and which of them lie inside their image.

use std::collections::HashMap;

use candle_core::{Device, Result, Tensor};

/// Cells of the map and, for each row of the batch, its padding.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub height: usize,
    pub width: usize,
    /// Height and width of a cell in pixels.
    pub cell: [f32; 2],
    /// Row by row `height * width` cells; true = ignored.
    pub padding: Vec<Vec<bool>>,
}

impl Grid {
    /// A cell is valid when its top left pixel is inside the image (quirk 7). `pixels` is the
    /// batch's padded height and width.
    pub fn new(height: usize, width: usize, pixels: (usize, usize), images: &[(usize, usize)]) -> Self {
        let cell = |&(image_height, image_width): &(usize, usize)| {
            let inside = |i: usize, n: usize, pixels: usize, limit: usize| i * pixels / n < limit;
            (0..height * width)
                .map(|i| {
                    !(inside(i / width, height, pixels.0, image_height)
                        && inside(i % width, width, pixels.1, image_width))
                })
                .collect()
        };
        let size = [pixels.0 as f32 / height as f32, pixels.1 as f32 / width as f32];
        Self { height, width, cell: size, padding: images.iter().map(cell).collect() }
    }

    pub fn cells(&self) -> usize {
        self.height * self.width
    }

    /// The images of these rows.
    pub fn select(&self, rows: &[u32]) -> Self {
        let padding = rows.iter().map(|&row| self.padding[row as usize].clone()).collect();
        Self { padding, ..*self }
    }

    /// Middle (x, y) of cell `i` in pixels.
    pub fn middle(&self, i: usize) -> [f32; 2] {
        let [height, width] = self.cell;
        [((i % self.width) as f32 + 0.5) * width, ((i / self.width) as f32 + 0.5) * height]
    }

    /// Rows and columns of each image's own cells, the others being padding.
    pub fn own(&self) -> Vec<[usize; 2]> {
        let of_image = |padding: &Vec<bool>| {
            let rows = padding.iter().step_by(self.width).filter(|ignored| !**ignored).count();
            let columns = padding.iter().take(self.width).filter(|ignored| !**ignored).count();
            [rows, columns]
        };
        self.padding.iter().map(of_image).collect()
    }

    /// Valid columns and rows of each image in cells: the map's width times the share of valid cells
    /// in its first row, its height times that of its first column (quirk 9).
    pub fn extent(&self) -> Vec<[f32; 2]> {
        let share = |valid: usize, n: usize| n as f32 * (valid as f32 / n as f32);
        let of_image = |[rows, columns]: [usize; 2]| [share(columns, self.width), share(rows, self.height)];
        self.own().into_iter().map(of_image).collect()
    }

    /// DETR's sine code `[B, h * w, D]`: half of it for the row, half for the column, counted in
    /// valid cells and scaled to 2 pi.
    pub fn sine_code(&self, width: usize, device: &Device) -> Result<Tensor> {
        let n = width / 2;
        let steps: Vec<f32> = (0..n).map(|i| 10000f32.powf((2 * (i / 2)) as f32 / n as f32)).collect();
        // Images that are padded alike share their code, also on the way to the device.
        let mut code: Vec<f32> = Vec::new();
        let mut known: HashMap<&[bool], u32> = HashMap::new();
        let mut places = Vec::with_capacity(self.padding.len());
        for padding in &self.padding {
            let next = known.len() as u32;
            let place = *known.entry(padding).or_insert(next);
            places.push(place);
            if place < next {
                continue;
            }
            let valid = |y: usize, x: usize| f32::from(u8::from(!padding[y * self.width + x]));
            for y in 0..self.height {
                for x in 0..self.width {
                    let (mut above, mut column) = (0.0, 0.0);
                    for i in 0..self.height {
                        column += valid(i, x);
                        above += if i <= y { valid(i, x) } else { 0.0 };
                    }
                    let (mut left, mut row) = (0.0, 0.0);
                    for i in 0..self.width {
                        row += valid(y, i);
                        left += if i <= x { valid(y, i) } else { 0.0 };
                    }
                    for (position, last) in [(above, column), (left, row)] {
                        let angle = position / (last + 1e-6) * std::f32::consts::TAU;
                        code.extend(steps.iter().enumerate().map(|(i, step)| {
                            let a = angle / step;
                            if i % 2 == 0 { a.sin() } else { a.cos() }
                        }));
                    }
                }
            }
        }
        let codes = Tensor::from_vec(code, (known.len(), self.cells(), width), device)?;
        if known.len() == places.len() {
            return Ok(codes);
        }
        codes.index_select(&Tensor::new(places, device)?, 0)
    }
}
