//! A training that is stopped and resumed ends bit for bit like one that is not.

#[path = "common/end.rs"]
mod end;
#[path = "common/trainer.rs"]
mod trainer;
#[path = "common/training.rs"]
mod training;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::Device;
use partial_res::checkpoint::Checkpoint;
use partial_res::config::{AuxiliaryConfig, Config, Task, TrainConfig};
use partial_res::report::{Log, Weights, read_results};
use partial_res::train::{Outcome, RunFolder, TrainError, Trainer};

use end::{End, end};
use trainer::{begin, resume};

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
    assert_eq!(found.results, expected.results);
    assert!(found.tensors == expected.tensors, "the tensors differ");
}

#[test]
fn stopped_and_resumed_is_the_same_as_straight() {
    for epoch_steps in [0, 5] {
        stop_and_resume(epoch_steps);
    }
}

/// With epochs of one pass (0) or of so many steps.
fn stop_and_resume(epoch_steps: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut config = config(&root);
    config.train.epoch_steps = epoch_steps;

    let straight = folder.path().join("straight");
    let mut trainer = begin(config.clone(), straight.clone());
    assert_eq!(trainer.run(&|_| false).expect("trained"), Outcome::Finished);
    let steps = trainer.state().step;
    assert!(if epoch_steps == 0 { steps >= 12 } else { steps == 3 * epoch_steps }, "{steps}");
    let straight = end(&straight);
    assert_eq!(straight.results.len(), 3 * 2 * 2, "epochs, weights, protocols");

    // Stopped in the middle of an epoch and at its last step; another number of workers.
    config.data.workers = 1;
    let pieces = folder.path().join("pieces");
    let mut trainer = begin(config, pieces.clone());
    for stop in [2, steps / 3, steps / 3 + 1, steps - 2] {
        assert_eq!(trainer.run(&|state| state.step == stop).expect("trained"), Outcome::Stopped);
        assert_eq!(trainer.state().step, stop);
        drop(trainer);
        trainer = resume(&pieces);
    }
    assert_eq!(trainer.run(&|_| false).expect("trained"), Outcome::Finished);
    assert_eq!(trainer.state().step, steps);
    same(&pieces, &straight);

    // What came after a checkpoint is forgotten: resumed from the one before the last, results.csv
    // loses rows and gets the same again.
    let before = Checkpoint::open(&pieces).expect("the last").folder;
    std::fs::remove_file(before.join("model.safetensors")).expect("removed");
    // A full disk left half a line.
    let results = std::fs::read_to_string(pieces.join("results.csv")).expect("results");
    std::fs::write(pieces.join("results.csv"), results + "3,1").expect("written");
    drop(trainer);
    let mut trainer = resume(&pieces);
    assert!(end(&pieces).results.len() < straight.results.len());
    trainer.run(&|_| false).expect("trained");
    same(&pieces, &straight);
}

/// The evaluation alone is redone, as often as it fails, and wherever: on an image, on the last file it writes.
#[test]
fn an_evaluation_that_fails_loses_no_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut config = config(&root);
    (config.train.epochs, config.train.eval_every, config.train.save_every) = (2, 2, 2);
    config.train.eval_limit = 0;
    let straight = straight(folder.path(), &config);

    let image = images(&root).swap_remove(12);
    let pixels = std::fs::read(&image).expect("the first of val");
    std::fs::write(&image, b"no image").expect("written");
    let run = folder.path().join("run");
    let mut trainer = begin(config, run.clone());
    let error = trainer.run(&|_| false).expect_err("an unreadable image").to_string();
    assert!(error.contains(&image.file_name().expect("a name").to_string_lossy().into_owned()), "{error}");
    std::fs::write(&image, pixels).expect("written");
    let step = trainer.state().step;
    drop(trainer);

    let curves = run.join("results.png");
    std::fs::create_dir(&curves).expect("in the way of the curves");
    let mut trainer = resume(&run);
    assert_eq!(trainer.state().step, step);
    let error = trainer.run(&|_| false).expect_err("curves that can't be written").to_string();
    assert!(error.contains("results.png"), "{error}");
    std::fs::remove_dir(&curves).expect("removed");
    drop(trainer);

    let mut trainer = resume(&run);
    assert_eq!(trainer.run(&|_| false).expect("evaluated"), Outcome::Finished);
    assert_eq!(trainer.state().step, step);
    same(&run, &end(&straight));
}

#[test]
fn a_training_that_nothing_could_evaluate_does_not_begin() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    change_records(&root, |all| all["val"] = serde_json::json!([]));
    let config = config(&root);
    let run = RunFolder::at(folder.path().join("run"), &config).expect("a folder");
    let begun = Trainer::begin(config, run, Weights::Raw, &Device::Cpu, Log::quiet());
    let error = begun.err().expect("nothing in val").to_string();
    assert!(error.contains("split `val`") && error.contains("data.val_split"), "{error}");
}

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
    let named = text.split_once("eval --checkpoint ").expect("what to do next").1;
    let named = named.split_whitespace().next().expect("a path");
    Checkpoint::open(Path::new(named)).expect("it is there");
}

#[test]
fn one_process_trains_in_a_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let run = folder.path().join("run");
    let mut trainer = begin(config(&root), run.clone());
    trainer.run(&|state| state.step == 1).expect("trained");
    let checkpoint = Checkpoint::open(&run).expect("saved");
    let second = Trainer::resume(&checkpoint, &Device::Cpu, Log::quiet());
    let error = second.err().expect("it is busy").to_string();
    assert!(error.contains("is being trained by another process"), "{error}");
    drop(trainer);
    resume(&run);
}

/// Boxes for all, masks for some: to learn that the others have no outline would be worse than to stop.
#[test]
fn outlines_are_not_learnt_from_records_without_a_mask() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    change_records(&root, |all| drop(all["train"][0].as_object_mut().expect("a record").remove("mask")));

    let mut config = config(&root);
    let run = |config: &Config, name: &str| {
        let run = RunFolder::at(folder.path().join(name), config).expect("a folder");
        let begun = Trainer::begin(config.clone(), run, Weights::Raw, &Device::Cpu, Log::quiet());
        begun.map(drop).map_err(|error| error.to_string())
    };
    let error = run(&config, "outlines").expect_err("no mask");
    assert!(
        error.contains("1 of ") && error.contains("have no mask") && error.contains("`sample"),
        "{error}"
    );
    config.model.task = Task::Detection;
    assert_eq!(run(&config, "boxes"), Ok(()));
}

#[test]
fn fine_tuning_takes_what_fits_and_says_what_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut boxes = config(&root);
    boxes.model.task = Task::Detection;
    boxes.train.epochs = 1;
    let first = folder.path().join("boxes");
    begin(boxes, first.clone()).run(&|_| false).expect("trained");

    let mut outlines = config(&root);
    outlines.train.finetune_from = Some(first.join("checkpoints/det_best"));
    let second = folder.path().join("outlines");
    let trainer = begin(outlines.clone(), second.clone());
    assert_eq!((trainer.state().epoch, trainer.state().step), (0, 0));
    let log = std::fs::read_to_string(second.join("log.txt")).expect("the log");
    let positions = "head.transformer.seq_positional_encoding.embedding.weight";
    assert!(log.contains(&format!("dropped  {positions} (another sequence length)")), "{log}");
    assert!(log.contains(&format!("initial  {positions}")), "{log}");
    // What was taken over is hundreds of tensors, and is counted.
    assert!(log.contains(" tensors loaded, ") && !log.contains("lan_enc.embedding.weight"), "{log}");

    outlines.model.d_model = 32;
    let run = RunFolder::at(folder.path().join("wide"), &outlines).expect("a run folder");
    let refused = Trainer::begin(outlines, run, Weights::Raw, &Device::Cpu, Log::quiet()).err();
    let message = refused.expect("another architecture").to_string();
    for part in [
        "head.transformer.encoder.layers.0.linear1.weight: [16, 16] in the checkpoint, [16, 32] in this network",
        "model.d_model: 16 in the checkpoint, 32 here",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_loss_that_is_no_number_stops_and_names_the_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut config = config(&root);
    config.train.lr = 1e30;
    let mut trainer = begin(config, folder.path().join("run"));
    let error = trainer.run(&|_| false).expect_err("no finite loss");
    let TrainError::NonFinite { epoch: 1, rows, .. } = &error else { panic!("{error}") };
    assert_eq!(rows.matches('"').count(), 2 * 4, "{rows}");
    assert!(error.to_string().contains("Look at these referents"), "{error}");
}

/// The program itself, in the background.
fn program(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_partial-res"));
    command.args(["train", "--device", "cpu"]).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
}

fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < Duration::from_secs(60), "no {what} after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes the configuration, starts the program and waits for its first checkpoint.
fn start(folder: &Path, config: &Config) -> (Child, PathBuf) {
    let file = folder.join("tiny.toml");
    std::fs::write(&file, config.to_toml()).expect("written");
    let runs = folder.join("runs");
    let child = program(&[&file.display().to_string(), "--runs", &runs.display().to_string()]);
    let checkpoint = |run: &PathBuf| run.join("checkpoints/latest").exists();
    wait_for("checkpoint", || RunFolder::newest(&runs).is_some_and(|run| checkpoint(&run)));
    (child, RunFolder::newest(&runs).expect("a run"))
}

/// What a training without interruption ends in.
fn straight(folder: &Path, config: &Config) -> PathBuf {
    let run = folder.join("straight");
    begin(config.clone(), run.clone()).run(&|_| false).expect("trained");
    run
}

#[cfg(unix)]
#[test]
fn a_signal_finishes_the_step_saves_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut config = config(&root);
    config.train.epochs = 8;
    let straight = straight(folder.path(), &config);
    let (mut child, run) = start(folder.path(), &config);
    for signal in ["-TERM", "-INT"] {
        // Twice, as `timeout` does: it signals the command, then the command's group.
        for _ in 0..2 {
            let signalled = Command::new("kill").args([signal, &child.id().to_string()]).status();
            assert!(signalled.expect("kill runs").success());
        }
        let asked = Instant::now();
        assert!(child.wait().expect("ended").success());
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        let log = std::fs::read_to_string(run.join("log.txt")).expect("the log");
        let last = log.lines().last().expect("a line");
        assert!(last.starts_with("stopped and saved in epoch "), "{last}");
        let resumed = log.matches("resumed from").count();
        child = program(&["--resume", &run.display().to_string()]);
        let log = || std::fs::read_to_string(run.join("log.txt")).unwrap_or_default();
        wait_for("resume", || log().matches("resumed from").count() > resumed);
    }
    assert!(child.wait().expect("ended").success());
    same(&run, &end(&straight));
}

/// `data.max_bad` is of an epoch, however often it is broken off.
#[test]
fn unreadable_images_are_counted_across_pauses() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    for image in &images(&root)[..3] {
        std::fs::write(image, b"no image").expect("written");
    }
    let mut config = config(&root);
    config.train.epochs = 1;
    config.train.accumulate = 1;
    for (max_bad, enough) in [(3, true), (2, false)] {
        config.data.max_bad = max_bad;
        let run = folder.path().join(max_bad.to_string());
        let mut trainer = begin(config.clone(), run.clone());
        let outcome = loop {
            let step = trainer.state().step;
            match trainer.run(&|state| state.step > step) {
                Ok(Outcome::Stopped) => {
                    drop(trainer);
                    trainer = resume(&run);
                }
                other => break other,
            }
        };
        match outcome {
            Ok(outcome) => {
                assert!(enough && outcome == Outcome::Finished && trainer.state().bad_images.is_empty())
            }
            Err(error) => {
                assert!(
                    !enough && error.to_string().contains("3 images could not be read in this epoch"),
                    "{error}"
                );
            }
        }
    }
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
