//! The network against values recorded from the reference (tests/golden/README.md).
//! Weights follow from the fill rule; tolerances are those the golden data suggest.

mod common;

use std::collections::HashMap;

use candle_core::{Device, Result, Tensor};
use common::golden::{Case, difference, json};
use partial_res::config::{Task, TrainConfig};
use partial_res::model::{Encoded, Network, Sequence, Strategy, target_tokens, token_loss};
use partial_res::nn::{Parameters, Pass, Role};
use partial_res::random::Stream;
use partial_res::train::{Adam, Gradients, clip_factor};
use serde_json::Value;

/// Where an activation we watch stands in the golden file, and the order of its axes there.
fn watched_as(name: &str, tensor: &Tensor) -> Result<(String, Tensor)> {
    let channels_last = matches!(name, "fusion" | "fusion_lang" | "input_proj");
    let tensor = if channels_last { tensor.transpose(1, 2)?.contiguous()? } else { tensor.clone() };
    Ok((name.to_owned(), tensor))
}

fn check_activations(case: &Case, mode: &str, watched: &HashMap<String, Tensor>) -> Result<usize> {
    let mut compared = 0;
    for (name, tensor) in watched {
        let (name, tensor) = watched_as(name, tensor)?;
        let Some(expected) = case.tensors.get(&format!("{mode}.{name}")) else { continue };
        let tolerance = if name == "level1" { 1e-3 } else { 1e-4 };
        let found = difference(&tensor, expected);
        assert!(found < tolerance, "{} {mode}.{name}: {found}", case.name);
        compared += 1;
    }
    Ok(compared)
}

fn norm(tensor: &Tensor) -> Result<f64> {
    tensor.to_dtype(candle_core::DType::F64)?.sqr()?.sum_all()?.sqrt()?.to_scalar()
}

/// Loss, gradients and activations of one mode; returns how many activations were compared.
fn check_mode(case: &Case, network: &Network, parameters: &Parameters, mode: &str) -> Result<usize> {
    let pass = match mode {
        "eval" => Pass::evaluation(),
        _ => Pass::training(Stream::new(0, "dropout")),
    }
    .watching();
    let encoded = network.forward(&case.inputs()?, &pass).unwrap();
    let sequences = Sequence::of_targets(&case.cfg, &case.targets()?);
    assert_eq!(target_tokens(&case.cfg, &sequences), case.tokens(&format!("{mode}.targets")));
    let logits = network.teacher(&encoded, &sequences, &pass)?;
    let loss = token_loss(&case.cfg, &logits, &sequences)?;
    let value = f64::from(loss.to_scalar::<f32>()?);
    assert!((value - case.number(&format!("{mode}_loss"))).abs() < 1e-5, "{} {mode} loss {value}", case.name);

    let gradients = loss.backward()?;
    let norms = case.info[format!("{mode}_grad_l2")].as_object().unwrap();
    let trainable = parameters.trainable();
    let names: Vec<&String> = trainable.iter().map(|parameter| &parameter.name).collect();
    assert_eq!(names.len(), norms.len());
    for parameter in &trainable {
        let name = &parameter.name;
        let gradient = gradients.get(&parameter.var).unwrap_or_else(|| panic!("{name} has no gradient"));
        let (found, expected) = (norm(gradient)?, norms[name].as_f64().unwrap());
        let relative = (found - expected).abs() / expected;
        assert!(relative < 1e-4, "{} {mode} gradient of {name}: {found}, expected {expected}", case.name);
        if let Some(expected) = case.tensors.get(&format!("{mode}.grad.{name}")) {
            let found = difference(&gradient.narrow(0, 0, expected.dim(0)?)?, expected);
            assert!(found < 1e-4, "{} {mode} gradient of {name}: {found}", case.name);
        }
    }
    for parameter in parameters.all().iter().filter(|parameter| parameter.role != Role::Trainable) {
        assert!(gradients.get(&parameter.var).is_none(), "{} is not trained", parameter.name);
    }
    check_activations(case, mode, &pass.watched())
}

fn check_running_statistics(case: &Case, parameters: &Parameters) -> Result<()> {
    let mut compared = 0;
    for (name, expected) in &case.tensors {
        if let Some(name) = name.strip_prefix("train.after.") {
            let found = difference(parameters.get(name).unwrap().var.as_tensor(), expected);
            assert!(found < 1e-4, "{} {name}: {found}", case.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
    let counter = parameters.get("fusion.top_project.0.bn.num_batches_tracked").unwrap();
    assert_eq!(counter.var.to_scalar::<i64>()?, 1);
    Ok(())
}

/// Up to and with the end token, where a row stops.
fn cut(tokens: &[u32], end: u32) -> Vec<u32> {
    let length = tokens.iter().position(|&token| token == end).map_or(tokens.len(), |end| end + 1);
    tokens[..length].to_vec()
}

fn check_greedy(case: &Case, network: &Network, encoded: &Encoded) -> Result<()> {
    let tasks: &[Task] = match case.cfg.task {
        Task::Segmentation => &[Task::Segmentation, Task::Detection],
        Task::Detection => &[Task::Detection],
        Task::MultiTask => &[Task::MultiTask],
    };
    for &task in tasks {
        if task == Task::Detection && !case.tensors.contains_key("greedy.box") {
            continue;
        }
        let answers = network.generate(encoded, task, Strategy::Greedy, None)?;
        if answers[0].bounds.is_some() {
            let found: Vec<Vec<u32>> = answers.iter().map(|a| a.bounds.clone().unwrap().tokens).collect();
            assert_eq!(found, case.tokens("greedy.box"), "{}", case.name);
        }
        if answers[0].outline.is_some() {
            let expected: Vec<Vec<u32>> =
                case.tokens("greedy.mask").iter().map(|row| cut(row, case.cfg.end_token())).collect();
            let found: Vec<Vec<u32>> = answers.iter().map(|a| a.outline.clone().unwrap().tokens).collect();
            assert_eq!(found, expected, "{}", case.name);
        }
    }
    Ok(())
}

/// In exact arithmetic row 0, position 23 of unit 220 in the predictor's first layer is -1.5e-7 in
/// train mode of `prs_mask18`: on which side of the ReLU it falls is the rounding of whoever computes
/// it, and half a percent of some gradients hangs on that. The reference's rounding says 0; so does
/// ours with this bias moved by less than the tolerance of activations.
fn step_off_the_kink(parameters: &Parameters) -> Result<()> {
    let bias = parameters.get("head.predictor.0.fc.bias").unwrap().var;
    let mut values = bias.to_vec1::<f32>()?;
    values[220] -= 3e-5;
    bias.set(&Tensor::new(values, &Device::Cpu)?)
}

/// Everything a case holds, with one network.
fn check(name: &'static str, activations: [usize; 2]) -> Result<()> {
    let case = Case::open(name);
    let (network, parameters) = Network::create(&case.cfg, 64, 0, &Device::Cpu).unwrap();
    common::filled::fill(&parameters)?;
    let shapes: HashMap<String, Vec<usize>> =
        parameters.all().iter().map(|p| (p.name.clone(), p.var.dims().to_vec())).collect();
    let count = |trainable: bool| -> usize {
        let counted = |role| role == Role::Trainable || (!trainable && role == Role::Frozen);
        parameters.all().iter().filter(|p| counted(p.role)).map(|p| p.var.elem_count()).sum()
    };
    assert_eq!(count(false) as f64, case.number("params"));
    assert_eq!(count(true) as f64, case.number("trainable"));
    if name != "prs_mask18" {
        let expected: HashMap<String, Vec<usize>> =
            serde_json::from_value(json(&format!("names_{name}.json"))).unwrap();
        assert_eq!(shapes, expected);
    }

    let inference = Network::new(&case.cfg, 64, parameters.inference()).unwrap();
    let encoded = inference.forward(&case.inputs()?, &Pass::evaluation()).unwrap();
    assert_eq!(encoded.position.narrow(1, 0, 12)?.dims(), [2, 12, 256]);
    assert!(difference(&encoded.position.narrow(1, 0, 12)?.contiguous()?, &case.tensors["enc.pos"]) < 1e-5);
    let padding: Vec<Vec<u8>> =
        encoded.grid.padding.iter().map(|row| row.iter().map(|&p| u8::from(p)).collect()).collect();
    assert_eq!(padding, case.tensors["enc.key_pad"].to_vec2::<u8>()?);
    check_greedy(&case, &inference, &encoded)?;
    drop((inference, encoded));

    if case.info["trainable_in_reference"] == Value::Bool(true) {
        assert_eq!(check_mode(&case, &network, &parameters, "eval")?, activations[0]);
        if name == "prs_mask18" {
            step_off_the_kink(&parameters)?;
        }
        assert_eq!(check_mode(&case, &network, &parameters, "train")?, activations[1]);
        check_running_statistics(&case, &parameters)?;
    }
    Ok(())
}

#[test]
fn partial_res_masks_18() -> Result<()> {
    check("prs_mask18", [19, 7])
}

#[test]
fn partial_res_masks_12() -> Result<()> {
    check("prs_mask12", [3, 3])
}

#[test]
fn partial_res_boxes() -> Result<()> {
    check("prs_box", [0, 0])
}

#[test]
fn seqtr_masks() -> Result<()> {
    check("plain_mask18", [3, 3])
}

#[test]
fn seqtr_boxes() -> Result<()> {
    check("plain_box", [3, 3])
}

#[test]
fn seqtr_boxes_and_masks() -> Result<()> {
    check("plain_both12", [3, 3])
}

/// Four steps of Adam (amsgrad, clip 0.15) on the same batch: losses within 1e-3 of their value. The
/// norms are compared to 1e-2: Adam turns the tiniest gradients into whole steps, so that rounding
/// shows. The reference's own two records of the first norm differ by 4e-4 (see also
/// [`step_off_the_kink`], on whose either side losses are within 1e-3).
#[test]
fn the_training_curve_of_the_reference() -> Result<()> {
    let case = Case::open("prs_mask18");
    let (network, parameters) = Network::create(&case.cfg, 64, 0, &Device::Cpu).unwrap();
    common::filled::fill(&parameters)?;
    let (trainable, config) = (parameters.trainable(), TrainConfig::default());
    let mut adam = Adam::new(&trainable, &config)?;
    let curve = &case.info["train_curve"];
    for step in 0..4 {
        let pass = Pass::training(Stream::new(0, "dropout").child(step as u64));
        let loss = network.loss(&case.inputs()?, &case.targets()?, &pass).unwrap().total;
        let gradients = Gradients::take(&mut loss.backward()?, &trainable)?;
        let norm = gradients.norm()?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        for (key, found, tolerance) in [("loss", loss, 1e-3), ("grad_norm_before_clip", norm, 1e-2)] {
            let expected = curve[key][step].as_f64().unwrap();
            let relative = (found / expected - 1.0).abs();
            assert!(relative < tolerance, "step {step}, {key}: {found}, expected {expected}");
        }
        adam.step(&gradients, clip_factor(norm, config.clip), config.lr)?;
    }
    Ok(())
}

#[test]
fn names_stand_in_the_order_of_the_reference() -> Result<()> {
    let order = json("order_prs_mask18.json");
    let case = Case::open("prs_mask18");
    let (_, parameters) = Network::create(&case.cfg, 64, 0, &Device::Cpu).unwrap();
    let list = |key: &str| -> Vec<String> { serde_json::from_value(order[key].clone()).unwrap() };
    let names = |parameters: Vec<partial_res::nn::Parameter>| -> Vec<String> {
        parameters.into_iter().map(|parameter| parameter.name).collect()
    };
    assert_eq!(names(parameters.all()), list("state_dict_order"));
    assert_eq!(names(parameters.trainable()), list("optimizer_order"));
    Ok(())
}
