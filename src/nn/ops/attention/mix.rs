//! What is found where the queries look.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::super::jobs::for_rows;
use super::super::matrix::{Target, multiply};
use super::super::storage::{read, slice, tensor};
use super::{Sizes, images, single};

pub struct Mix;

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
        let (weights, (values, stride)) = (slice(weights, weights_layout)?, images(values, values_layout)?);
        let out = if sizes.queries == 1 {
            let mut out = vec![0f32; sizes.batch * sizes.channels()];
            for_rows(&mut out, sizes.channels(), single::LEAST, |image, out| {
                let weights = &weights[image * sizes.heads * sizes.keys..][..sizes.heads * sizes.keys];
                single::mix(weights, sizes.image(values, stride, sizes.keys, image), sizes.width, out);
            });
            out
        } else {
            sizes.gather(sizes.queries, |image, head| {
                (sizes.square(weights, image, head), sizes.head(values, sizes.keys, image, head))
            })
        };
        Ok((CpuStorage::F32(out), (sizes.batch, sizes.queries, sizes.channels()).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        weights: &CudaStorage,
        weights_layout: &Layout,
        values: &CudaStorage,
        values_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let mixed = super::super::cuda::attention_mix((weights, weights_layout), (values, values_layout))?;
        let (batch, _, queries, _) = weights_layout.shape().dims4()?;
        let (_, _, channels) = super::values_shape(values_layout.dims())?.dims3()?;
        Ok((mixed, (batch, queries, channels).into()))
    }

    fn bwd(
        &self,
        weights: &Tensor,
        values: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cuda")]
        if weights.device().is_cuda() {
            return super::super::cuda::attention_mix_gradients(weights, values, grad)
                .map(|[dw, dv]| (dw, dv));
        }
        let sizes = Self::sizes(weights.shape(), values.shape())?;
        let (dw, dv) = read([weights, values, grad], |[ws, vs, gs]| {
            let dw = weights.track_op().then(|| {
                let square = |image, head, data: &mut [f32], inner| {
                    let grad = sizes.head(gs, sizes.queries, image, head);
                    let values = sizes.head(vs, sizes.keys, image, head).transposed();
                    multiply(grad, values, Target { data, stride: sizes.keys, add: false }, inner);
                };
                // SAFETY: the product is a square.
                unsafe { sizes.squares(square) }
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
