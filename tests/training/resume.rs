//! A training that is stopped and resumed ends bit for bit like one that is not.

use partial_res::checkpoint::Checkpoint;
use partial_res::train::Outcome;

use super::end::end;
use super::trainer::{begin, resume};
use super::{config, data, same};

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
