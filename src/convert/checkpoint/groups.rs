//! Groups of parameters in the state of PyTorch's optimizers.

use crate::config::TrainConfig;
use crate::formats::pickle::Value;
use crate::formats::torch::TorchFile;
use crate::model::BACKBONE;
use crate::nn::Parameter;

/// Settings that are one for the whole network here.
const COMMON: [&str; 3] = ["eps", "weight_decay", "amsgrad"];

/// The groups of a file, and which of its numbers is which parameter.
pub(super) struct Groups<'p> {
    /// Of everything, or of everything but the backbone.
    main: Value,
    backbone: Option<Value>,
    pub members: Vec<(i64, &'p Parameter)>,
}

impl<'p> Groups<'p> {
    /// One group of all trained parameters, or two: the backbone's and the others', in either order.
    pub fn read(file: &TorchFile, groups: &[Value], trainable: &'p [Parameter]) -> Result<Self, String> {
        match *groups {
            [main] => {
                let order = numbers(file, main)?;
                count(&[order.len()], trainable)?;
                Ok(Self { main, backbone: None, members: order.into_iter().zip(trainable).collect() })
            }
            [first, second] => {
                let orders = [numbers(file, first)?, numbers(file, second)?];
                let lengths = [orders[0].len(), orders[1].len()];
                count(&lengths, trainable)?;
                let (backbone, others): (Vec<_>, Vec<_>) =
                    trainable.iter().partition(|parameter| parameter.name.starts_with(BACKBONE));
                let (main, slow, parameters) = if lengths == [others.len(), backbone.len()] {
                    (first, second, [others, backbone])
                } else if lengths == [backbone.len(), others.len()] {
                    (second, first, [backbone, others])
                } else {
                    return Err(format!(
                        "groups of {} and {} parameters, but the network trains {} of its backbone and {} others",
                        lengths[0],
                        lengths[1],
                        backbone.len(),
                        others.len()
                    ));
                };
                alike(file, main, slow)?;
                let members = orders.into_iter().flatten().zip(parameters.into_iter().flatten()).collect();
                Ok(Self { main, backbone: Some(slow), members })
            }
            _ => Err(format!(
                "{} groups of parameters, expected one, or the backbone's and the others'",
                groups.len()
            )),
        }
    }

    /// The run goes on as it was: what the file says wins over the configuration.
    pub fn settings(&self, file: &TorchFile, train: &mut TrainConfig, notes: &mut Vec<String>) {
        let number = |key| number(file, self.main, key);
        let mut set = |key: &str, present: &mut f64, found: Option<f64>| {
            if let Some(found) = found.filter(|found| found != present) {
                notes.push(format!("train.{key} = {found}: the file's own, the configuration has {present}"));
                *present = found;
            }
        };
        set("lr", &mut train.lr, number("initial_lr"));
        set("eps", &mut train.eps, number("eps"));
        set("weight_decay", &mut train.weight_decay, number("weight_decay"));
        for (i, beta) in betas(file, self.main).into_iter().enumerate().take(2) {
            set(["betas (first)", "betas (second)"][i], &mut train.betas[i], beta);
        }
        let factor = match self.backbone {
            None => Some(1.0),
            Some(backbone) => rate(file, backbone).zip(rate(file, self.main)).map(|(slow, main)| slow / main),
        };
        set("backbone_lr_factor", &mut train.backbone_lr_factor, factor);
        if let Some(Value::Bool(amsgrad)) = file.get(self.main, "amsgrad")
            && amsgrad != train.amsgrad
        {
            notes.push(format!("train.amsgrad = {amsgrad}: the file's own"));
            train.amsgrad = amsgrad;
        }
    }
}

fn numbers(file: &TorchFile, group: Value) -> Result<Vec<i64>, String> {
    let order = file.get(group, "params").and_then(|params| file.items(params)).unwrap_or_default();
    let number = |&value: &Value| match value {
        Value::Int(number) => Ok(number),
        _ => Err(format!("a parameter's number is {}", file.describe(value))),
    };
    order.iter().map(number).collect()
}

fn count(lengths: &[usize], trainable: &[Parameter]) -> Result<(), String> {
    let found: usize = lengths.iter().sum();
    match found == trainable.len() {
        true => Ok(()),
        false => Err(format!(
            "{found} parameters, the network trains {}; --set model.darknet.frozen=N says how many modules of the \
             backbone were frozen (12 in the original's configurations)",
            trainable.len()
        )),
    }
}

/// What both groups must say alike, because it is one setting here.
fn alike(file: &TorchFile, a: Value, b: Value) -> Result<(), String> {
    let settings = |group| {
        let plain = COMMON.map(|key| file.get(group, key).map(|value| file.describe(value)));
        (plain, betas(file, group))
    };
    match settings(a) == settings(b) {
        true => Ok(()),
        false => Err("its two groups differ in more than the learning rate".to_owned()),
    }
}

fn number(file: &TorchFile, group: Value, key: &str) -> Option<f64> {
    file.get(group, key).and_then(|value| file.number(value)).filter(|number| number.is_finite())
}

fn betas(file: &TorchFile, group: Value) -> Vec<Option<f64>> {
    let betas = file.get(group, "betas").and_then(|betas| file.items(betas)).unwrap_or_default();
    betas.iter().map(|&beta| file.number(beta).filter(|beta| beta.is_finite())).collect()
}

/// The learning rate at its peak.
fn rate(file: &TorchFile, group: Value) -> Option<f64> {
    let rate = number(file, group, "initial_lr").or_else(|| number(file, group, "lr"));
    rate.filter(|rate| *rate > 0.0)
}
