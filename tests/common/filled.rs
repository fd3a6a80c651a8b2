//! Networks whose weights follow the fill rule.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use partial_res::nn::Parameters;

use super::fill_rule::values;

/// Fills a whole network.
pub fn fill(parameters: &Parameters) -> Result<()> {
    let tensors: HashMap<String, Tensor> = parameters
        .all()
        .into_iter()
        .map(|parameter| {
            let dims = parameter.var.dims();
            let tensor = Tensor::from_vec(values(&parameter.name, dims), dims, &Device::Cpu)?;
            Ok((parameter.name, tensor.to_dtype(if dims.is_empty() { DType::I64 } else { DType::F32 })?))
        })
        .collect::<Result<_>>()?;
    let report = parameters.load(&tensors)?;
    assert!(report.is_complete(), "{report:?}");
    Ok(())
}
