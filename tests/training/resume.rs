//! A training that is stopped and resumed ends bit for bit like one that is not.

use candle_core::Device;
use partial_res::checkpoint::Checkpoint;
use partial_res::report::Log;
use partial_res::train::{Outcome, Trainer};

use super::end::end;
use super::trainer::{begin, resume};
use super::{config, data, same};

#[test]
fn stopped_and_resumed_is_the_same_as_straight() {
    for epoch_steps in [0, 5] {
        stop_and_resume(epoch_steps);
    }
}

/// Stopped in mid-epoch and resumed with larger batches, of which there are fewer.
#[test]
fn another_batch_size_leaves_the_rest_of_the_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut config = config(&root);
    (config.train.epochs, config.train.batch_size, config.train.accumulate) = (1, 2, 1);
    let run = folder.path().join("run");
    let mut trainer = begin(config, run.clone());
    let many = |trainer: &Trainer| trainer.state().epoch_batches;
    trainer.run(&|state| state.batch * 2 >= state.epoch_batches).expect("trained");
    let (half, all) = (trainer.state().step, many(&trainer));
    assert!(all >= 12 && half == all.div_ceil(2), "{half} {all}");
    drop(trainer);

    let mut checkpoint = Checkpoint::open(&run).expect("saved");
    checkpoint.config.train.batch_size = 6;
    let mut trainer = Trainer::resume(&checkpoint, &Device::Cpu, Log::quiet()).expect("resumed");
    trainer.run(&|_| false).expect("trained");
    let fewer = many(&trainer);
    assert!(fewer < half, "{fewer} {half}");
    assert_eq!(trainer.state().step - half, fewer - half * fewer / all);
    let log = std::fs::read_to_string(run.join("log.txt")).expect("the log");
    assert!(log.contains(&format!("epoch 1 has {fewer} batches now, {all} before")), "{log}");
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
