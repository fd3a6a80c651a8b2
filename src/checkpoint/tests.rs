use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::*;
use crate::config::Config;
use crate::report::{Protocol, ResultRow, Scores, Weights};
use crate::text::Vocabulary;

fn save(store: &Store, step: usize, best: &[Pointer], keep: usize) {
    let state = TrainState { step, best_segm: Some(1.0 / 3.0), ..TrainState::default() };
    save_state(store, &state, best, keep);
}

fn save_state(store: &Store, state: &TrainState, best: &[Pointer], keep: usize) {
    let step = state.step;
    let tensors = |value: f32| {
        let tensor = Tensor::full(value, (2, 3), &Device::Cpu).expect("a tensor");
        let count = Tensor::new(step as i64, &Device::Cpu).expect("a tensor");
        HashMap::from([("head.weight".to_owned(), tensor), ("bn.num_batches_tracked".to_owned(), count)])
    };
    let snapshot = Snapshot {
        config: &Config::default(),
        vocabulary: &Vocabulary::build(["a red star"]),
        state,
        model: tensors(step as f32),
        ema: Some(tensors(0.5 + step as f32)),
        optimizer: Some(tensors(-1.0)),
    };
    store.save(&snapshot, best, keep).expect("saved");
}

fn store_in(folder: &Path) -> Store {
    Store::open(&folder.join("run/checkpoints")).expect("a store")
}

fn step_of(path: &Path) -> usize {
    Checkpoint::open(path).expect("a checkpoint").state.step
}

fn message(path: &Path) -> String {
    Checkpoint::open(path).expect_err("an error").to_string()
}

/// Changes one byte in the middle.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).expect("the file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).expect("written");
}

#[test]
fn what_was_saved_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path());
    save(&store, 7, &[Pointer::SegmBest], 2);
    let checkpoint = Checkpoint::open(&folder.path().join("run")).expect("a checkpoint");
    assert_eq!(checkpoint.config, Config::default());
    assert_eq!(checkpoint.vocabulary.len(), 6);
    assert_eq!(checkpoint.state.best_segm, Some(1.0 / 3.0));
    assert!(checkpoint.warnings.is_empty());
    let value = |weights: &HashMap<String, Tensor>| {
        weights["head.weight"].flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("values")[5]
    };
    assert_eq!(value(&checkpoint.weights(Weights::Raw).expect("raw")), 7.0);
    let ema = checkpoint.weights(Weights::Ema).expect("ema");
    assert_eq!(value(&ema), 7.5);
    assert_eq!(ema["bn.num_batches_tracked"].to_scalar::<i64>().expect("a count"), 7);
    assert_eq!(checkpoint.optimizer().expect("optimizer").len(), 2);
    assert_eq!(checkpoint.hash(Weights::Raw).map(str::len), Some(64));
}

#[test]
fn every_name_of_a_checkpoint_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path());
    save(&store, 1, &[Pointer::DetBest], 2);
    save(&store, 2, &[], 2);
    for (path, step) in [("", 2), ("checkpoints", 2), ("checkpoints/latest", 2), ("checkpoints/det_best", 1)]
    {
        assert_eq!(step_of(&folder.path().join("run").join(path)), step, "{path}");
    }
    assert_eq!(step_of(&store.folder().join("step-1")), 1);
    assert!(message(&store.folder().join("segm_best")).starts_with("no checkpoint at "));
    assert!(message(folder.path()).contains("holds no checkpoint"));
    let run = folder.path().join("step-9");
    save(&Store::open(&run.join("checkpoints")).expect("a store"), 3, &[], 2);
    assert_eq!(step_of(&run), 3);
    fs::write(folder.path().join("weights.pth"), vec![7; 5000]).expect("written");
    let said = message(&folder.path().join("weights.pth"));
    assert!(said.contains("is no checkpoint but a file of 5000 bytes; a PyTorch file becomes"), "{said}");
    fs::write(store.folder().join("segm_best"), "../elsewhere").expect("written");
    let said = message(&store.folder().join("segm_best"));
    assert!(said.contains("segm_best says `../elsewhere`, but a pointer has the name"), "{said}");
}

#[test]
fn the_newest_and_the_best_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path());
    for step in 1..=5 {
        save(&store, step, if step == 2 { &[Pointer::SegmBest] } else { &[] }, 2);
    }
    let mut names: Vec<String> = fs::read_dir(store.folder())
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["latest", "segm_best", "step-2", "step-4", "step-5"]);
    let best = Checkpoint::open(&store.folder().join("segm_best")).expect("whole without optimizer");
    assert!(best.weights(Weights::Ema).is_ok());
    let error = best.optimizer().expect_err("removed to save space").to_string();
    assert!(error.contains("--finetune-from"), "{error}");
}

#[test]
fn a_mark_does_not_name_a_step_that_was_saved_anew_and_is_not_the_best() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path());
    let marked = |name| step_of(&store.folder().join(name));
    let mut state = TrainState::default();
    let mut evaluate = |step: usize, miou: f64| {
        let scores = Scores { miou: Some(miou), ..Scores::default() };
        state.scores.retain(|row| row.step < step);
        state.scores.push(ResultRow::new((step, step), "val", Weights::Ema, Protocol::Standard, &scores));
        state.best_segm = state.scores.iter().map(|row| row.miou.expect("a score")).reduce(f64::max);
        state.step = step;
        state.clone()
    };
    save_state(&store, &evaluate(1, 30.0), &[Pointer::SegmBest], 2);
    save_state(&store, &evaluate(2, 40.0), &[Pointer::SegmBest], 2);
    // The same again, as after a stop in an evaluation.
    save_state(&store, &evaluate(2, 40.0), &[], 2);
    assert_eq!(marked("segm_best"), 2);
    // Resumed from the first, with other settings.
    save_state(&store, &evaluate(2, 20.0), &[], 2);
    assert_eq!(marked("segm_best"), 1);

    // Where the best of what is left is gone, no pointer is right.
    save_state(&store, &evaluate(3, 50.0), &[Pointer::SegmBest], 1);
    save_state(&store, &evaluate(3, 10.0), &[], 1);
    assert!(message(&store.folder().join("segm_best")).starts_with("no checkpoint at "));
}

/// Box accuracy is a count of a few: raw weights reach the same by chance.
#[test]
fn the_best_is_of_the_averaged_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path());
    let row = |step, weights, accuracy| {
        let scores = Scores { box_acc: Some(accuracy), ..Scores::default() };
        ResultRow::new((step, step), "val", weights, Protocol::Standard, &scores)
    };
    let mut state = TrainState::default();
    for (step, raw, averaged, best) in [(1, 60.0, 50.0, true), (2, 40.0, 60.0, true), (3, 60.0, 55.0, false)]
    {
        state.scores.extend([row(step, Weights::Raw, raw), row(step, Weights::Ema, averaged)]);
        state.step = step;
        state.best_det = if best { Some(averaged) } else { state.best_det };
        save_state(&store, &state, if best { &[Pointer::DetBest] } else { &[] }, 1);
    }
    store.forget_lost(&mut state);
    assert_eq!(state.best_det, Some(60.0));
    // Nothing else is judged where there is no average.
    state.scores.retain(|row| row.weights == Weights::Raw);
    assert_eq!(state.best_step(Pointer::DetBest), Some(1));
}

#[test]
fn nothing_is_removed_while_a_pointer_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path());
    save(&store, 1, &[Pointer::SegmBest], 1);
    let pointer = store.folder().join("segm_best");
    fs::remove_file(&pointer).expect("removed");
    fs::create_dir(&pointer).expect("what no file can be read from");
    for result in [store.correct(Pointer::SegmBest, &TrainState::default()), store.prune(9, 1)] {
        let said = result.expect_err("unreadable").to_string();
        assert!(said.contains("cannot read") && said.contains("segm_best"), "{said}");
    }
    assert!(store.folder().join("step-1").is_dir());
}

#[test]
fn an_epoch_that_is_divided_anew_goes_on_at_the_same_share() {
    let mut state = TrainState { batch: 82, ..TrainState::default() };
    // As older programs wrote it.
    assert_eq!((state.divide_epoch(120, 1), state.batch), (None, 82));
    assert_eq!((state.divide_epoch(120, 4), state.batch), (None, 82));
    assert_eq!((state.divide_epoch(30, 4), state.batch), (Some(120), 20));
    state.batch = 30;
    assert_eq!((state.divide_epoch(7, 4), state.batch), (Some(30), 7), "only its evaluation is left");
    state.batch = 0;
    assert_eq!((state.divide_epoch(9, 1), state.batch), (None, 0));
}

#[test]
fn a_damaged_newest_one_is_told_and_the_one_before_is_used() {
    for file in ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json", "config.toml"] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store_in(folder.path());
        (1..=3).for_each(|step| save(&store, step, &[], 3));
        damage(&store.folder().join("step-3").join(file));
        let checkpoint = Checkpoint::open(store.folder()).expect("the one before");
        assert_eq!(checkpoint.state.step, 2, "{file}");
        let [warning] = &checkpoint.warnings[..] else { panic!("{:?}", checkpoint.warnings) };
        assert!(
            warning.contains("step-3 is damaged") && warning.ends_with("step-2 is used instead"),
            "{warning}"
        );
        // A changed manifest contradicts some other file.
        assert!(warning.contains(file) || file == "manifest.json", "{warning}");
        let error = message(&store.folder().join("step-3"));
        assert!(error.contains("whole ones beside it: step-1, step-2"), "{error}");

        // Training goes on and replaces it.
        save(&store, 3, &[], 3);
        assert_eq!(step_of(store.folder()), 3);
    }
}

#[test]
fn lost_and_shortened_files_are_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path());
    save(&store, 1, &[], 3);
    let model = store.folder().join("step-1/model.safetensors");
    let bytes = fs::read(&model).expect("the file");
    fs::write(&model, &bytes[..bytes.len() - 4]).expect("shortened");
    assert!(message(store.folder()).contains(&format!("{} were written", bytes.len())));
    fs::remove_file(&model).expect("removed");
    assert!(message(store.folder()).contains("model.safetensors is missing"));
    assert!(message(store.folder()).contains("start the training anew"));
}

#[test]
fn a_kill_leaves_nothing_that_matters() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store_in(folder.path());
    save(&store, 1, &[], 2);
    save(&store, 2, &[], 2);
    // Killed while writing, before `latest` was replaced, and while `latest` was empty.
    let half = store.folder().join(".partial-abc");
    fs::create_dir(&half).expect("made");
    fs::write(half.join("model.safetensors"), "half").expect("written");
    fs::write(store.folder().join("latest"), "step-1\n").expect("written");
    assert_eq!(step_of(store.folder()), 1);
    fs::write(store.folder().join("latest"), "").expect("written");
    assert_eq!(step_of(store.folder()), 2);
    fs::remove_file(store.folder().join("latest")).expect("removed");
    assert_eq!(step_of(&store.folder().join("latest")), 2);
    store_in(folder.path());
    assert!(!half.exists());

    // Killed between the two steps in which a checkpoint is replaced where the file system has no better.
    let aside = store.folder().join(".partial-def");
    fs::create_dir(&aside).expect("made");
    fs::rename(store.folder().join("step-2"), aside.join("step-2")).expect("moved");
    store_in(folder.path());
    assert!(!aside.exists());
    assert_eq!(step_of(&store.folder().join("step-2")), 2);
}

/// A checkpoint that contradicts itself, but not its checksums.
fn stranger(folder: &Path, config: &Config, state: &TrainState) {
    let tensor = Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).expect("a tensor");
    let snapshot = Snapshot {
        config,
        vocabulary: &Vocabulary::build(["a red star"]),
        state,
        model: HashMap::from([("head.weight".to_owned(), tensor)]),
        ema: None,
        optimizer: None,
    };
    snapshot.write(folder).expect("written");
}

#[test]
fn a_folder_from_a_stranger_takes_no_more_than_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("step-1");

    let mut config = Config::default();
    (config.model.d_model, config.model.feed_forward) = (1 << 16, 1 << 16);
    stranger(&place, &config, &TrainState::default());
    let checkpoint = Checkpoint::open(&place).expect("a checkpoint");
    let error = checkpoint.network(Weights::Raw, &Device::Cpu).expect_err("terabytes").to_string();
    assert!(error.contains("model.safetensors has ") && error.contains("don't belong together"), "{error}");

    config.model.d_model = 1 << 40;
    let written = config.to_toml();
    let error = Config::from_toml(&written, "config.toml").expect_err("a width").to_string();
    assert!(error.contains("`model.d_model` = 1099511627776: must be at most 65536"), "{error}");

    stranger(&place, &Config::default(), &TrainState { epoch: usize::MAX, ..TrainState::default() });
    assert!(message(&place).contains("state.json: epoch is 18446744073709551615"));

    // Names of files elsewhere are not read, let alone without end.
    stranger(&place, &Config::default(), &TrainState::default());
    let manifest = fs::read_to_string(place.join("manifest.json")).expect("the manifest");
    for name in ["../step-1/state.json", "/dev/zero", "a/b", ".."] {
        fs::write(place.join("manifest.json"), manifest.replace("state.json", name)).expect("written");
        let error = message(&place);
        assert!(error.contains(&format!("lists {name:?}, which is no name of a file beside it")), "{error}");
    }
}
