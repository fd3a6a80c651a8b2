//! Adam, learning rates and the average of weights against values recorded from PyTorch and the
//! reference (tests/golden/optim: five steps on a small regression, twelve updates of an average).

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use partial_res::config::{Schedule, TrainConfig};
use partial_res::nn::{Parameter, Role};
use partial_res::train::{Adam, Ema, Gradients, clip_factor, learning_rate};
use serde_json::Value;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn golden() -> (Value, HashMap<String, Tensor>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optim");
    let text = std::fs::read_to_string(folder.join("optim.json")).expect("optim.json");
    let tensors = candle_core::safetensors::load(folder.join("optim.safetensors"), &Device::Cpu);
    (serde_json::from_str(&text).expect("valid JSON"), tensors.expect("optim.safetensors"))
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

/// Runs one recorded case; saves and restores the optimizer before every step when `interrupted`.
fn adam_case(case: &str, config: &TrainConfig, interrupted: bool) -> Outcome {
    let (json, tensors) = golden();
    let (x, y) = (&tensors["X"], &tensors["Y"]);
    let (w, b) = (Var::from_tensor(&tensors["W0"])?, Var::from_tensor(&tensors["B0"])?);
    let parameters = [parameter("W", Role::Trainable, &w), parameter("B", Role::Trainable, &b)];
    let mut adam = Adam::new(&parameters, config)?;
    for (i, record) in json[case].as_array().expect("steps").iter().enumerate() {
        if interrupted {
            let state = adam.state()?;
            adam = Adam::new(&parameters, config)?;
            adam.restore(&state)?;
        }
        let out = x.matmul(&w.t()?)?.broadcast_add(&b)?.tanh()?;
        let loss = ((out - y)?.sqr()?.sum_all()? * 0.3f64.powi(i as i32))?;
        let recorded = record["loss"].as_f64().expect("loss");
        assert!((f64::from(loss.to_scalar::<f32>()?) - recorded).abs() < 1e-5, "{case}, step {i}");

        let gradients = Gradients::take(&mut loss.backward()?, &parameters)?;
        let norm = gradients.norm()?;
        if let Some(recorded) = record["grad_norm"].as_f64() {
            assert!((norm / recorded - 1.0).abs() < 1e-5, "{case}, step {i}: norm {norm}");
        }
        let scale = clip_factor(norm, config.clip);
        let step = i + 1;
        let clipped = (&tensors[&format!("{case}.grad{step}.W")] * scale)?;
        assert!(difference(&clipped, &tensors[&format!("{case}.clipped{step}.W")]) < 1e-6);

        adam.step(&gradients, scale, record["lr"].as_f64().expect("lr"))?;
        for Parameter { name, var, .. } in &parameters {
            let recorded = &tensors[&format!("{case}.{name}{step}")];
            assert!(difference(var, recorded) < 1e-6, "{case}, step {i}: {name}");
        }
    }
    let state = adam.state()?;
    for name in ["W", "B"] {
        let rows: &[&str] = if config.amsgrad {
            &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
        } else {
            &["exp_avg", "exp_avg_sq"]
        };
        for key in rows {
            let recorded = &tensors[&format!("{case}.state.{name}.{key}")];
            let found = &state[&format!("{name}.{key}")];
            assert!(difference(found, recorded) < 1e-6, "{case}: {name}.{key}");
        }
        let steps = state[&format!("{name}.step")].to_dtype(DType::F32)?;
        assert_eq!(difference(&steps, &tensors[&format!("{case}.state.{name}.step")]), 0.0);
    }
    Ok(())
}

#[test]
fn adam_with_amsgrad_and_clipping() -> Outcome {
    adam_case("adam_clip", &TrainConfig::default(), false)
}

#[test]
fn adam_goes_on_from_its_saved_state() -> Outcome {
    adam_case("adam_clip", &TrainConfig::default(), true)
}

#[test]
fn adam_without_clipping() -> Outcome {
    adam_case("adam_noclip", &TrainConfig { clip: 0.0, ..TrainConfig::default() }, false)
}

#[test]
fn adam_without_amsgrad() -> Outcome {
    adam_case("adam_noamsgrad", &TrainConfig { amsgrad: false, ..TrainConfig::default() }, false)
}

#[test]
fn adam_with_weight_decay() -> Outcome {
    adam_case("adam_wd", &TrainConfig { weight_decay: 0.01, ..TrainConfig::default() }, false)
}

#[test]
fn adam_with_changing_rate() -> Outcome {
    adam_case("adam_lr_change", &TrainConfig::default(), false)
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
    let (json, _) = golden();
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
    let (json, _) = golden();
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
