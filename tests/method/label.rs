//! `label`: what a network says about every referent.

use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use partial_res::checkpoint::Checkpoint;
use partial_res::config::{DataConfig, Transform};
use partial_res::data::{Dataset, INSTANCES};
use partial_res::eval::EvalError;
use partial_res::pseudo::{Asked, Judge, Labelling, Method, Predictions, PseudoError, label};
use partial_res::report::{Log, Weights};

use super::{DATASET, data, fail, file, read, succeed, train};

#[test]
fn labelling_goes_on_where_it_was_killed_and_ends_with_the_same_bytes() {
    let (_folder, root) = data();
    let run = train(&root, Transform::Jitter);
    let run = run.to_str().unwrap();
    let label = ["label", "--checkpoint", run, "--method", "rpp", "--batch-size", "8", "--device", "cpu"];
    succeed(&label, &root);
    let path = file(&root, "predictions.jsonl");
    let whole = fs::read(&path).unwrap();
    let predictions = Predictions::read(&path).unwrap();
    let all = read(&root, "instances.json");
    let referents = all.referents("train").unwrap();
    assert_eq!(predictions.referents.len(), referents.len());
    assert_eq!(predictions.header.annotations_sha256, partial_res::pseudo::sha256(all.text()));
    for (prediction, referent) in predictions.referents.iter().zip(referents) {
        assert_eq!(prediction.image_id, referent.image_id);
        let [candidate] = prediction.candidates.as_slice() else { panic!("one expression is asked") };
        assert_eq!(candidate.expression, referent.expressions[0]);
        assert_eq!((candidate.mask.height(), candidate.mask.width()), (referent.height, referent.width));
        assert!(candidate.score.unwrap() < 0.0 && !candidate.tokens.is_empty());
        let judgement = Judge::default()
            .judge(&candidate.mask, referent.bbox, (referent.height, referent.width))
            .unwrap();
        assert_eq!(candidate.projection_term, judgement.projection_term);
    }

    // Killed in the header, right after it, in a line, between lines, in the last one, never.
    for cut in [1, 40, 600, whole.len() / 3, whole.len() * 2 / 3, whole.len() - 1, whole.len()] {
        fs::write(&path, &whole[..cut]).unwrap();
        if cut < whole.len() {
            assert!(Predictions::read(&path).is_err(), "{cut}");
        }
        succeed(&label, &root);
        assert!(fs::read(&path).unwrap() == whole, "cut at {cut}, the bytes differ");
    }

    let error = fail(
        &["label", "--checkpoint", run, "--method", "rpp", "--batch-size", "8", "--weights", "ema"],
        &root,
    );
    assert!(error.contains("another labelling: its checkpoint's SHA-256 is"), "{error}");
    let error = fail(
        &["label", "--checkpoint", run, "--method", "rpp", "--batch-size", "8", "--expressions", "all"],
        &root,
    );
    assert!(error.contains("its expressions is first, this one's all"), "{error}");
    let error = fail(&[&label[..], &["--arithmetic", "bf16"]].concat(), &root);
    assert!(error.contains("its arithmetic is f32, this one's bf16"), "{error}");
    assert!(fs::read(&path).unwrap() == whole, "a refusal changes nothing");
    succeed(&["label", "--checkpoint", run, "--expressions", "all", "--force"], &root);
    for (prediction, referent) in Predictions::read(&path).unwrap().referents.iter().zip(referents) {
        let asked = prediction.candidates.iter().map(|candidate| candidate.expression.as_str());
        assert!(asked.eq(referent.expressions.iter().map(String::as_str)));
    }
    fs::write(&path, "something of the user's").unwrap();
    let error = fail(&label, &root);
    assert!(error.contains("is no file of predictions"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "something of the user's");

    // Interrupted and never finished.
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    succeed(&["sample", "--ratio", "10", "--dataset", DATASET], &root);
    let error = fail(&["pick", "--ratio", "10", "--dataset", DATASET], &root);
    assert!(error.contains("the labelling was interrupted"), "{error}");
}

#[test]
fn a_labelling_that_is_asked_to_stop_goes_on_later() {
    let (folder, root) = data();
    let run = train(&root, Transform::Jitter);
    let checkpoint = Checkpoint::open(&run).unwrap();
    let network = checkpoint.network(Weights::Raw, &Device::Cpu).unwrap();
    let data = DataConfig { root, ..checkpoint.config.data.clone() };
    let dataset = Dataset::open(&data, INSTANCES, "train").unwrap();
    let dataset = Arc::new(dataset.with_vocabulary(checkpoint.vocabulary.clone()));
    let labelling = Labelling {
        network: &network,
        weights: Weights::Raw,
        checkpoint: &checkpoint,
        config: &checkpoint.config,
        dataset: &dataset,
        device: &Device::Cpu,
        method: Method::Boxes,
        expressions: Asked::First,
        batch_size: 8,
        force: false,
    };
    let [whole, parts] = ["whole.jsonl", "parts.jsonl"].map(|name| folder.path().join(name));
    label(&labelling, &whole, &Log::quiet(), &|| false).unwrap();
    let whole = fs::read(whole).unwrap();
    // After one batch, after two more, four more … until it is not asked so often any more.
    let mut stops = 0;
    for batches in (0..10).map(|doublings| 1 << doublings) {
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() == batches
        };
        let labelled = loop {
            match label(&labelling, &parts, &Log::quiet(), &stop) {
                // A program that another test is just starting still has this one's lock.
                Err(PseudoError::Busy { .. }) => std::thread::sleep(Duration::from_millis(5)),
                other => break other,
            }
        };
        match labelled {
            Err(PseudoError::Eval(EvalError::Stopped)) => {
                assert_eq!(asked.get(), batches);
                assert!(whole.starts_with(&fs::read(&parts).unwrap()));
                stops += 1;
            }
            labelled => {
                assert_eq!(labelled.unwrap().referents, dataset.len());
                break;
            }
        }
    }
    assert!(stops >= 3 && fs::read(&parts).unwrap() == whole, "{stops}");
}

#[test]
fn close_ups_are_learnt_and_labelled() {
    let (_folder, root) = data();
    let run = train(&root, Transform::CloseUp);
    let last_words = fs::read_to_string(run.join("log.txt")).unwrap();
    let next = last_words.split_once("next: ").unwrap().1;
    assert!(next.contains("label --checkpoint") && next.contains("--second-look"), "{next}");
    assert!(!next.contains("predict"), "{next}");
    let run = run.to_str().unwrap();
    succeed(&["label", "--checkpoint", run, "--device", "cpu"], &root);
    let predictions = Predictions::read(&file(&root, "predictions.jsonl")).unwrap();
    let all = read(&root, "instances.json");
    for (prediction, referent) in predictions.referents.iter().zip(all.referents("train").unwrap()) {
        for candidate in &prediction.candidates {
            // Whatever such a network says, it says it within the box and its margin of 2 %, and a bin.
            let [x, y, w, h] = referent.bbox;
            let (across, down) = (0.06 * w + 1.0, 0.06 * h + 1.0);
            for &[px, py] in candidate.polygons.iter().flat_map(|polygon| polygon.as_chunks::<2>().0) {
                assert!(px >= x - across && px <= x + w + across, "{px} of {x} + {w}");
                assert!(py >= y - down && py <= y + h + down, "{py} of {y} + {h}");
            }
        }
    }
    let image = root.join("images/refshapes/000000.jpg");
    let arguments =
        ["predict", "--checkpoint", run, "--image", image.to_str().unwrap(), "--expression", "red star"];
    let error = fail(&arguments, &root);
    assert!(error.contains("looks at close-ups of referents whose boxes are known"), "{error}");
}
