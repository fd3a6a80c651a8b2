//! The state of PyTorch's Adam.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::groups::Groups;
use super::tensors::to_candle;
use crate::config::TrainConfig;
use crate::formats::pickle::Value;
use crate::formats::torch::TorchFile;
use crate::nn::Parameter;

/// The state by the names of `train::Adam`, and the number of steps. Its settings go into `train`.
///
/// The file numbers the parameters in the order of the network (golden `order_prs_mask18.json`), where
/// nothing of the backbone is frozen in two groups (quirk 3): the backbone's, with a tenth of the rate, and
/// the others'.
pub(super) fn take(
    file: &TorchFile,
    dict: Value,
    trainable: &[Parameter],
    train: &mut TrainConfig,
    notes: &mut Vec<String>,
) -> Result<(HashMap<String, Tensor>, usize), String> {
    let (groups, state) = (file.get(dict, "param_groups"), file.get(dict, "state"));
    let (Some(groups), Some(state)) = (groups.and_then(|groups| file.items(groups)), state) else {
        return Err(format!("{} without param_groups and state", file.describe(dict)));
    };
    let groups = Groups::read(file, groups, trainable)?;
    groups.settings(file, train, notes);
    let states = file.pairs(state).ok_or("its state is no dict")?;
    let states: HashMap<i64, Value> = states
        .iter()
        .filter_map(|&(key, value)| match key {
            Value::Int(number) => Some((number, value)),
            _ => None,
        })
        .collect();

    let (mut tensors, mut most) = (HashMap::new(), 0);
    for (number, parameter) in groups.members {
        let state = states.get(&number).copied();
        let moments: &[&str] = match train.amsgrad {
            true => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
            false => &["exp_avg", "exp_avg_sq"],
        };
        for key in moments {
            let name = format!("{}.{key}", parameter.name);
            let dims = parameter.var.dims();
            let tensor = match state {
                // A parameter that never got a gradient.
                None => Tensor::zeros(dims, DType::F32, &Device::Cpu),
                Some(state) => {
                    let value = file.get(state, key).ok_or_else(|| format!("{name} is missing"))?;
                    let tensor =
                        file.tensor(value).ok_or_else(|| format!("{name} is {}", file.describe(value)))?;
                    let tensor = tensor.map_err(|error| format!("{name} is {error}"))?;
                    if tensor.shape != dims {
                        return Err(format!("{name} has shape {:?}, the parameter {dims:?}", tensor.shape));
                    }
                    to_candle(&tensor, DType::F32)
                }
            };
            tensors.insert(name, tensor.map_err(|error| error.to_string())?);
        }
        let steps = match state {
            None => 0.0,
            Some(state) => file
                .get(state, "step")
                .and_then(|value| file.number(value))
                .filter(|steps| (0.0..1e15).contains(steps))
                .ok_or_else(|| format!("{} has no number of steps", parameter.name))?,
        };
        most = most.max(steps as usize);
        let steps =
            Tensor::from_slice(&[steps as i64], 1, &Device::Cpu).map_err(|error| error.to_string())?;
        tensors.insert(format!("{}.step", parameter.name), steps);
    }
    Ok((tensors, most))
}
