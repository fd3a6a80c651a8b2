//! Matrices turned, written anew.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::jobs::for_rows;
use super::simd::{LANES, wide};
use super::storage::{is_f32_on_cpu, slice};

/// `[b, m, n]` -> `[b, n, m]`, contiguous.
pub fn transposed(x: &Tensor) -> Result<Tensor> {
    if is_f32_on_cpu(x) { x.contiguous()?.apply_op1(Transpose) } else { x.transpose(1, 2)?.contiguous() }
}

struct Transpose;

impl CustomOp1 for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, m, n) = layout.shape().dims3()?;
        let x = slice(x, layout)?;
        let mut out = vec![0f32; x.len()];
        if !out.is_empty() {
            for_rows(&mut out, m * n, 1, |i, to| turn(&x[i * m * n..(i + 1) * m * n], n, to));
        }
        Ok((CpuStorage::F32(out), (b, n, m).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        transposed(grad).map(Some)
    }
}

wide! {
    /// Of a matrix with rows of `n`: some of them at a time, whose lines stay in the nearest cache.
    fn turn(x: &[f32], n: usize, to: &mut [f32]) {
        let m = x.len() / n;
        for (band, rows) in x.chunks(LANES * n).enumerate() {
            for (column, to) in to.chunks_exact_mut(m).enumerate() {
                let to = &mut to[band * LANES..];
                for (to, row) in to.iter_mut().zip(rows.chunks_exact(n)) {
                    *to = row[column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random, values};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        for shape in [(2, 3, 5), (1, 37, 20), (3, 16, 1)] {
            let x = random("x", shape)?;
            assert_eq!(values(&transposed(&x)?), values(&x.transpose(1, 2)?.contiguous()?));
        }
        check(|t| transposed(&t[0]), &[random("x", (2, 3, 5))?], 1e-6)
    }
}
