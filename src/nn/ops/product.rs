//! Products of many small matrices, such as the heads of attention, spread over the threads.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};

use super::matrix::{Matrix, Target, all_threads, multiply};
use super::parallel::for_rows;
use super::storage::{is_f32_on_cpu, tensor};

/// Multiplications that are worth a job of their own.
const JOB: usize = 1 << 15;
/// Multiplications in one matrix above which the threads share it.
const LARGE: usize = 1 << 25;

/// `a b` for `a` `[..., m, k]` and `b` `[..., k, n]` with equal leading dimensions. Either may be strided:
/// pass `b.t()` for a product with the transpose, or transposed heads, without a copy.
pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if !(is_f32_on_cpu(a) && is_f32_on_cpu(b)) {
        return a.contiguous()?.matmul(&b.contiguous()?);
    }
    a.apply_op2(b, Product)
}

struct Product;

/// Matrices in a storage.
#[derive(Clone, Copy)]
struct Matrices<'a> {
    data: &'a [f32],
    layout: &'a Layout,
    transposed: bool,
}

impl<'a> Matrices<'a> {
    fn new(storage: &'a CpuStorage, layout: &'a Layout) -> Result<Self> {
        if layout.dims().len() < 2 {
            bail!("product: expected matrices, found {:?}", layout.shape())
        }
        Ok(Self { data: storage.as_slice::<f32>()?, layout, transposed: false })
    }

    fn of(storage: &'a Storage, layout: &'a Layout) -> Result<Self> {
        match storage {
            Storage::Cpu(cpu) => Self::new(cpu, layout),
            _ => bail!("expected tensors on the CPU"),
        }
    }

    fn transposed(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    fn leading(&self) -> &'a [usize] {
        let dims = self.layout.dims();
        &dims[..dims.len() - 2]
    }

    fn size(&self) -> (usize, usize) {
        let dims = self.layout.dims();
        let (rows, columns) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        if self.transposed { (columns, rows) } else { (rows, columns) }
    }

    fn get(&self, index: usize) -> Matrix<'a> {
        let (leading, stride) = (self.leading(), self.layout.stride());
        let (mut rest, mut start) = (index, self.layout.start_offset());
        for (&size, &stride) in leading.iter().zip(stride).rev() {
            start += rest % size * stride;
            rest /= size;
        }
        let dims = &self.layout.dims()[leading.len()..];
        let stride = &stride[leading.len()..];
        let matrix = Matrix::strided(&self.data[start..], [dims[0], dims[1]], [stride[0], stride[1]]);
        if self.transposed { matrix.transposed() } else { matrix }
    }

    /// The contiguous products with the matrices of `other`.
    fn multiply(self, other: Self) -> Result<(Vec<f32>, Shape)> {
        let ((m, k), (inner, n)) = (self.size(), other.size());
        if k != inner || self.leading() != other.leading() {
            bail!("product: can't multiply {:?} and {:?}", self.layout.shape(), other.layout.shape())
        }
        let mut dims = self.leading().to_vec();
        let count: usize = dims.iter().product();
        dims.extend([m, n]);
        let mut out = vec![0f32; count * m * n];
        let work = m * n * k;
        let all = all_threads();
        let run = |index: usize, data: &mut [f32], inner| {
            multiply(self.get(index), other.get(index), Target { data, stride: n, add: false }, inner);
        };
        if work >= LARGE {
            out.chunks_mut((m * n).max(1)).enumerate().for_each(|(index, data)| run(index, data, all));
        } else {
            for_rows(&mut out, m * n, JOB / work.max(1), |index, data| {
                run(index, data, gemm::Parallelism::None);
            });
        }
        Ok((out, dims.into()))
    }
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (out, shape) = Matrices::new(a, a_layout)?.multiply(Matrices::new(b, b_layout)?)?;
        Ok((CpuStorage::F32(out), shape))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (needs_a, needs_b) = (a.track_op(), b.track_op());
        let ((a_data, a_layout), (b_data, b_layout)) = (a.storage_and_layout(), b.storage_and_layout());
        let (grad_data, grad_layout) = grad.storage_and_layout();
        let [a_all, b_all, grad_all] = [(&a_data, a_layout), (&b_data, b_layout), (&grad_data, grad_layout)]
            .map(|(s, l)| Matrices::of(s, l));
        let (a_all, b_all, grad_all) = (a_all?, b_all?, grad_all?);
        let da = needs_a.then(|| grad_all.multiply(b_all.transposed())).transpose()?;
        let db = needs_b.then(|| a_all.transposed().multiply(grad_all)).transpose()?;
        let like = |d: Option<(Vec<f32>, Shape)>| d.map(|(data, shape)| tensor(data, shape, a)).transpose();
        Ok((like(da)?, like(db)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random};
    use candle_core::D;

    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        let heads = [random("q", (2, 5, 3, 4))?, random("k", (2, 7, 3, 4))?];
        check(|t| product(&t[0].transpose(1, 2)?, &t[1].transpose(1, 2)?.t()?), &heads, 3e-6)?;
        check(|t| product(&t[0], &t[1]), &[random("a", (3, 2))?, random("b", (2, 4))?], 3e-6)?;
        check(|t| product(&t[0].t()?, &t[1]), &[random("a", (9, 2, 3))?, random("b", (9, 2, 4))?], 3e-6)
    }

    #[test]
    fn large_matrices_are_shared_by_the_threads() -> Result<()> {
        let (a, b) = (random("a", (1, 300, 400))?, random("b", (1, 400, 290))?);
        let difference = (product(&a, &b)? - a.matmul(&b)?)?.abs()?.max(D::Minus1)?.max_all()?;
        assert!(difference.to_scalar::<f32>()? < 1e-4);
        Ok(())
    }
}
