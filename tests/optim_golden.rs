//! Adam, learning rates and the average of weights against values recorded from PyTorch and the
//! reference (tests/golden/optim: five steps on a small regression, twelve updates of an average).

use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use partial_res::bench::golden::{Golden, OPTIMISERS, Tolerances};
use partial_res::config::{Schedule, TrainConfig};
use partial_res::nn::{Parameter, Role};
use partial_res::train::{Adam, Ema, Gradients, learning_rate};
use serde_json::Value;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/optim/optim.json")).expect("valid JSON")
}

fn parameter(name: &str, role: Role, var: &Var) -> Parameter {
    Parameter { name: name.to_owned(), var: var.clone(), role }
}

fn difference(a: &Tensor, b: &Tensor) -> f32 {
    let difference = (a.flatten_all().unwrap() - b.flatten_all().unwrap()).unwrap();
    difference.abs().unwrap().max(0).unwrap().to_scalar().unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn adam_case(case: &str, interrupted: bool) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let golden = Golden::open(&folder, &Device::Cpu, Tolerances::CPU)?;
    let findings = golden.check_optimiser(case, interrupted)?;
    let compared = |what: &str| findings.iter().find(|finding| finding.what == what).map(|f| f.compared);
    assert_eq!((compared("losses"), compared("parameters")), (Some(5), Some(10)));
    for finding in &findings {
        assert!(finding.holds(), "{finding:?}");
    }
    Ok(())
}

#[test]
fn adam_as_pytorch_has_it() -> Outcome {
    OPTIMISERS.iter().try_for_each(|case| adam_case(case, false))
}

#[test]
fn adam_goes_on_from_its_saved_state() -> Outcome {
    adam_case("adam_clip", true)
}

#[test]
fn a_state_of_another_shape_is_refused() -> Outcome {
    let config = TrainConfig::default();
    let of_size = |n| -> candle_core::Result<_> {
        Ok([parameter("w", Role::Trainable, &Var::zeros(n, DType::F32, &Device::Cpu)?)])
    };
    let state = Adam::new(&of_size(3)?, &config)?.state()?;
    let error = Adam::new(&of_size(4)?, &config)?.restore(&state).expect_err("wrong shape");
    assert_eq!(error.to_string(), "optimizer state: `w.exp_avg` has shape [3], the parameter needs [4]");
    Ok(())
}

#[test]
fn learning_rates() {
    let json = golden();
    let cases = [
        ("lr_segmentation_90", 5, vec![75], Schedule::Step),
        ("lr_detection_60", 5, vec![50], Schedule::Step),
        ("lr_two_steps", 2, vec![6, 9], Schedule::Step),
        ("lr_linear", 3, vec![], Schedule::Linear),
    ];
    for (case, warmup_epochs, decay_epochs, schedule) in cases {
        let recorded = floats(&json[case]);
        let epochs = recorded.len();
        let config = TrainConfig { epochs, warmup_epochs, decay_epochs, schedule, ..TrainConfig::default() };
        for (epoch, recorded) in recorded.into_iter().enumerate() {
            let lr = learning_rate(&config, epoch, 3, 7);
            assert!((lr / recorded - 1.0).abs() < 1e-12, "{case}, epoch {epoch}: {lr}, {recorded}");
        }
    }
}

#[test]
fn average_of_weights() -> Outcome {
    let json = golden();
    let record = &json["ema"];
    let tensor = |value: &Value| {
        let values: Vec<f32> = floats(value).into_iter().map(|x| x as f32).collect();
        Tensor::from_vec(values.clone(), values.len(), &Device::Cpu)
    };
    let p = Var::from_tensor(&tensor(&record["initial_p"])?)?;
    let running = Var::from_tensor(&tensor(&record["initial_running"])?)?;
    let tracked = Var::zeros(1, DType::I64, &Device::Cpu)?;
    let frozen = Var::zeros(2, DType::F32, &Device::Cpu)?;
    let state = [
        parameter("p", Role::Trainable, &p),
        parameter("running", Role::Buffer, &running),
        parameter("tracked", Role::Buffer, &tracked),
        parameter("frozen", Role::Frozen, &frozen),
    ];
    let largest = record["alpha"].as_f64().expect("alpha");
    let mut ema = Ema::new(&state, largest)?;
    for (i, step) in record["steps"].as_array().expect("steps").iter().enumerate() {
        // Interrupted in the middle: the counter and with it the decay go on (quirk 49).
        if i == 6 {
            let (weights, updates) = (ema.weights(), ema.updates());
            let mut resumed = Ema::new(&state, largest)?;
            resumed.restore(&weights, updates)?;
            ema = resumed;
        }
        p.set(&tensor(&step["p"])?)?;
        running.set(&tensor(&step["running"])?)?;
        tracked.set(&Tensor::new(&[step["tracked"].as_i64().expect("count")], &Device::Cpu)?)?;
        assert_eq!(ema.decay(), step["decay"].as_f64().expect("decay"));
        ema.update()?;
        let weights = ema.weights();
        assert!(difference(&weights["p"], &tensor(&step["shadow_p"])?) < 1e-6, "update {i}");
        assert!(difference(&weights["running"], &tensor(&step["shadow_running"])?) < 1e-6);
        assert_eq!(weights["tracked"].to_vec1::<i64>()?, [step["shadow_tracked"].as_i64().expect("count")]);
    }
    Ok(())
}

/// Quirk 3: a tenth of the rate for the backbone. Adam's first step is the rate whatever the gradient.
#[test]
fn the_backbone_may_have_a_rate_of_its_own() -> Outcome {
    let start = Tensor::zeros(3, DType::F32, &Device::Cpu)?;
    let (a, b) = (Var::from_tensor(&start)?, Var::from_tensor(&start)?);
    let parameters = [
        parameter("vis_enc.darknet.0.conv.weight", Role::Trainable, &a),
        parameter("head.b", Role::Trainable, &b),
    ];
    let config = TrainConfig { backbone_lr_factor: 0.1, ..TrainConfig::default() };
    let mut adam = Adam::new(&parameters, &config)?;
    let loss = ((a.as_tensor() * 2.0)? + (b.as_tensor() * 3.0)?)?.sum_all()?;
    adam.step(&Gradients::take(&mut loss.backward()?, &parameters)?, 1.0, 5e-4)?;
    assert!(difference(&a, &Tensor::full(-5e-5f32, 3, &Device::Cpu)?) < 1e-9);
    assert!(difference(&b, &Tensor::full(-5e-4f32, 3, &Device::Cpu)?) < 1e-9);
    Ok(())
}
