//! What a training begins with, or why it does not.

use candle_core::Device;
use partial_res::checkpoint::Checkpoint;
use partial_res::config::{Config, Task};
use partial_res::report::{Log, Weights};
use partial_res::train::{RunFolder, Trainer};

use super::trainer::{begin, resume};
use super::{change_records, config, data};

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
