//! Where each query looks.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::super::jobs::for_rows;
use super::super::matrix::{Target, multiply};
use super::super::softmax::{add_scaled, scale, softmax_gradient, softmax_row};
use super::super::storage::{read, slice, tensor};
use super::{Sizes, images, keys_shape, single};

pub struct Weights {
    pub heads: usize,
}

impl Weights {
    /// `finish(image, head, logits)` takes the unscaled logits of a head to its weights.
    fn forward(
        &self,
        [q, k]: [(&CpuStorage, &Layout); 2],
        finish: impl Fn(usize, usize, &mut [f32], Sizes) + Sync,
    ) -> Result<(CpuStorage, Shape)> {
        let ready = k.1.dims().len() == 4;
        let sizes = Sizes::of(q.1.shape(), &keys_shape(k.1.dims())?, self.heads)?;
        let (q, (k, stride)) = (slice(q.0, q.1)?, images(k.0, k.1)?);
        let out = if sizes.queries == 1 {
            let mut out = vec![0f32; sizes.batch * sizes.heads * sizes.keys];
            let look = if ready { single::look_across } else { single::look };
            for_rows(&mut out, sizes.heads * sizes.keys, single::LEAST, |image, out| {
                let q = sizes.image(q, sizes.channels(), 1, image);
                look(q, sizes.image(k, stride, sizes.keys, image), sizes.width, out);
                let logits = out.chunks_mut(sizes.keys.max(1)).enumerate();
                logits.for_each(|(head, logits)| finish(image, head, logits, sizes));
            });
            out
        } else {
            let square = |image, head, out: &mut [f32], inner| {
                let q = sizes.head(q, sizes.queries, image, head);
                let k = match ready {
                    true => sizes.head_across(k, image, head),
                    false => sizes.head(k, sizes.keys, image, head).transposed(),
                };
                multiply(q, k, Target { data: out, stride: sizes.keys, add: false }, inner);
                finish(image, head, out, sizes);
            };
            // SAFETY: the product is a square.
            unsafe { sizes.squares(square) }
        };
        let shape = (sizes.batch, sizes.heads, sizes.queries, sizes.keys);
        Ok((CpuStorage::F32(out), shape.into()))
    }

    #[cfg(feature = "cuda")]
    fn forward_on_cuda(
        &self,
        q: (&CudaStorage, &Layout),
        k: (&CudaStorage, &Layout),
        bias: Option<(&CudaStorage, &Layout)>,
    ) -> Result<(CudaStorage, Shape)> {
        let sizes = Sizes::of(q.1.shape(), &keys_shape(k.1.dims())?, self.heads)?;
        let shape = (sizes.batch, sizes.heads, sizes.queries, sizes.keys);
        Ok((super::super::cuda::attention_weights(q, k, bias, self.heads)?, shape.into()))
    }

    /// The gradients of q, of k and of the logits.
    fn backward(&self, q: &Tensor, k: &Tensor, y: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        #[cfg(feature = "cuda")]
        if q.device().is_cuda() {
            return super::super::cuda::attention_weights_gradients([q, k], y, grad, self.heads);
        }
        let sizes = Sizes::of(q.shape(), k.shape(), self.heads)?;
        let (dq, dk, logits) = read([q, k, y, grad], |[qs, ks, ys, grads]| {
            let size = sizes.queries * sizes.keys;
            let keys = sizes.keys.max(1);
            let square = |image, head, out: &mut [f32], _| {
                let start = (image * sizes.heads + head) * size;
                let rows = ys[start..start + size].chunks(keys);
                let rows = rows.zip(grads[start..start + size].chunks(keys));
                for ((y, grad), out) in rows.zip(out.chunks_mut(keys)) {
                    softmax_gradient(y, grad, out);
                }
            };
            // SAFETY: the gradients are as many as the logits of a square.
            let logits = unsafe { sizes.squares(square) };
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

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        k: &CudaStorage,
        k_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward_on_cuda((q, q_layout), (k, k_layout), None)
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

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        k: &CudaStorage,
        k_layout: &Layout,
        bias: &CudaStorage,
        bias_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.forward_on_cuda((q, q_layout), (k, k_layout), Some((bias, bias_layout)))
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
