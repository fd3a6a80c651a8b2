//! Sample, label, pick: the commands between two trainings, judge, and what eval and predict leave.

mod ask;
mod judge;
mod label;
mod pick;
mod sample;
#[path = "../common/training.rs"]
mod training;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use partial_res::config::{TrainConfig, Transform};
use partial_res::data::Annotations;

const DATASET: &str = "refshapes-unc";

/// A small RefShapes.
fn data() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    training::shapes(&root, 60, 3);
    (folder, root)
}

fn file(root: &Path, name: &str) -> PathBuf {
    root.join("annotations").join(DATASET).join(name)
}

fn program(arguments: &[&str], root: &Path) -> Command {
    let mut command = Command::cargo_bin("partial-res").unwrap();
    command.args(arguments).current_dir(root.parent().unwrap());
    command
}

fn succeed(arguments: &[&str], root: &Path) -> String {
    let done = program(arguments, root).assert().success();
    String::from_utf8(done.get_output().stdout.clone()).unwrap()
}

fn fail(arguments: &[&str], root: &Path) -> String {
    let done = program(arguments, root).assert().failure();
    String::from_utf8(done.get_output().stderr.clone()).unwrap()
}

fn records(annotations: &Annotations, split: &str) -> Vec<String> {
    annotations.records(split).unwrap().map(str::to_owned).collect()
}

fn read(root: &Path, name: &str) -> Annotations {
    Annotations::read(&file(root, name)).unwrap()
}

/// A network that says anything at all: its run.
fn train(root: &Path, transform: Transform) -> PathBuf {
    let folder = root.parent().unwrap();
    let train = TrainConfig { epochs: 1, batch_size: 16, eval_limit: 1, ..TrainConfig::default() };
    let mut config = training::config(root, train);
    config.data.train_transform = transform;
    fs::write(folder.join("tiny.toml"), config.to_toml()).unwrap();
    succeed(&["train", "tiny.toml", "--device", "cpu", "--runs", "runs"], root);
    fs::read_dir(folder.join("runs")).unwrap().next().unwrap().unwrap().path()
}
