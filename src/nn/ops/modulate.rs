//! The product of an image's cells with an expression's vector.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::jobs::for_rows;
use super::math::tanh;
use super::simd::wide;
use super::storage::{is_f32_on_cpu, read, slice, tensor, with_scratch};

/// `tanh(cells[image_of[i]]) * language[i]` for every row i, `[rows, n, c]`, for `cells` `[images, n, c]` and
/// `language` `[rows, c]`; with `token` the language itself follows as position n.
pub fn modulate(cells: &Tensor, language: &Tensor, image_of: &[u32], token: bool) -> Result<Tensor> {
    let ((images, _, c), (rows, width)) = (cells.dims3()?, language.dims2()?);
    if width != c || rows != image_of.len() || image_of.iter().any(|&image| image as usize >= images) {
        bail!("modulate: cells {:?}, language {:?}, images {image_of:?}", cells.shape(), language.shape())
    }
    if is_f32_on_cpu(cells) && is_f32_on_cpu(language) {
        let op = Modulate { image_of: image_of.iter().map(|&image| image as usize).collect(), token };
        return cells.contiguous()?.apply_op2(&language.contiguous()?, op);
    }
    let index = Tensor::new(image_of, cells.device())?;
    let language = language.unsqueeze(1)?;
    let features = cells.tanh()?.index_select(&index, 0)?.broadcast_mul(&language)?;
    if token { Tensor::cat(&[&features, &language], 1) } else { Ok(features) }
}

struct Modulate {
    image_of: Vec<usize>,
    token: bool,
}

impl CustomOp2 for Modulate {
    fn name(&self) -> &'static str {
        "modulate"
    }

    fn cpu_fwd(
        &self,
        cells: &CpuStorage,
        cells_layout: &Layout,
        language: &CpuStorage,
        language_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, n, c) = cells_layout.shape().dims3()?;
        let (cells, language) = (slice(cells, cells_layout)?, slice(language, language_layout)?);
        let positions = n + usize::from(self.token);
        let out = with_scratch(cells.len(), |tanh| {
            for_rows(tanh, n * c, 1, |image, to| tanh_of(&cells[image * n * c..][..n * c], to));
            let mut out = vec![0f32; self.image_of.len() * positions * c];
            for_rows(&mut out, positions * c, 1, |row, out| {
                let language = &language[row * c..(row + 1) * c];
                let (out, last) = out.split_at_mut(n * c);
                multiply(&tanh[self.image_of[row] * n * c..][..n * c], language, out);
                last.copy_from_slice(&language[..last.len()]);
            });
            out
        });
        Ok((CpuStorage::F32(out), (self.image_of.len(), positions, c).into()))
    }

    fn bwd(
        &self,
        cells: &Tensor,
        language: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, n, c) = cells.dims3()?;
        let positions = n + usize::from(self.token);
        let mut d_cells = vec![0f32; cells.elem_count()];
        let mut d_language = vec![0f32; language.elem_count()];
        read([cells, language, grad], |[cells, language, grad]| {
            with_scratch(cells.len(), |tanh| {
                for_rows(tanh, n * c, 1, |image, to| tanh_of(&cells[image * n * c..][..n * c], to));
                d_language.par_chunks_mut(c).enumerate().for_each(|(row, to)| {
                    let (grad, last) = grad[row * positions * c..][..positions * c].split_at(n * c);
                    to[..last.len()].copy_from_slice(last);
                    add_products(&tanh[self.image_of[row] * n * c..][..n * c], grad, to);
                });
                for_rows(&mut d_cells, n * c, 1, |image, to| {
                    for (row, _) in self.image_of.iter().enumerate().filter(|(_, of)| **of == image) {
                        add_modulated(&grad[row * positions * c..][..n * c], &language[row * c..][..c], to);
                    }
                    through_tanh(&tanh[image * n * c..][..n * c], to);
                });
            });
        })?;
        Ok((
            Some(tensor(d_cells, cells.shape(), cells)?),
            Some(tensor(d_language, language.shape(), language)?),
        ))
    }
}

wide! {
    fn tanh_of(x: &[f32], out: &mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = tanh(x);
        }
    }

    fn multiply(cells: &[f32], language: &[f32], out: &mut [f32]) {
        let width = language.len();
        for (cells, out) in cells.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            for i in 0..width {
                out[i] = cells[i] * language[i];
            }
        }
    }

    /// `sums += sum over cells (cells grad)`
    fn add_products(cells: &[f32], grad: &[f32], sums: &mut [f32]) {
        let width = sums.len();
        for (cells, grad) in cells.chunks_exact(width).zip(grad.chunks_exact(width)) {
            for i in 0..width {
                sums[i] += cells[i] * grad[i];
            }
        }
    }

    /// `out += grad language` in every cell.
    fn add_modulated(grad: &[f32], language: &[f32], out: &mut [f32]) {
        let width = language.len();
        for (grad, out) in grad.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            for i in 0..width {
                out[i] += grad[i] * language[i];
            }
        }
    }

    fn through_tanh(tanh: &[f32], grad: &mut [f32]) {
        for (grad, &y) in grad.iter_mut().zip(tanh) {
            *grad *= 1.0 - y * y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        let inputs = [random("cells", (2, 3, 5))?, random("language", (4, 5))?];
        for token in [false, true] {
            check(|t| modulate(&t[0], &t[1], &[1, 0, 1, 1], token), &inputs, 1e-6)?;
        }
        Ok(())
    }
}
