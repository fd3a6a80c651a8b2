//! The two products of multi-head attention. Heads are put before the positions for the products of cuBLAS.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Layout, Result, Tensor, bail};

use super::launch::{Operand, demand, launch, made, over, product, room, size, view, view_mut, warps};

/// The probabilities `[b, heads, l, n]` of queries `[b, l, c]` at keys `[b, n, c]` or, made ready,
/// `[b, heads, width, n]`. `bias` has the shape of the result, of any strides but for the last.
pub fn attention_weights(q: Operand, k: Operand, bias: Option<Operand>, heads: usize) -> Result<CudaStorage> {
    let (batch, queries, channels) = q.1.shape().dims3()?;
    let width = channels / heads;
    let q = ByHead::of(q, heads)?;
    let (keys, mut logits) = match *k.1.dims() {
        [_, _, _, n] => {
            let across = Layout::contiguous_with_offset((batch * heads, width, n), k.1.start_offset());
            (n, product(q.operand(), (k.0, &across))?)
        }
        [_, n, _] => {
            let k = ByHead::of(k, heads)?;
            (n, product(q.operand(), (k.operand().0, &k.layout.transpose(1, 2)?))?)
        }
        _ => bail!("attention: keys {:?}", k.1.shape()),
    };
    let device = logits.device().clone();
    let rows = batch * heads * queries;
    let (count, columns, of_heads, of_queries) = (rows as u64, size(keys)?, size(heads)?, size(queries)?);
    let (config, scale) = (warps(rows)?, 1.0 / (width as f32).sqrt());
    let biased = u32::from(bias.is_some());
    // Without a bias the kernel reads none; any memory does as its address.
    let (bias, [by_image, by_head, by_query]) = match bias {
        Some((bias, layout)) => {
            demand(rows * keys, layout.shape().elem_count())?;
            let &[by_image, by_head, by_query, 1] = layout.stride() else {
                bail!("attention: the last dimension of the bias must be dense, found {layout:?}")
            };
            (bias.as_cuda_slice::<f32>()?.slice(layout.start_offset()..), [by_image, by_head, by_query])
        }
        None => (q.operand().0.as_cuda_slice::<f32>()?.slice(..), [0; 3]),
    };
    let [by_image, by_head, by_query] = [by_image, by_head, by_query].map(|stride| stride as u64);
    {
        let mut logits = view_mut::<f32>(&mut logits, &Layout::contiguous((rows, keys)))?;
        // SAFETY: the logits have so many rows, and the bias's layout is of their shape.
        unsafe {
            launch!(
                &device,
                "attention_softmax",
                config,
                &count,
                &columns,
                &of_heads,
                &of_queries,
                &scale,
                &biased,
                &by_image,
                &by_head,
                &by_query,
                &bias,
                &mut logits,
            )
        };
    }
    Ok(logits)
}

/// The gradients of q and k `[b, n, c]`, of those that are tracked, and of the logits `[b, heads, l, n]`.
pub fn attention_weights_gradients(
    [q, k]: [&Tensor; 2],
    y: &Tensor,
    grad: &Tensor,
    heads: usize,
) -> Result<[Option<Tensor>; 3]> {
    let width = q.dim(2)? / heads;
    let scale = 1.0 / (width as f32).sqrt();
    let logits = softmax_gradient(y, grad)?;
    let dq = || positions_first(&logits.matmul(&heads_first(k, heads)?)?, scale);
    let dk = || positions_first(&logits.transpose(2, 3)?.matmul(&heads_first(q, heads)?)?, scale);
    let [dq, dk] = [q.track_op().then(dq).transpose()?, k.track_op().then(dk).transpose()?];
    Ok([dq, dk, Some(logits)])
}

/// The means `[b, l, c]` of values `[b, n, c]` or, by head, `[b, heads, n, width]` under `weights` `[b, heads, l, n]`.
pub fn attention_mix(weights: Operand, values: Operand) -> Result<CudaStorage> {
    let (batch, heads, queries, keys) = weights.1.shape().dims4()?;
    let square = Layout::contiguous_with_offset((batch * heads, queries, keys), weights.1.start_offset());
    let weights = (weights.0, &square);
    let width = values.1.shape().elem_count() / (batch * heads * keys).max(1);
    let mixed = match values.1.dims() {
        [_, _, _, _] => {
            let by_head =
                Layout::contiguous_with_offset((batch * heads, keys, width), values.1.start_offset());
            product(weights, (values.0, &by_head))?
        }
        _ => product(weights, ByHead::of(values, heads)?.operand())?,
    };
    if queries == 1 {
        return Ok(mixed);
    }
    swapped((&mixed, 0), [batch, heads, queries, width], None, 1.0)
}

/// The gradients of the weights and the values `[b, n, c]` of [`attention_mix`], of those that are tracked.
pub fn attention_mix_gradients(
    weights: &Tensor,
    values: &Tensor,
    grad: &Tensor,
) -> Result<[Option<Tensor>; 2]> {
    let heads = weights.dim(1)?;
    let grad = heads_first(grad, heads)?;
    let dw = || grad.matmul(&heads_first(values, heads)?.transpose(2, 3)?);
    let dv = || positions_first(&weights.detach().transpose(2, 3)?.matmul(&grad)?, 1.0);
    Ok([weights.track_op().then(dw).transpose()?, values.track_op().then(dv).transpose()?])
}

/// `[b, n, heads * width]` -> `[b, heads, n, width]`
fn heads_first(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, n, channels) = x.dims3()?;
    let width = channels / heads;
    made([x], (batch, heads, n, width), |[(x, layout)]| {
        swapped((x, layout.start_offset()), [batch, n, heads, width], None, 1.0)
    })
}

/// `by x`, `[b, heads, n, width]` -> `[b, n, heads * width]`
fn positions_first(x: &Tensor, by: f32) -> Result<Tensor> {
    let (batch, heads, n, width) = x.dims4()?;
    made([x], (batch, n, heads * width), |[(x, layout)]| {
        swapped((x, layout.start_offset()), [batch, heads, n, width], None, by)
    })
}

/// Positions `[b, n, heads * width]` head by head, `[b * heads, n, width]`.
struct ByHead<'a> {
    given: &'a CudaStorage,
    /// Nothing where a single position lies as it should.
    copy: Option<CudaStorage>,
    layout: Layout,
}

impl<'a> ByHead<'a> {
    /// Images may have room for more positions behind these.
    fn of((given, layout): Operand<'a>, heads: usize) -> Result<Self> {
        let (batch, n, channels) = layout.shape().dims3()?;
        let (width, start) = (channels / heads, layout.start_offset());
        let shape = (batch * heads, n, width);
        if n == 1 && layout.is_contiguous() {
            return Ok(Self { given, copy: None, layout: Layout::contiguous_with_offset(shape, start) });
        }
        let &[step, between, 1] = layout.stride() else { bail!("attention: {layout:?}") };
        if between != channels {
            bail!("attention: {layout:?}")
        }
        let copy = swapped((given, start), [batch, n, heads, width], Some(step), 1.0)?;
        Ok(Self { given, copy: Some(copy), layout: Layout::contiguous(shape) })
    }

    fn operand(&self) -> Operand<'_> {
        (self.copy.as_ref().unwrap_or(self.given), &self.layout)
    }
}

/// `by x`, `[a, i, j, width]` -> `[a, j, i, width]`, of x from a place on, dense or with a step from each a to the next.
fn swapped(
    (x, start): (&CudaStorage, usize),
    [of_a, of_i, of_j, width]: [usize; 4],
    step: Option<usize>,
    by: f32,
) -> Result<CudaStorage> {
    let (image, device) = (of_i * of_j * width, x.device());
    let (n, step) = (of_a * image, step.unwrap_or(image));
    let end = if n == 0 { start } else { start + (of_a - 1) * step + image };
    let x = x.as_cuda_slice::<f32>()?.slice(start..end);
    let (count, rows, columns, width, step) = (n as u64, size(of_i)?, size(of_j)?, size(width)?, step as u64);
    // SAFETY: the kernel writes all of it.
    let mut y = unsafe { room::<f32>(device, n) }?;
    // SAFETY: y has n elements, and x ends with the last that is read.
    unsafe {
        launch!(device, "swap_middle", over(n), &count, &rows, &columns, &width, &step, &by, &x, &mut y)
    };
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

fn softmax_gradient(y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let (_, _, _, width) = y.dims4()?;
    let n = y.elem_count();
    demand(n, grad.elem_count())?;
    let rows = n / width.max(1);
    made([y, grad], y.shape(), |[y, grad]| {
        let device = y.0.device();
        let (y, grad, count, columns) = (view::<f32>(y)?, view::<f32>(grad)?, rows as u64, size(width)?);
        // SAFETY: the kernel writes all of it.
        let mut to = unsafe { room::<f32>(device, n) }?;
        // SAFETY: y, its gradient and the result are as large.
        unsafe { launch!(device, "softmax_gradient", warps(rows)?, &count, &columns, &y, &grad, &mut to) };
        Ok(CudaStorage::wrap_cuda_slice(to, device.clone()))
    })
}
