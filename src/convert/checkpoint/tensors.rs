//! Tensors of a file by the names of a network.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::report::Listing;
use crate::formats::pickle::Value;
use crate::formats::torch::{TorchFile, TorchTensor};
use crate::nn::{LoadReport, Parameters, ShapeMismatch};

/// Before every name in checkpoints of distributed trainings.
const PARALLEL: &str = "module.";

/// The network's tensors from a state dict. What is missing comes from `fallback`, else it stays
/// as `parameters` has it.
pub(super) fn take(
    file: &TorchFile,
    dict: Value,
    parameters: &Parameters,
    fallback: Option<&HashMap<String, Tensor>>,
) -> Result<(HashMap<String, Tensor>, Listing), String> {
    let pairs =
        file.pairs(dict).ok_or_else(|| format!("{}, expected a dict of tensors", file.describe(dict)))?;
    let mut found = HashMap::with_capacity(pairs.len());
    for &(key, value) in pairs {
        let name = file.text(key).ok_or_else(|| format!("a tensor's name is {}", file.describe(key)))?;
        found.insert(name, value);
    }
    if !found.is_empty() && found.keys().all(|name| name.starts_with(PARALLEL)) {
        found = found.into_iter().map(|(name, value)| (&name[PARALLEL.len()..], value)).collect();
    }

    let (mut tensors, mut report) = (HashMap::new(), LoadReport::default());
    for parameter in parameters.all() {
        let name = parameter.name;
        let here = || match fallback.and_then(|tensors| tensors.get(&name)) {
            Some(tensor) => Ok(tensor.clone()),
            None => parameter.var.as_detached_tensor().copy().map_err(|error| error.to_string()),
        };
        let tensor = match found.remove(name.as_str()) {
            None => {
                report.missing.push(name.clone());
                here()?
            }
            Some(value) => {
                let tensor =
                    file.tensor(value).ok_or_else(|| format!("{name} is {}", file.describe(value)))?;
                let tensor = tensor.map_err(|error| format!("{name} is {error}"))?;
                if tensor.shape == parameter.var.dims() {
                    report.loaded.push(name.clone());
                    to_candle(&tensor, parameter.var.dtype()).map_err(|error| format!("{name}: {error}"))?
                } else {
                    let (expected, found) = (parameter.var.dims().to_vec(), tensor.shape);
                    report.wrong_shape.push(ShapeMismatch { name: name.clone(), expected, found });
                    here()?
                }
            }
        };
        tensors.insert(name, tensor);
    }
    report.unexpected = found.into_keys().map(str::to_owned).collect();
    report.unexpected.sort();
    Ok((tensors, Listing::new(report)))
}

/// Integers stay integers; all floats become float32.
pub(super) fn to_candle(tensor: &TorchTensor, wanted: DType) -> candle_core::Result<Tensor> {
    let shape = tensor.shape.as_slice();
    match wanted {
        DType::I64 => Tensor::from_vec(tensor.to_i64(), shape, &Device::Cpu),
        _ => Tensor::from_vec(tensor.to_f32(), shape, &Device::Cpu)?.to_dtype(wanted),
    }
}
