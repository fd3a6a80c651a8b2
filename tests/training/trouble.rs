//! What can't be read, computed or written while it trains.

use partial_res::train::{Outcome, TrainError};

use super::end::end;
use super::trainer::{begin, resume};
use super::{config, data, images, same, straight};

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

/// Wherever in a step it is met, the training goes on from there as if nothing had happened.
#[test]
fn an_unreadable_image_loses_no_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("data");
    data(&root);
    let mut config = config(&root);
    (config.train.epochs, config.train.save_every, config.train.eval_every) = (3, 3, 3);
    let straight = straight(folder.path(), &config);

    let run = folder.path().join("run");
    let mut trainer = begin(config, run.clone());
    trainer.run(&|state| state.step == 1).expect("trained");
    let mut met = 0;
    for image in &images(&root)[..12] {
        let pixels = std::fs::read(image).expect("one of train");
        std::fs::write(image, b"no image").expect("written");
        let before = trainer.state().step;
        match trainer.run(&|state| state.step >= before + 4) {
            Ok(_) => {}
            Err(error) => {
                met += 1;
                assert!(error.to_string().contains("could not be read in this epoch"), "{error}");
            }
        }
        std::fs::write(image, pixels).expect("written");
        let state = trainer.state().clone();
        drop(trainer);
        trainer = resume(&run);
        assert_eq!((trainer.state().step, trainer.state().batch), (state.step, state.batch));
    }
    assert!(met > 3, "{met}");
    let log = std::fs::read_to_string(run.join("log.txt")).expect("the log");
    assert!(log.contains("goes on from here when the images can be read"), "{log}");
    assert_eq!(trainer.run(&|_| false).expect("trained"), Outcome::Finished);
    same(&run, &end(&straight));
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
