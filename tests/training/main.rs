//! The trainer, from its first step to its last words.

mod begin;
#[path = "../common/end.rs"]
mod end;
mod report;
mod resume;
mod signal;
#[path = "../common/trainer.rs"]
mod trainer;
#[path = "../common/training.rs"]
mod training;
mod trouble;

use std::path::{Path, PathBuf};

use partial_res::config::{Config, TrainConfig};

use end::{End, end};

/// Every source of chance is switched on.
fn config(root: &Path) -> Config {
    let train = TrainConfig {
        epochs: 3,
        batch_size: 4,
        accumulate: 2,
        warmup_epochs: 1,
        shuffle_fraction: 0.5,
        eval_limit: 4,
        log_every: 3,
        ..TrainConfig::default()
    };
    training::config(root, train)
}

fn data(root: &Path) {
    training::shapes(root, 12, 3);
}

/// The files of images: 12 of train, 3 of val, those of the tests.
fn images(root: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root.join("images/refshapes")).expect("images");
    let mut images: Vec<PathBuf> = folder.map(|entry| entry.expect("an image").path()).collect();
    images.sort();
    images
}

fn change_records(root: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let file = root.join("annotations/refshapes-unc/instances.json");
    let text = std::fs::read_to_string(&file).expect("annotations");
    let mut all = serde_json::from_str(&text).expect("JSON");
    change(&mut all);
    std::fs::write(&file, all.to_string()).expect("written");
}

fn same(run: &Path, expected: &End) {
    let found = end(run);
    assert!(found.tensors == expected.tensors, "the tensors differ");
}

/// What a training without interruption ends in.
fn straight(folder: &Path, config: &Config) -> PathBuf {
    let run = folder.join("straight");
    trainer::begin(config.clone(), run.clone()).run(&|_| false).expect("trained");
    run
}
