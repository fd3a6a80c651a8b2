//! Gaussians on a map as biases of attention.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};

use super::jobs::for_rows;
use super::math::sigmoid;
use super::storage::{has_kernels, read, slice, tensor};

/// The map that attention looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    pub height: usize,
    pub width: usize,
    /// Positions behind the cells, whose bias is 0.
    pub extra: usize,
    /// Columns and rows that a centre of 1 stands for, by image.
    pub extent: Vec<[f32; 2]>,
}

/// Of each query and head, minus an eighth of the squared distance to a centre, scaled along both axes:
/// `[b, heads, l, height * width + extra]`.
///
/// `x` `[b, l, 4 * heads]` holds for every head the centre (x, y), through a sigmoid in shares of the extent,
/// and behind all centres the inverse widths (x, y) in cells.
pub fn point_bias(x: &Tensor, heads: usize, map: &Map) -> Result<Tensor> {
    let (b, l, width) = x.dims3()?;
    if width != 4 * heads || map.extent.len() != b {
        bail!("point bias: {:?} for {heads} heads and {} images", x.shape(), map.extent.len())
    }
    if has_kernels([x]) {
        return x.contiguous()?.apply_op1(PointBias { heads, map: map.clone() });
    }
    let x = x.reshape((b, l, 2, heads, 2))?;
    let extent = Tensor::from_vec(map.extent.concat(), (b, 1, 1, 1, 2), x.device())?.to_dtype(x.dtype())?;
    let centre = candle_nn::ops::sigmoid(&x.narrow(2, 0, 1)?.contiguous()?)?;
    // [B, L, 1, heads, 2] * [B, 1, 1, 1, 2]
    let centre = centre.broadcast_mul(&extent)?;
    let inverse_width = x.narrow(2, 1, 1)?.sqr()?;
    // Along one axis: [B, L, heads, 1] and cell centres [n] -> [B, heads, L, n].
    let along = |axis: usize, n: usize| {
        let cells = Tensor::arange(0f32, n as f32, x.device())?.affine(1.0, 0.5)?.to_dtype(x.dtype())?;
        let pick = |t: &Tensor| t.narrow(4, axis, 1)?.reshape((b, l, heads, 1))?.transpose(1, 2);
        let distance = pick(&centre)?.broadcast_sub(&cells)?.sqr()?;
        distance.broadcast_mul(&(pick(&inverse_width)? * -0.125)?)
    };
    let columns = along(0, map.width)?.unsqueeze(3)?;
    let rows = along(1, map.height)?.unsqueeze(4)?;
    let bias = rows.broadcast_add(&columns)?.reshape((b, heads, l, map.height * map.width))?;
    if map.extra == 0 { Ok(bias) } else { bias.pad_with_zeros(D::Minus1, 0, map.extra) }
}

struct PointBias {
    heads: usize,
    map: Map,
}

/// One axis of a Gaussian.
#[derive(Clone, Copy)]
struct Axis {
    /// After the sigmoid.
    share: f32,
    extent: f32,
    inverse_width: f32,
}

impl Axis {
    fn offset(self, cell: usize) -> f32 {
        self.share * self.extent - (cell as f32 + 0.5)
    }

    fn scale(self) -> f32 {
        self.inverse_width * self.inverse_width * -0.125
    }

    fn value(self, cell: usize) -> f32 {
        let offset = self.offset(cell);
        offset * offset * self.scale()
    }

    /// Of the centre before its sigmoid and of the inverse width.
    fn gradient(self, grads: &[f32]) -> [f32; 2] {
        let (mut centre, mut scale) = (0.0, 0.0);
        for (cell, &grad) in grads.iter().enumerate() {
            let offset = self.offset(cell);
            centre += grad * offset;
            scale += grad * offset * offset;
        }
        let through_sigmoid = self.extent * self.share * (1.0 - self.share);
        [2.0 * self.scale() * centre * through_sigmoid, -0.25 * self.inverse_width * scale]
    }
}

impl PointBias {
    /// The Gaussian of a head, from the row of a query.
    fn axis(&self, row: &[f32], image: usize, head: usize, axis: usize) -> Axis {
        let place = 2 * head + axis;
        let extent = self.map.extent[image][axis];
        Axis { share: sigmoid(row[place]), extent, inverse_width: row[2 * self.heads + place] }
    }

    fn positions(&self) -> usize {
        self.map.height * self.map.width + self.map.extra
    }
}

impl CustomOp1 for PointBias {
    fn name(&self) -> &'static str {
        "point bias"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, l, inputs) = layout.shape().dims3()?;
        let x = slice(x, layout)?;
        let (heads, positions, width) = (self.heads, self.positions(), self.map.width);
        let mut out = vec![0f32; b * heads * l * positions];
        for_rows(&mut out, positions, 64, |index, out| {
            let (image, head, query) = (index / (heads * l), index / l % heads, index % l);
            let row = &x[(image * l + query) * inputs..][..inputs];
            let [columns, rows] = [0, 1].map(|axis| self.axis(row, image, head, axis));
            let (first, others) = out[..self.map.height * width].split_at_mut(width);
            first.iter_mut().enumerate().for_each(|(cell, out)| *out = columns.value(cell));
            for (y, line) in (1..).zip(others.chunks_exact_mut(width)) {
                let of_row = rows.value(y);
                line.iter_mut().zip(&*first).for_each(|(out, of_column)| *out = of_row + of_column);
            }
            let of_row = rows.value(0);
            first.iter_mut().for_each(|out| *out += of_row);
        });
        Ok((CpuStorage::F32(out), (b, heads, l, positions).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (b, l, _) = layout.shape().dims3()?;
        let bias = super::cuda::point_bias((x, layout), self.heads, &self.map)?;
        Ok((bias, (b, self.heads, l, self.positions()).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        #[cfg(feature = "cuda")]
        if x.device().is_cuda() {
            return super::cuda::point_bias_gradient(x, grad, self.heads, &self.map).map(Some);
        }
        let (_, l, inputs) = x.dims3()?;
        let (heads, positions, width) = (self.heads, self.positions(), self.map.width);
        let mut dx = vec![0f32; x.elem_count()];
        read([x, grad], |[x, grad]| {
            for_rows(&mut dx, inputs, 16, |index, dx| {
                let (image, query) = (index / l, index % l);
                let row = &x[index * inputs..][..inputs];
                let (mut of_columns, mut of_rows) = (vec![0f32; width], vec![0f32; self.map.height]);
                for head in 0..heads {
                    let grads = &grad[((image * heads + head) * l + query) * positions..];
                    of_columns.fill(0.0);
                    for (of_row, line) in of_rows.iter_mut().zip(grads.chunks_exact(width)) {
                        *of_row = line.iter().sum();
                        of_columns.iter_mut().zip(line).for_each(|(sum, grad)| *sum += grad);
                    }
                    for (axis, grads) in [&of_columns, &of_rows].into_iter().enumerate() {
                        let [centre, inverse_width] = self.axis(row, image, head, axis).gradient(grads);
                        dx[2 * head + axis] = centre;
                        dx[2 * (heads + head) + axis] = inverse_width;
                    }
                }
            });
        })?;
        Ok(Some(tensor(dx, x.shape(), x)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        for extra in [0, 2] {
            let map = Map { height: 3, width: 4, extra, extent: vec![[4.0, 3.0], [2.0, 3.0]] };
            check(|t| point_bias(&t[0], 3, &map), &[(random("x", (2, 5, 12))? * 2.0)?], 1e-5)?;
        }
        Ok(())
    }
}
