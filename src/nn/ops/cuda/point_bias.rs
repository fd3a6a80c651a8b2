//! Gaussians on a map as biases of attention.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Result, Tensor, bail};

use super::launch::{Operand, blocks, launch, made, room, size, view};
use crate::nn::ops::point_bias::Map;

/// As [`crate::nn::ops::point_bias`], for contiguous f32 `[b, l, 4 * heads]`.
pub fn point_bias(x: Operand, heads: usize, map: &Map) -> Result<CudaStorage> {
    let (images, queries, _) = x.1.shape().dims3()?;
    let positions = map.height * map.width + map.extra;
    let (device, rows) = (x.0.device(), images * heads * queries);
    let [of_heads, of_queries, height, width, of_positions] = sizes(heads, queries, map)?;
    let (x, extent) = (view::<f32>(x)?, device.clone_htod(&map.extent.concat())?);
    // SAFETY: the kernel writes all of it.
    let mut y = unsafe { room::<f32>(device, rows * positions) }?;
    // SAFETY: `ops::point_bias` has compared the sizes.
    unsafe {
        launch!(
            device,
            "point_bias",
            blocks(rows)?,
            &of_heads,
            &of_queries,
            &height,
            &width,
            &of_positions,
            &x,
            &extent,
            &mut y,
        )
    };
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// The gradient of x.
pub fn point_bias_gradient(x: &Tensor, grad: &Tensor, heads: usize, map: &Map) -> Result<Tensor> {
    let (images, queries, _) = x.dims3()?;
    let rows = images * heads * queries;
    if grad.elem_count() != rows * (map.height * map.width + map.extra) {
        bail!("point bias: a gradient {:?} for {rows} rows", grad.shape())
    }
    let [of_heads, of_queries, height, width, of_positions] = sizes(heads, queries, map)?;
    made([x, grad], x.shape(), |[x, grad]| {
        let (device, n) = (x.0.device(), x.1.shape().elem_count());
        let (x, grad, extent) =
            (view::<f32>(x)?, view::<f32>(grad)?, device.clone_htod(&map.extent.concat())?);
        // SAFETY: the kernel writes all of it.
        let mut dx = unsafe { room::<f32>(device, n) }?;
        // SAFETY: x has four numbers for each head of each query, and the gradient a row.
        unsafe {
            launch!(
                device,
                "point_bias_gradient",
                blocks(rows)?,
                &of_heads,
                &of_queries,
                &height,
                &width,
                &of_positions,
                &x,
                &extent,
                &grad,
                &mut dx,
            )
        };
        Ok(CudaStorage::wrap_cuda_slice(dx, device.clone()))
    })
}

fn sizes(heads: usize, queries: usize, map: &Map) -> Result<[u32; 5]> {
    let positions = map.height * map.width + map.extra;
    Ok([size(heads)?, size(queries)?, size(map.height)?, size(map.width)?, size(positions)?])
}
