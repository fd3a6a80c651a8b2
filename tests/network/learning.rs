//! Losses, gradients, initial values.

use candle_core::{DType, Device, Result, Tensor};
use partial_res::config::{AuxiliaryConfig, LanguageConfig, ModelConfig, Task};
use partial_res::model::{Network, Sequence, Targets, token_loss};
use partial_res::nn::{Pass, Role};
use partial_res::random::Stream;

use super::{VOCABULARY, create, inputs, small, targets, variants};

#[test]
fn every_trainable_tensor_has_a_gradient_and_no_other_changes() -> Result<()> {
    let mut all_on = small(Task::Segmentation, true);
    all_on.loss.soft_target_sigma = 1.0;
    all_on.auxiliary = AuxiliaryConfig {
        grounding_weight: 1.0,
        grounding_box_weight: 1.0,
        attention_weight: 0.5,
        pretext_weight: 1.0,
        pretext_classes: vec![4, 3],
    };
    for cfg in variants().into_iter().chain([all_on]) {
        let (network, parameters) = create(&cfg, 8)?;
        let frozen = |role| -> Vec<(String, Tensor)> {
            let held = parameters.all().into_iter().filter(|parameter| parameter.role == role);
            held.map(|parameter| (parameter.name, parameter.var.copy().unwrap())).collect()
        };
        let (before, statistics) = (frozen(Role::Frozen), frozen(Role::Buffer));
        let pass = Pass::training(Stream::new(0, "dropout"));
        let losses = network.loss(&inputs(&[0, 1, 2, 1])?, &targets(4), &pass).unwrap();
        let gradients = losses.total.backward()?;
        for parameter in parameters.trainable() {
            // The prompt of outlines doesn't take part in spelling boxes.
            let unused = cfg.task != Task::Segmentation && parameter.name.ends_with("task_prompt.weight");
            let norm = match gradients.get(&parameter.var) {
                Some(gradient) => gradient.sqr()?.sum_all()?.to_scalar::<f32>()?,
                None => 0.0,
            };
            assert!(norm.is_finite() && (norm > 0.0) != unused, "{:?} {}: {norm}", cfg.task, parameter.name);
        }
        let changed = |held: &[(String, Tensor)]| -> Result<usize> {
            let mut changed = 0;
            for (name, before) in held {
                let now = parameters.get(name).unwrap().var.to_dtype(DType::F32)?;
                changed += usize::from(
                    (now - before.to_dtype(DType::F32)?)?.abs()?.sum_all()?.to_scalar::<f32>()? > 0.0,
                );
            }
            Ok(changed)
        };
        assert_eq!(changed(&before)?, 0);
        assert!(before.iter().any(|(name, _)| name.starts_with("vis_enc")));
        assert_eq!(changed(&statistics)?, statistics.len());
    }
    Ok(())
}

#[test]
fn auxiliary_losses_are_made_where_they_have_a_weight() -> Result<()> {
    let names = ["grounding", "grounding box", "attention", "pretext"];
    for (place, name) in names.into_iter().enumerate() {
        let weight = |of: usize| if of == place { 1.0 } else { 0.0 };
        let mut cfg = small(Task::Segmentation, true);
        cfg.auxiliary = AuxiliaryConfig {
            grounding_weight: weight(0),
            grounding_box_weight: weight(1),
            attention_weight: weight(2),
            pretext_weight: weight(3),
            pretext_classes: Vec::new(),
        };
        let (network, _) = create(&cfg, 8)?;
        let losses = network.loss(&inputs(&[0, 1])?, &targets(2), &Pass::evaluation()).unwrap();
        let made: Vec<&str> = losses.auxiliary.parts().map(|(name, _)| name).collect();
        assert_eq!(made, [name]);
    }
    Ok(())
}

#[test]
fn vectors_of_all_layers_start_equal_and_matrices_differ() -> Result<()> {
    let (_, parameters) =
        Network::create(&small(Task::Segmentation, true), VOCABULARY, 0, &Device::Cpu).unwrap();
    let values = |layer: usize, name: &str| -> Vec<f32> {
        let name = format!("head.transformer.decoder.layers.{layer}.{name}");
        parameters.get(&name).unwrap().var.flatten_all().unwrap().to_vec1().unwrap()
    };
    assert_eq!(values(0, "linear1.bias"), values(1, "linear1.bias"));
    assert_ne!(values(0, "linear1.weight"), values(1, "linear1.weight"));
    assert!(values(1, "point.4.bias").iter().all(|&value| value == 0.0));
    assert!(values(1, "point.4.weight").iter().any(|&value| value != 0.0));
    Ok(())
}

#[test]
fn a_row_without_words_has_finite_numbers() -> Result<()> {
    let cfg = small(Task::Detection, true);
    let (network, _) = create(&cfg, 9)?;
    let mut rows = inputs(&[0, 1, 2])?;
    rows.words = Tensor::new(&[[0u32, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]], &Device::Cpu)?;
    let losses = network.loss(&rows, &targets(3), &Pass::training(Stream::new(0, "dropout"))).unwrap();
    assert!(losses.total.to_scalar::<f32>()?.is_finite());
    Ok(())
}

#[test]
fn soft_targets_are_best_met_by_themselves() -> Result<()> {
    let mut cfg = small(Task::Detection, false);
    cfg.loss.soft_target_sigma = 1.5;
    cfg.loss.label_smoothing = 0.0;
    let sequences = Sequence::of_targets(&cfg, &targets(1));
    let position = sequences[0].positions[0].unwrap();
    let logit = |place: usize, bin: usize| match (place, bin) {
        (4, 20) => 30.0,
        (4, _) | (_, 20) => -30.0,
        (place, bin) => {
            let distance = (bin as f32 + 0.5 - sequences[0].positions[place].unwrap()) / 1.5;
            -0.5 * distance * distance
        }
    };
    assert!((position - 1.25).abs() < 1e-6);
    let logits: Vec<f32> = (0..5 * 21).map(|i| logit(i / 21, i % 21)).collect();
    let logits = Tensor::from_vec(logits, (1, 5, 21), &Device::Cpu)?;
    let best = token_loss(&cfg, &logits, &sequences, None, None)?.to_scalar::<f32>()?;
    assert!(best.abs() < 1e-4, "{best}");
    assert!(token_loss(&cfg, &(logits * 0.5)?, &sequences, None, None)?.to_scalar::<f32>()? > 0.01);
    Ok(())
}

#[test]
fn mistakes_are_named() -> Result<()> {
    let message =
        |cfg: &ModelConfig| Network::create(cfg, VOCABULARY, 0, &Device::Cpu).err().unwrap().to_string();
    let good = small(Task::Segmentation, true);
    assert_eq!(
        message(&ModelConfig { heads: 5, ..good.clone() }),
        "`model.heads` = 5: must divide model.d_model = 24"
    );
    let language = LanguageConfig { hidden: 9, ..good.language.clone() };
    assert!(
        message(&ModelConfig { language, ..good.clone() }).starts_with("`model.language.hidden` = 9: twice")
    );
    let (network, parameters) = create(&good, 0)?;
    let without = Targets { vertices: None, ..targets(1) };
    let error = network.loss(&inputs(&[0])?, &without, &Pass::evaluation()).unwrap_err();
    assert_eq!(error.to_string(), "the batch has 0 target outlines, expected 1");
    let inferring = Network::new(&good, VOCABULARY, parameters.inference()).unwrap();
    let pass = Pass::training(Stream::new(0, "dropout"));
    let error = inferring.loss(&inputs(&[0])?, &targets(1), &pass).unwrap_err().to_string();
    assert!(error.contains("can't run in training"), "{error}");
    Ok(())
}
