//! What a training leaves to read.

use std::path::Path;

use candle_core::Device;
use partial_res::checkpoint::Checkpoint;
use partial_res::config::AuxiliaryConfig;
use partial_res::report::{Log, Weights, read_results};
use partial_res::train::{RunFolder, Trainer};

use super::{change_records, config, data};

/// Outlines are learnt from masks, but `val` may know boxes alone.
#[test]
fn the_last_words_name_a_checkpoint_that_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    change_records(&root, |all| {
        for record in all["val"].as_array_mut().expect("records") {
            record.as_object_mut().expect("a record").remove("mask");
        }
        all["val"][0]["expressions"] = serde_json::json!(["?!", "the second one"]);
    });
    let mut config = config(&root);
    config.train.epochs = 1;
    let run = RunFolder::at(folder.path().join("run"), &config).expect("a run folder");
    let log = run.log();
    let mut trainer = Trainer::begin(config, run, Weights::Raw, &Device::Cpu, Log::quiet()).expect("begun");
    trainer.run(&|_| false).expect("trained");
    trainer.conclude(&|_| false).expect("told");
    let text = std::fs::read_to_string(log).expect("the log");
    assert!(text.contains("val box accuracy ") && !text.contains("accuracy none"), "{text}");
    // Neither marks that are not known nor an expression without a word.
    assert!(!text.contains("perfect tokens") && text.contains("--expression \"the second one\""), "{text}");
    let named = text.split_once("eval --checkpoint ").expect("what to do next").1;
    let named = named.split_whitespace().next().expect("a path");
    Checkpoint::open(Path::new(named)).expect("it is there");
}

#[test]
fn log_and_results_have_the_parts_of_the_loss_and_the_log_a_stop_of_the_last_evaluation() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut config = config(&root);
    config.train.epochs = 1;
    config.train.log_every = 1;
    config.data.labels = ["kind", "colour", "pattern", "size"].map(str::to_owned).to_vec();
    config.model.auxiliary = AuxiliaryConfig {
        grounding_weight: 0.5,
        grounding_box_weight: 0.25,
        attention_weight: 2.0,
        pretext_weight: 0.125,
        pretext_classes: vec![12, 8, 3, 2],
    };
    // Those of the parts, in the order of their columns.
    let weights = [1.0, 0.5, 0.25, 2.0, 0.125];
    let run = RunFolder::at(folder.path().join("run"), &config).expect("a run folder");
    let log = run.log();
    let speaking = Log::quiet().with_file(&log).expect("a log");
    let mut trainer = Trainer::begin(config, run, Weights::Raw, &Device::Cpu, speaking).expect("a trainer");
    trainer.run(&|_| false).expect("trained");
    trainer.conclude(&|_| true).expect("told");

    let text = std::fs::read_to_string(log).expect("the log");
    let line = text.lines().find(|line| line.contains("  step 1  ")).expect("a line of the first step");
    let number = |name: &str| -> f64 {
        let rest = line.split_once(&format!("{name} ")).expect(name).1;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        rest[..end].parse().expect("a number")
    };
    let names = ["(tokens", "grounding", "grounding box", "attention", "pretext"];
    let sum: f64 = names.iter().zip(weights).map(|(name, weight)| weight * number(name)).sum();
    assert!((number("loss") - sum).abs() < 3e-4, "{line}");
    assert!(text.contains("stopped in the last evaluation") && text.contains("next: "), "{text}");

    let rows = read_results(&folder.path().join("run/results.csv")).expect("results");
    for row in &rows {
        let parts = row.loss_parts.map(|part| part.expect("every part has its column"));
        let sum: f64 = parts.iter().zip(weights).map(|(part, weight)| weight * part).sum();
        assert!((row.loss.expect("a loss") - sum).abs() < 1e-4, "{row:?}");
    }
    assert_eq!(rows.len(), 4, "weights and protocols");
}
