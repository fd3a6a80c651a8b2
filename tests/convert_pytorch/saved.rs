//! A checkpoint of ours as PyTorch would have saved it.

use candle_core::{DType, Device};
use partial_res::checkpoint::Checkpoint;
use partial_res::model::Network;
use partial_res::nn::Parameter;
use partial_res::report::Weights;

use super::torch_file::{Py, legacy};

pub fn tensors(checkpoint: &Checkpoint, which: Weights, prefix: &str) -> Py {
    let mut tensors: Vec<_> = checkpoint.weights(which).unwrap().into_iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Py::dict(tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), Py::Tensor(tensor))))
}

/// The checkpoint as the reference would have saved it: where the backbone has a rate of its own, with
/// the parameters in two groups, the backbone's last.
pub fn as_pytorch(checkpoint: &Checkpoint) -> Vec<u8> {
    let config = &checkpoint.config;
    let train = &config.train;
    let words = checkpoint.vocabulary.len();
    let (_, parameters) = Network::create(&config.model, words, 0, &Device::Cpu).unwrap();
    let mut ordered = parameters.trainable();
    let two = train.backbone_lr_factor != 1.0;
    let is_backbone = |parameter: &Parameter| two && parameter.name.starts_with("vis_enc.");
    ordered.sort_by_key(is_backbone);
    let others = ordered.iter().filter(|parameter| !is_backbone(parameter)).count() as i64;

    let state = checkpoint.optimizer().unwrap();
    let moments = ordered.iter().enumerate().map(|(i, parameter)| {
        let moment = |key: &str| Py::Tensor(state[&format!("{}.{key}", parameter.name)].clone());
        let steps = state[&format!("{}.step", parameter.name)].to_dtype(DType::F32).unwrap();
        let entry = [
            ("step", Py::Tensor(steps.get(0).unwrap())),
            ("exp_avg", moment("exp_avg")),
            ("exp_avg_sq", moment("exp_avg_sq")),
            ("max_exp_avg_sq", moment("max_exp_avg_sq")),
        ];
        (Py::Int(i as i64), Py::dict(entry.map(|(key, value)| (key.to_owned(), value))))
    });
    let group = |lr: f64, members: std::ops::Range<i64>| {
        let group = [
            ("lr", Py::Float(lr / 2.0)),
            ("initial_lr", Py::Float(lr)),
            ("betas", Py::List(train.betas.map(Py::Float).into())),
            ("eps", Py::Float(train.eps)),
            ("weight_decay", Py::Int(0)),
            ("amsgrad", Py::Bool(true)),
            ("params", Py::List(members.map(Py::Int).collect())),
        ];
        Py::dict(group.map(|(key, value)| (key.to_owned(), value)))
    };
    let mut groups = vec![group(train.lr, 0..others)];
    if two {
        groups.push(group(train.lr * train.backbone_lr_factor, others..ordered.len() as i64));
    }
    let optimizer = [("state", Py::Dict(moments.collect())), ("param_groups", Py::List(groups))];
    let entries = [
        ("epoch", Py::Int(checkpoint.state.epoch as i64 - 1)),
        ("miou", Py::Float(30.0)),
        ("best_miou", Py::Float(31.5)),
        ("d_acc", Py::Float(0.0)),
        ("amp", Py::Bool(false)),
        ("scheduler", Py::None),
        ("state_dict", tensors(checkpoint, Weights::Raw, "module.")),
        ("ema_state_dict", tensors(checkpoint, Weights::Ema, "")),
        ("optimizer", Py::dict(optimizer.map(|(key, value)| (key.to_owned(), value)))),
    ];
    legacy(&Py::dict(entries.map(|(key, value)| (key.to_owned(), value))))
}
