//! The two products of multi-head attention, over heads that stay where the projections put them.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use gemm::Parallelism;

use super::matrix::{Matrix, Target, all_threads, multiply};
use super::parallel::for_rows;
use super::softmax::{add_scaled, scale, softmax, softmax_gradient, softmax_row};
use super::storage::{is_f32_on_cpu, read, slice, tensor};

/// Where attention looks: `softmax(scale q k^T + bias)` by head, `[b, heads, l, n]`, for queries
/// `[b, l, heads * width]` and keys `[b, n, heads * width]` with `scale` `1 / sqrt(width)`. `bias` broadcasts
/// to the result and may hide places with negative infinity.
/// Keys may come from [`by_head`].
pub fn attention_weights(q: &Tensor, k: &Tensor, bias: Option<&Tensor>, heads: usize) -> Result<Tensor> {
    let sizes = Sizes::of(q.shape(), &together(k)?, heads)?;
    let shape = (sizes.batch, heads, sizes.queries, sizes.keys);
    if !(is_f32_on_cpu(q) && is_f32_on_cpu(k) && bias.is_none_or(is_f32_on_cpu)) {
        let (q, k) = (split(&(q * f64::from(sizes.scale()))?, heads)?, split(k, heads)?);
        return softmax(&q.matmul(&k.t()?)?, bias);
    }
    let (q, k, op) = (q.contiguous()?, k.contiguous()?, Weights { heads });
    let Some(bias) = bias else { return q.apply_op2(&k, op) };
    let bias = bias.contiguous()?.broadcast_as(shape)?;
    let bias = if bias.stride().last() == Some(&1) { bias } else { bias.contiguous()? };
    q.apply_op3(&k, &bias, op)
}

/// Keys or values `[b, n, heads * width]` made ready for many products: on CUDA `[b, heads, n, width]`, which each
/// product would otherwise copy them to. Elsewhere they stay.
pub fn by_head(x: &Tensor, heads: usize) -> Result<Tensor> {
    if is_f32_on_cpu(x) { Ok(x.clone()) } else { split(x, heads) }
}

/// `[b, n, heads * width]` -> `[b, heads, n, width]`, which may have been done before.
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    if x.rank() == 4 {
        return Ok(x.clone());
    }
    let (batch, n, channels) = x.dims3()?;
    x.reshape((batch, n, heads, channels / heads))?.transpose(1, 2)?.contiguous()
}

/// The shape `[b, n, heads * width]` of what may be [`by_head`].
fn together(x: &Tensor) -> Result<Shape> {
    match x.dims() {
        &[batch, heads, n, width] => Ok((batch, n, heads * width).into()),
        _ => Ok(x.dims3()?.into()),
    }
}

/// What attention brings: the mean of `values` `[b, n, heads * width]` under `weights`
/// `[b, heads, l, n]`, head by head: `[b, l, heads * width]`. Values may come from [`by_head`].
pub fn attention_mix(weights: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (batch, heads, queries, keys) = weights.dims4()?;
    let (value_batch, n, channels) = together(values)?.dims3()?;
    if (value_batch, n) != (batch, keys) || !channels.is_multiple_of(heads.max(1)) {
        bail!("attention: weights {:?} for values {:?}", weights.shape(), values.shape())
    }
    if is_f32_on_cpu(weights) && is_f32_on_cpu(values) {
        return weights.contiguous()?.apply_op2(&values.contiguous()?, Mix);
    }
    weights
        .contiguous()?
        .matmul(&split(values, heads)?)?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((batch, queries, channels))
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    /// Of a head.
    width: usize,
}

/// Multiplications in one image above which the threads share its products.
const LARGE: usize = 1 << 25;

impl Sizes {
    fn of(q: &Shape, k: &Shape, heads: usize) -> Result<Self> {
        let ((batch, queries, channels), (key_batch, keys, key_channels)) = (q.dims3()?, k.dims3()?);
        let fits = batch == key_batch && channels == key_channels;
        if !fits || heads == 0 || channels == 0 || !channels.is_multiple_of(heads) {
            bail!("attention: queries {q:?}, keys {k:?}, {heads} heads")
        }
        Ok(Self { batch, heads, queries, keys, width: channels / heads })
    }

    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    fn channels(self) -> usize {
        self.heads * self.width
    }

    /// The rows of one head, of `n` positions an image.
    fn head<'a>(self, data: &'a [f32], n: usize, image: usize, head: usize) -> Matrix<'a> {
        let start = image * n * self.channels() + head * self.width;
        Matrix::with_stride(&data[start..], n, self.width, self.channels())
    }

    /// The square of one head.
    fn square<'a>(self, data: &'a [f32], image: usize, head: usize) -> Matrix<'a> {
        let start = (image * self.heads + head) * self.queries * self.keys;
        Matrix::new(&data[start..], self.queries, self.keys)
    }

    /// `[batch, n, channels]`, filled head by head with `product(image, head)`.
    fn gather<'a>(
        self,
        n: usize,
        product: impl Fn(usize, usize) -> (Matrix<'a>, Matrix<'a>) + Sync,
    ) -> Vec<f32> {
        let mut out = vec![0f32; self.batch * n * self.channels()];
        let run = |image: usize, out: &mut [f32], inner: Parallelism| {
            for head in 0..self.heads {
                let (a, b) = product(image, head);
                let data = &mut out[head * self.width..];
                multiply(a, b, Target { data, stride: self.channels(), add: false }, inner);
            }
        };
        let size = n * self.channels();
        if self.queries * self.keys * self.channels() >= LARGE {
            out.chunks_mut(size.max(1)).enumerate().for_each(|(image, out)| run(image, out, all_threads()));
        } else {
            for_rows(&mut out, size, 1, |image, out| run(image, out, Parallelism::None));
        }
        out
    }

    /// `[batch, heads, queries, keys]`, filled square by square.
    fn squares(self, f: impl Fn(usize, usize, &mut [f32], Parallelism) + Sync) -> Vec<f32> {
        let size = self.queries * self.keys;
        let mut out = vec![0f32; self.batch * self.heads * size];
        let run =
            |index: usize, out: &mut [f32], inner| f(index / self.heads, index % self.heads, out, inner);
        if self.batch * self.heads < rayon::current_num_threads() {
            out.chunks_mut(size.max(1)).enumerate().for_each(|(i, out)| run(i, out, all_threads()));
        } else {
            for_rows(&mut out, size, self.heads, |i, out| run(i, out, Parallelism::None));
        }
        out
    }
}

struct Weights {
    heads: usize,
}

impl Weights {
    /// `finish(image, head, logits)` takes the unscaled logits of a head to its weights.
    fn forward(
        &self,
        [q, k]: [(&CpuStorage, &Layout); 2],
        finish: impl Fn(usize, usize, &mut [f32], Sizes) + Sync,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::of(q.1.shape(), k.1.shape(), self.heads)?;
        let (q, k) = (slice(q.0, q.1)?, slice(k.0, k.1)?);
        let out = sizes.squares(|image, head, out, inner| {
            let q = sizes.head(q, sizes.queries, image, head);
            let k = sizes.head(k, sizes.keys, image, head).transposed();
            multiply(q, k, Target { data: out, stride: sizes.keys, add: false }, inner);
            finish(image, head, out, sizes);
        });
        let shape = (sizes.batch, sizes.heads, sizes.queries, sizes.keys);
        Ok((CpuStorage::F32(out), shape.into()))
    }

    /// The gradients of q, of k and of the logits.
    fn backward(&self, q: &Tensor, k: &Tensor, y: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let sizes = Sizes::of(q.shape(), k.shape(), self.heads)?;
        let (dq, dk, logits) = read([q, k, y, grad], |[qs, ks, ys, grads]| {
            let size = sizes.queries * sizes.keys;
            let logits = sizes.squares(|image, head, out, _| {
                let start = (image * sizes.heads + head) * size;
                let rows = ys[start..start + size].chunks(sizes.keys);
                let rows = rows.zip(grads[start..start + size].chunks(sizes.keys));
                for ((y, grad), out) in rows.zip(out.chunks_mut(sizes.keys)) {
                    softmax_gradient(y, grad, out);
                }
            });
            let scaled = |mut gradient: Vec<f32>| {
                let scale_by = sizes.scale();
                for_rows(&mut gradient, 1 << 14, 1, |_, values| scale(values, scale_by));
                gradient
            };
            let dq = q.track_op().then(|| {
                scaled(sizes.gather(sizes.queries, |image, head| {
                    (sizes.square(&logits, image, head), sizes.head(ks, sizes.keys, image, head))
                }))
            });
            let dk = k.track_op().then(|| {
                scaled(sizes.gather(sizes.keys, |image, head| {
                    let logits = sizes.square(&logits, image, head).transposed();
                    (logits, sizes.head(qs, sizes.queries, image, head))
                }))
            });
            (dq, dk, logits)
        })?;
        let like = |data: Option<Vec<f32>>, t: &Tensor| data.map(|d| tensor(d, t.shape(), t)).transpose();
        Ok([like(dq, q)?, like(dk, k)?, Some(tensor(logits, y.shape(), y)?)])
    }
}

impl CustomOp2 for Weights {
    fn name(&self) -> &'static str {
        "attention weights"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward([(q, q_layout), (k, k_layout)], |_, _, logits, sizes| {
            scale(logits, sizes.scale());
            logits.chunks_mut(sizes.keys.max(1)).for_each(softmax_row);
        })
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dq, dk, _] = self.backward(q, k, y, grad)?;
        Ok((dq, dk))
    }
}

impl CustomOp3 for Weights {
    fn name(&self) -> &'static str {
        "attention weights with bias"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = bias.as_slice::<f32>()?;
        let &[by_image, by_head, by_query, 1] = bias_layout.stride() else {
            bail!("attention: the last dimension of the bias must be dense, found {bias_layout:?}")
        };
        self.forward([(q, q_layout), (k, k_layout)], |image, head, logits, sizes| {
            let start = bias_layout.start_offset() + image * by_image + head * by_head;
            for (query, row) in logits.chunks_mut(sizes.keys.max(1)).enumerate() {
                let start = start + query * by_query;
                add_scaled(row, sizes.scale(), &bias[start..start + row.len()]);
                softmax_row(row);
            }
        })
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dq, dk, logits] = self.backward(q, k, y, grad)?;
        // The gradient of the broadcast sums it over what was repeated.
        Ok((dq, dk, logits.filter(|_| bias.track_op())))
    }
}

struct Mix;

impl Mix {
    fn sizes(weights: &Shape, values: &Shape) -> Result<Sizes> {
        let (batch, heads, queries, keys) = weights.dims4()?;
        Ok(Sizes { batch, heads, queries, keys, width: values.dims3()?.2 / heads.max(1) })
    }
}

impl CustomOp2 for Mix {
    fn name(&self) -> &'static str {
        "attention mix"
    }

    fn cpu_fwd(
        &self,
        weights: &CpuStorage,
        weights_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Self::sizes(weights_layout.shape(), values_layout.shape())?;
        let (weights, values) = (slice(weights, weights_layout)?, slice(values, values_layout)?);
        let out = sizes.gather(sizes.queries, |image, head| {
            (sizes.square(weights, image, head), sizes.head(values, sizes.keys, image, head))
        });
        Ok((CpuStorage::F32(out), (sizes.batch, sizes.queries, sizes.channels()).into()))
    }

    fn bwd(
        &self,
        weights: &Tensor,
        values: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let sizes = Self::sizes(weights.shape(), values.shape())?;
        let (dw, dv) = read([weights, values, grad], |[ws, vs, gs]| {
            let dw = weights.track_op().then(|| {
                sizes.squares(|image, head, data, inner| {
                    let grad = sizes.head(gs, sizes.queries, image, head);
                    let values = sizes.head(vs, sizes.keys, image, head).transposed();
                    multiply(grad, values, Target { data, stride: sizes.keys, add: false }, inner);
                })
            });
            let dv = values.track_op().then(|| {
                sizes.gather(sizes.keys, |image, head| {
                    let weights = sizes.square(ws, image, head).transposed();
                    (weights, sizes.head(gs, sizes.queries, image, head))
                })
            });
            (dw, dv)
        })?;
        let like = |data: Option<Vec<f32>>, t: &Tensor| data.map(|d| tensor(d, t.shape(), t)).transpose();
        Ok((like(dw, weights)?, like(dv, values)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random, values};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        let inputs = [random("q", (2, 3, 8))?, random("k", (2, 5, 8))?];
        check(|t| attention_weights(&t[0], &t[1], None, 2), &inputs, 1e-5)?;
        for bias in [&[2, 2, 3, 5][..], &[2, 1, 1, 5], &[3, 5]] {
            let inputs = [inputs[0].clone(), inputs[1].clone(), random("bias", bias)?];
            check(|t| attention_weights(&t[0], &t[1], Some(&t[2]), 2), &inputs, 1e-5)?;
        }
        check(|t| attention_mix(&t[0], &t[1]), &[random("w", (2, 2, 3, 5))?, random("v", (2, 5, 8))?], 1e-5)
    }

    #[test]
    fn threads_do_not_change_the_result() -> Result<()> {
        let (q, k) = (random("q", (1, 310, 128))?, random("k", (1, 900, 128))?);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Ok(values(&attention_mix(&attention_weights(&q, &k, None, 2)?, &k)?)))
        };
        let one: Result<Vec<f64>> = run(1);
        let one = one?;
        assert!(one == run(2)? && one == run(5)?);
        let mean = k.mean_keepdim(1)?.broadcast_as((1, 310, 128))?.contiguous()?;
        assert!(one.iter().zip(values(&mean)).all(|(found, mean)| (found - mean).abs() < 1.0));
        Ok(())
    }
}
