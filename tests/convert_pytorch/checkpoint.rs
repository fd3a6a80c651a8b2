//! `convert checkpoint`: a training of ours, written as PyTorch would have written it, comes back
//! the same and goes on the same; what does not fit is named.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use partial_res::checkpoint::{Checkpoint, TrainState};
use partial_res::config::{Config, ModelConfig, TrainConfig};
use partial_res::convert::{CheckpointRequest, ConvertError, Output, convert_checkpoint};
use partial_res::model::Network;
use partial_res::nn::Parameter;
use partial_res::text::Vocabulary;

use super::end::end;
use super::saved::as_pytorch;
use super::torch_file::{Py, legacy};
use super::trainer::{begin, resume};
use super::training;

fn config(root: &Path) -> Config {
    let train = TrainConfig {
        epochs: 2,
        batch_size: 4,
        warmup_epochs: 1,
        eval_every: 2,
        eval_limit: 2,
        keep: 9,
        ..TrainConfig::default()
    };
    let mut config = training::config(root, train);
    config.model.language.trainable_words = false;
    config
}

#[test]
fn a_converted_training_goes_on_as_the_original_would() {
    goes_on(config);
}

#[test]
fn a_backbone_with_a_rate_of_its_own_goes_on_too() {
    goes_on(|root| {
        let mut config = config(root);
        config.model.darknet.frozen = 0;
        config.train.backbone_lr_factor = 0.1;
        config
    });
}

fn goes_on(config: impl Fn(&Path) -> Config) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    training::shapes(&root, 8, 2);
    let config = config(&root);
    let ours = folder.path().join("ours");
    begin(config.clone(), ours.clone()).run(&|state: &TrainState| state.step == 3).unwrap();
    // The reference saves between epochs: go on to the end of the first.
    resume(&ours).run(&|state: &TrainState| state.epoch == 1).unwrap();
    let first = std::fs::read_dir(ours.join("checkpoints")).unwrap().flatten().map(|entry| entry.path());
    let first = first
        .filter(|path| path.is_dir())
        .map(|path| Checkpoint::open(&path).unwrap())
        .find(|checkpoint| (checkpoint.state.epoch, checkpoint.state.batch) == (1, 0))
        .expect("the end of the first epoch");

    let file = folder.path().join("latest.pth");
    std::fs::write(&file, as_pytorch(&first)).unwrap();
    let out = folder.path().join("converted");
    let request = CheckpointRequest {
        file: &file,
        // What the file says of its training wins.
        config: Config {
            train: TrainConfig { backbone_lr_factor: 1.0, ..config.train.clone() },
            ..config.clone()
        },
        vocabulary: first.vocabulary.clone(),
        out: &out,
        allow: Vec::new(),
        output: Output::default(),
    };
    let report = convert_checkpoint(request.clone()).unwrap();
    let text = report.to_string();
    assert!(text.contains(" 0 left at their start, 0 left out"), "{text}");
    assert!(text.contains("loaded       ema:head.predictor.0.fc.weight"), "{text}");
    let expected: &[&str] = match config.train.backbone_lr_factor {
        1.0 => &[],
        _ => &["train.backbone_lr_factor = 0.1: the file's own, the configuration has 1"],
    };
    assert_eq!(report.notes, expected);

    let converted = Checkpoint::open(&out).unwrap();
    assert_eq!(converted.vocabulary, first.vocabulary);
    assert_eq!(converted.config, first.config);
    assert_eq!((converted.state.best_segm, converted.state.best_det), (Some(30.0), None));
    assert_eq!((converted.state.epoch, converted.state.step), (1, first.state.step));
    assert!(end(&out).tensors == end(&first.folder).tensors);
    let best = Checkpoint::open(&out.join("checkpoints/segm_best")).unwrap();
    assert_eq!(best.folder, converted.folder);

    for run in [&out, &first.folder] {
        resume(run).run(&|_| false).unwrap();
    }
    assert!(Checkpoint::open(&out).unwrap().state.step > converted.state.step);
    let best = Checkpoint::open(&out.join("checkpoints/segm_best")).unwrap();
    assert_eq!(best.state.step, converted.state.step, "the best score of the original is not beaten");
    assert!(end(&out).tensors == end(&ours).tensors);

    let again = convert_checkpoint(request.clone()).unwrap_err();
    assert!(matches!(again, ConvertError::Exists { .. }), "{again}");
    let forced = CheckpointRequest { output: Output { force: true }, ..request.clone() };
    convert_checkpoint(forced.clone()).unwrap();
    let no_run = convert_checkpoint(CheckpointRequest { out: &root, ..forced.clone() }).unwrap_err();
    assert!(matches!(no_run, ConvertError::NoRun { .. }), "{no_run}");

    let mut backwards = first;
    backwards.config.train.lr = -1.0;
    std::fs::write(&file, as_pytorch(&backwards)).unwrap();
    let message = convert_checkpoint(forced).unwrap_err().to_string();
    assert!(
        message.contains("`train.lr` = -1: must be") && message.contains("--allow optimizer"),
        "{message}"
    );
}

/// Weights of a network with this configuration, without anything else.
fn state_dict(config: &Config, words: usize) -> Vec<(String, Py)> {
    let (_, parameters) = Network::create(&config.model, words, 5, &Device::Cpu).unwrap();
    let entry = |p: Parameter| (p.name, Py::Tensor(p.var.as_detached_tensor()));
    parameters.all().into_iter().map(entry).collect()
}

#[test]
fn what_does_not_fit_is_named_and_fails_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let vocabulary = Vocabulary::build(["the left ape"]);
    let file = folder.path().join("weights.pth");
    let out = folder.path().join("out");
    let convert = |state: Vec<(String, Py)>, allow: &[&str]| {
        std::fs::write(&file, legacy(&Py::dict(state))).unwrap();
        let (config, vocabulary) = (config.clone(), vocabulary.clone());
        let allow = allow.iter().map(|&name| name.to_owned()).collect();
        let output = Output { force: true };
        convert_checkpoint(CheckpointRequest { file: &file, config, vocabulary, out: &out, allow, output })
    };
    let error = |state, allow: &[&str]| convert(state, allow).unwrap_err().to_string();
    let words = vocabulary.len();

    // A state dict alone is a checkpoint, too; it can't be resumed.
    let report = convert(state_dict(&config, words), &[]).unwrap();
    assert!(!report.has_ema && !report.has_optimizer);
    assert!(!Checkpoint::open(&out).unwrap().config.train.ema);

    let mut odd = state_dict(&config, words);
    odd.retain(|(name, _)| name != "head.predictor.0.fc.bias");
    odd.push((
        "head.extra.weight".to_owned(),
        Py::Tensor(Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap()),
    ));
    for (name, value) in &mut odd {
        if name == "lan_enc.embedding.weight" {
            *value = Py::Tensor(Tensor::zeros((9, 8), DType::F32, &Device::Cpu).unwrap());
        }
    }
    let message = error(odd, &["head.other"]);
    for line in [
        "1 are missing, 1 unexpected, 1 of another shape",
        "missing      head.predictor.0.fc.bias\n",
        "unexpected   head.extra.weight\n",
        "wrong shape  lan_enc.embedding.weight: [9, 8], the network has [6, 8]\n",
        "the vocabulary has 6 words, the checkpoint 9",
    ] {
        assert!(message.contains(line), "{message}");
    }
    let mut extra = state_dict(&config, words);
    extra.push((
        "head.extra.weight".to_owned(),
        Py::Tensor(Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap()),
    ));
    convert(extra, &["head.extra.*"]).unwrap();

    // SeqTR's network has no points to modulate and no prompt.
    let seqtr = Config {
        model: ModelConfig { point_modulation: false, task_prompt: false, ..config.model.clone() },
        ..config.clone()
    };
    let message = error(state_dict(&seqtr, words), &[]);
    assert!(message.contains("--config rec/refcoco-unc"), "{message}");

    let message = error(vec![("state_dict".to_owned(), Py::Int(3))], &[]);
    assert!(message.contains("the integer 3, expected a dict of tensors"), "{message}");
    let message = error(vec![("model".to_owned(), Py::Int(3))], &[]);
    assert!(message.contains("a dict of 1 without state_dict"), "{message}");
}

#[test]
fn golden_checkpoints_are_of_another_network_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let golden =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats/ckpt_zip_module_cuda_numpy.pth");
    let request = CheckpointRequest {
        file: &golden,
        config: config(folder.path()),
        vocabulary: Vocabulary::build(["the left ape"]),
        out: &folder.path().join("out"),
        allow: Vec::new(),
        output: Output::default(),
    };
    let message = convert_checkpoint(request).unwrap_err().to_string();
    assert!(message.contains("unexpected   head.predictor.0.weight"), "{message}");
    assert!(message.contains("unexpected   ema:head.predictor.0.weight"), "{message}");
    assert!(!folder.path().join("out").exists());
}
