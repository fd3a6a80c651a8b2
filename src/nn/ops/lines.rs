//! Means along the rows and the columns of a map.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::jobs::for_rows;
use super::simd::wide;
use super::storage::{is_f32_on_cpu, read, slice, tensor};

/// Of each image the means over every row of the map, then over every column: `[b, height + width, d]`.
/// The first positions of `x` `[b, n, d]` are the map's cells, row by row.
pub fn line_means(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (b, n, d) = x.dims3()?;
    if n < height * width || height * width * d == 0 {
        bail!("line means: a map of {height} x {width} in {:?}", x.shape())
    }
    if is_f32_on_cpu(x) {
        return x.contiguous()?.apply_op1(LineMeans { height, width });
    }
    let map = x.narrow(1, 0, height * width)?.reshape((b, height, width, d))?;
    Tensor::cat(&[map.mean(2)?, map.mean(1)?], 1)
}

struct LineMeans {
    height: usize,
    width: usize,
}

impl LineMeans {
    /// Calls `f(cell, row's line, column's line)` for every cell, all as ranges of numbers.
    fn each(&self, d: usize, mut f: impl FnMut([std::ops::Range<usize>; 3])) {
        for cell in 0..self.height * self.width {
            let places = [cell, cell / self.width, self.height + cell % self.width];
            f(places.map(|place| place * d..(place + 1) * d));
        }
    }
}

impl CustomOp1 for LineMeans {
    fn name(&self) -> &'static str {
        "line means"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, n, d) = layout.shape().dims3()?;
        let x = slice(x, layout)?;
        let lines = self.height + self.width;
        let mut out = vec![0f32; b * lines * d];
        for_rows(&mut out, lines * d, 1, |image, out| {
            let x = &x[image * n * d..];
            self.each(d, |[cell, row, column]| {
                add_scaled(&x[cell.clone()], 1.0 / self.width as f32, &mut out[row]);
                add_scaled(&x[cell], 1.0 / self.height as f32, &mut out[column]);
            });
        });
        Ok((CpuStorage::F32(out), (b, lines, d).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, n, d) = x.dims3()?;
        let lines = self.height + self.width;
        let mut dx = vec![0f32; x.elem_count()];
        read([grad], |[grad]| {
            for_rows(&mut dx, n * d, 1, |image, dx| {
                let grad = &grad[image * lines * d..];
                self.each(d, |[cell, row, column]| {
                    add_scaled(&grad[row], 1.0 / self.width as f32, &mut dx[cell.clone()]);
                    add_scaled(&grad[column], 1.0 / self.height as f32, &mut dx[cell]);
                });
            });
        })?;
        Ok(Some(tensor(dx, x.shape(), x)?))
    }
}

wide! {
    fn add_scaled(x: &[f32], by: f32, to: &mut [f32]) {
        for (to, &x) in to.iter_mut().zip(x) {
            *to += by * x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        check(|t| line_means(&t[0], 2, 3), &[random("x", (2, 6, 5))?], 1e-6)?;
        check(|t| line_means(&t[0], 3, 2), &[random("x", (2, 8, 17))?], 1e-6)
    }
}
