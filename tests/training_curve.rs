//! Four optimizer steps on one batch against the reference's losses and gradient norms
//! (`train_curve` of tests/golden/model: Adam with amsgrad, clip 0.15, no dropout).

mod common;

use candle_core::Device;
use common::golden::Case;
use partial_res::config::TrainConfig;
use partial_res::model::Network;
use partial_res::nn::Pass;
use partial_res::random::Stream;
use partial_res::train::{Adam, Gradients, clip_factor};

fn check(name: &'static str) -> Result<(), Box<dyn std::error::Error>> {
    let case = Case::open(name);
    let (network, parameters) = Network::create(&case.cfg, 64, 0, &Device::Cpu)?;
    common::fill_rule::fill(&parameters)?;
    let trainable = parameters.trainable();
    let config = TrainConfig::default();
    let mut adam = Adam::new(&trainable, &config)?;
    let curve = &case.info["train_curve"];
    let numbers = |key: &str| -> Vec<f64> {
        curve[key].as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
    };
    let (losses, norms) = (numbers("loss"), numbers("grad_norm_before_clip"));
    assert_eq!(losses.len(), 4);
    for (step, (expected, expected_norm)) in losses.into_iter().zip(norms).enumerate() {
        let pass = Pass::training(Stream::new(0, "dropout").child(step as u64));
        let loss = network.loss(&case.inputs()?, &case.targets()?, &pass)?.total;
        let found = f64::from(loss.to_scalar::<f32>()?);
        assert!((found - expected).abs() < 1e-3, "{name}, step {step}: loss {found}, expected {expected}");
        let gradients = Gradients::take(&mut loss.backward()?, &trainable)?;
        let norm = gradients.norm()?;
        assert!((norm / expected_norm - 1.0).abs() < 5e-3, "{name}, step {step}: norm {norm}");
        adam.step(&gradients, clip_factor(norm, config.clip), config.lr)?;
    }
    Ok(())
}

#[test]
fn partial_res_12_vertices() {
    check("prs_mask12").expect("the curve");
}

#[test]
fn seqtr_boxes_and_outlines() {
    check("plain_both12").expect("the curve");
}
