//! The two products of multi-head attention, over heads that stay where the projections put them.

mod mix;
mod single;
mod weights;

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, bail};
use gemm::Parallelism;

use self::mix::Mix;
use self::weights::Weights;
use super::jobs::for_rows;
use super::matrix::{Matrix, Target, all_threads, multiply};
use super::softmax::softmax;
use super::storage::{has_kernels, is_f32_on_cpu, slice, written};
use super::transpose::transposed;

/// Where attention looks: `softmax(scale q k^T + bias)` by head, `[b, heads, l, n]`, for queries
/// `[b, l, heads * width]` and keys `[b, n, heads * width]` with `scale` `1 / sqrt(width)`. `bias` broadcasts
/// to the result and may hide places with negative infinity. Keys may come from [`ready_keys`].
pub fn attention_weights(q: &Tensor, k: &Tensor, bias: Option<&Tensor>, heads: usize) -> Result<Tensor> {
    let sizes = Sizes::of(q.shape(), &keys_shape(k.dims())?, heads)?;
    let shape = (sizes.batch, heads, sizes.queries, sizes.keys);
    let ours = has_kernels([q, k, bias.unwrap_or(q)]);
    // Ready keys are for good, so our kernel has no gradient for them.
    if !ours || (k.rank() == 4 && (q.track_op() || bias.is_some_and(Tensor::track_op))) {
        let q = by_head(&(q * f64::from(sizes.scale()))?, heads)?;
        return softmax(&q.matmul(&across(k, heads)?)?, bias);
    }
    let (q, k, op) = (q.contiguous()?, dense_images(k, sizes.queries)?, Weights { heads });
    let Some(bias) = bias else { return q.apply_op2(&k, op) };
    let bias = bias.contiguous()?.broadcast_as(shape)?;
    let bias = if bias.stride().last() == Some(&1) { bias } else { bias.contiguous()? };
    q.apply_op3(&k, &bias, op)
}

/// Keys `[b, n, heads * width]` made ready for many queries one after the other, `[b, heads, width, n]`; where there
/// are kernels, those that gradients go back to stay.
pub fn ready_keys(k: &Tensor, heads: usize) -> Result<Tensor> {
    if has_kernels([k]) && k.track_op() { Ok(k.clone()) } else { across(k, heads) }
}

/// Values `[b, n, heads * width]` made ready for many products: on CUDA `[b, heads, n, width]`, which each
/// product would otherwise copy them to. Elsewhere they stay, and those that gradients go back to.
pub fn ready_values(v: &Tensor, heads: usize) -> Result<Tensor> {
    if is_f32_on_cpu(v) || (has_kernels([v]) && v.track_op()) { Ok(v.clone()) } else { by_head(v, heads) }
}

/// `[b, n, heads * width]` -> `[b, heads, n, width]`, which may have been done before.
fn by_head(x: &Tensor, heads: usize) -> Result<Tensor> {
    if x.rank() == 4 {
        return Ok(x.clone());
    }
    let (batch, n, channels) = x.dims3()?;
    x.reshape((batch, n, heads, channels / heads))?.transpose(1, 2)?.contiguous()
}

/// `[b, n, heads * width]` -> `[b, heads, width, n]`, which may have been done before.
fn across(k: &Tensor, heads: usize) -> Result<Tensor> {
    if k.rank() == 4 {
        return Ok(k.clone());
    }
    let (batch, n, channels) = k.dims3()?;
    transposed(k)?.reshape((batch, heads, channels / heads, n))
}

/// The shape `[b, n, heads * width]` of keys that may be ready.
fn keys_shape(k: &[usize]) -> Result<Shape> {
    match k {
        &[batch, heads, width, n] => Ok((batch, n, heads * width).into()),
        _ => Ok(k.into()),
    }
}

/// The shape `[b, n, heads * width]` of values that may be ready.
fn values_shape(v: &[usize]) -> Result<Shape> {
    match v {
        &[batch, heads, n, width] => Ok((batch, n, heads * width).into()),
        _ => Ok(v.into()),
    }
}

/// What attention brings: the mean of `values` `[b, n, heads * width]` under `weights`
/// `[b, heads, l, n]`, head by head: `[b, l, heads * width]`. Values may come from [`ready_values`].
pub fn attention_mix(weights: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (batch, heads, queries, keys) = weights.dims4()?;
    let (value_batch, n, channels) = values_shape(values.dims())?.dims3()?;
    if (value_batch, n) != (batch, keys) || !channels.is_multiple_of(heads.max(1)) {
        bail!("attention: weights {:?} for values {:?}", weights.shape(), values.shape())
    }
    // Ready values are for good, as ready keys are.
    if has_kernels([weights, values]) && !(values.rank() == 4 && weights.track_op()) {
        return weights.contiguous()?.apply_op2(&dense_images(values, queries)?, Mix);
    }
    weights
        .contiguous()?
        .matmul(&by_head(values, heads)?)?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((batch, queries, channels))
}

/// Keys or values as the kernels take them: contiguous, or for a single query the first positions of images
/// that have room for more.
fn dense_images(x: &Tensor, queries: usize) -> Result<Tensor> {
    let roomy = queries == 1 && !x.track_op() && x.rank() == 3 && x.stride()[1..] == [x.dim(2)?, 1];
    if roomy { Ok(x.clone()) } else { x.contiguous() }
}

/// The numbers of all images, and of each from one to the next, for what comes from [`dense_images`].
fn images<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<(&'a [f32], usize)> {
    let size = layout.dims()[1..].iter().product();
    if layout.is_contiguous() {
        return Ok((slice(storage, layout)?, size));
    }
    Ok((&storage.as_slice::<f32>()?[layout.start_offset()..], layout.stride()[0]))
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

    /// All heads of `n` positions of one image; images are `stride` numbers apart.
    fn image(self, data: &[f32], stride: usize, n: usize, image: usize) -> &[f32] {
        &data[image * stride..][..n * self.channels()]
    }

    /// The rows of one head, of `n` positions an image.
    fn head<'a>(self, data: &'a [f32], n: usize, image: usize, head: usize) -> Matrix<'a> {
        let start = image * n * self.channels() + head * self.width;
        Matrix::with_stride(&data[start..], n, self.width, self.channels())
    }

    /// One head of ready keys, `[width, n]`.
    fn head_across<'a>(self, keys: &'a [f32], image: usize, head: usize) -> Matrix<'a> {
        let start = (image * self.heads + head) * self.width * self.keys;
        Matrix::new(&keys[start..], self.width, self.keys)
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
        let run = |image: usize, out: &mut [f32], inner: Parallelism| {
            for head in 0..self.heads {
                let (a, b) = product(image, head);
                assert_eq!([a.size()[0], b.size()[1]], [n, self.width], "a product is not all of a head");
                let data = &mut out[head * self.width..];
                multiply(a, b, Target { data, stride: self.channels(), add: false }, inner);
            }
        };
        let size = n * self.channels();
        let fill = |out: &mut [f32]| {
            if self.queries * self.keys * self.channels() >= LARGE {
                let images = out.chunks_mut(size.max(1)).enumerate();
                images.for_each(|(image, out)| run(image, out, all_threads()));
            } else {
                for_rows(out, size, 1, |image, out| run(image, out, Parallelism::None));
            }
        };
        let len = self.batch * size;
        // SAFETY: the products of all heads write all of an image.
        unsafe { written(len, |out| fill(out.part(0..len))) }
    }

    /// `[batch, heads, queries, keys]`, square by square.
    ///
    /// # Safety
    /// `f(image, head, square, threads)` writes all of its square.
    unsafe fn squares(self, f: impl Fn(usize, usize, &mut [f32], Parallelism) + Sync) -> Vec<f32> {
        let size = self.queries * self.keys;
        let run =
            |index: usize, out: &mut [f32], inner| f(index / self.heads, index % self.heads, out, inner);
        let fill = |out: &mut [f32]| {
            if self.batch * self.heads < rayon::current_num_threads() {
                out.chunks_mut(size.max(1)).enumerate().for_each(|(i, out)| run(i, out, all_threads()));
            } else {
                for_rows(out, size, self.heads, |i, out| run(i, out, Parallelism::None));
            }
        };
        let len = self.batch * self.heads * size;
        // SAFETY: the squares are all there is, and the caller's `f` writes them.
        unsafe { written(len, |out| fill(out.part(0..len))) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random, values};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        // One query goes its own way; 40 numbers a head are more than a register holds, 32 and 64 are whole ones.
        for (queries, channels) in [(3, 8), (1, 8), (1, 80), (1, 64), (1, 128)] {
            let inputs = [random("q", (2, queries, channels))?, random("k", (2, 5, channels))?];
            check(|t| attention_weights(&t[0], &t[1], None, 2), &inputs, 1e-5)?;
            for bias in [&[2, 2, queries, 5][..], &[2, 1, 1, 5], &[queries, 5]] {
                let inputs = [inputs[0].clone(), inputs[1].clone(), random("bias", bias)?];
                check(|t| attention_weights(&t[0], &t[1], Some(&t[2]), 2), &inputs, 1e-5)?;
            }
            let ready = ready_keys(&inputs[1], 2)?;
            assert_eq!(ready.rank(), 4);
            let bias = random("bias", (queries, 5))?;
            let plain = attention_weights(&inputs[0], &inputs[1], Some(&bias), 2)?;
            let found = attention_weights(&inputs[0], &ready, Some(&bias), 2)?;
            assert!((plain - found)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-6);
            check(|t| attention_weights(&t[0], &ready.to_dtype(t[0].dtype())?, None, 2), &inputs[..1], 1e-5)?;
            let inputs = [random("w", (2, 2, queries, 5))?, random("v", (2, 5, channels))?];
            check(|t| attention_mix(&t[0], &t[1]), &inputs, 1e-5)?;
        }
        Ok(())
    }

    /// Keys and values that are being added to have room behind them.
    #[test]
    fn the_first_positions_of_a_buffer() -> Result<()> {
        for queries in [1, 3] {
            let (q, room) = (random("q", (2, queries, 8))?, random("k", (2, 7, 8))?);
            let [part, copy] = [room.narrow(1, 0, 5)?, room.narrow(1, 0, 5)?.contiguous()?];
            let look = |k: &Tensor| attention_mix(&attention_weights(&q, k, None, 2)?, k);
            assert_eq!(values(&look(&part)?), values(&look(&copy)?));
        }
        Ok(())
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
