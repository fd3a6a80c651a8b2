//! Labels: made bit by bit, and measured by true masks.

#[path = "common/tiny.rs"]
mod tiny;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assert_cmd::Command;
use candle_core::Device;
use partial_res::checkpoint::Checkpoint;
use partial_res::config::{Config, DataConfig, TrainConfig};
use partial_res::data::{Annotations, Dataset, INSTANCES};
use partial_res::eval::EvalError;
use partial_res::mask::Rle;
use partial_res::pseudo::{
    Asked, Candidate, Header, Labelling, Method, Prediction, Predictions, PseudoError, label,
    projection_term, sha256,
};
use partial_res::report::{Log, Weights};
use partial_res::shapes::{ShapesConfig, generate};
use serde_json::Value;

const DATASET: &str = "refshapes-unc";

fn data() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let shapes =
        ShapesConfig { images: 60, val_images: 2, test_images: 1, size: 64, ..ShapesConfig::default() };
    generate(&shapes, &root, &|_, _| ()).unwrap();
    (folder, root)
}

fn succeed(arguments: &[&str], folder: &Path) -> String {
    let done =
        Command::cargo_bin("partial-res").unwrap().args(arguments).current_dir(folder).assert().success();
    String::from_utf8(done.get_output().stdout.clone()).unwrap()
}

#[test]
fn a_labelling_that_is_asked_to_stop_goes_on_later() {
    let (folder, root) = data();
    let data = DataConfig { root, dataset: DATASET.into(), image_size: 64, ..DataConfig::default() };
    let train = TrainConfig { epochs: 1, batch_size: 16, eval_limit: 1, ..TrainConfig::default() };
    let config = Config { model: tiny::model(), data, train };
    fs::write(folder.path().join("tiny.toml"), config.to_toml()).unwrap();
    succeed(&["train", "tiny.toml", "--device", "cpu", "--runs", "runs"], folder.path());
    let run = fs::read_dir(folder.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let checkpoint = Checkpoint::open(&run).unwrap();
    let network = checkpoint.network(Weights::Raw, &Device::Cpu).unwrap();
    let dataset = Dataset::open(&config.data, INSTANCES, "train").unwrap();
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
        match label(&labelling, &parts, &Log::quiet(), &stop) {
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

/// As a network would say it: each referent's true mask moved by so many pixels.
fn predictions(all: &Annotations, path: &Path, method: Method, moved: impl Fn(usize) -> usize) {
    let referents = all.referents("train").unwrap();
    let said = referents.iter().enumerate().map(|(index, referent)| {
        let (height, width) = (referent.height, referent.width);
        let truth = referent.rle().unwrap();
        // Run lengths go down the columns: columns of nothing go from one end to the other.
        let mut counts = truth.counts().to_vec();
        if counts.len() % 2 == 0 {
            counts.push(0);
        }
        let (columns, last) = ((moved(index) * height) as u32, counts.len() - 1);
        let (from, to) = if counts[last] >= columns { (last, 0) } else { (0, last) };
        counts[from] -= columns;
        counts[to] += columns;
        if counts[last] == 0 {
            counts.pop();
        }
        let mask = Rle::new(height, width, counts).unwrap();
        let bbox = Rle::from_box(height, width, referent.bbox).unwrap();
        let candidate = Candidate {
            expression: referent.expressions[0].clone(),
            tokens: Vec::new(),
            polygons: Vec::new(),
            projection_term: Some(projection_term(&mask, &bbox).unwrap()),
            mask,
            score: Some(-0.1 * moved(index) as f32),
            agreement: None,
        };
        Prediction { index, image_id: referent.image_id.clone(), candidates: vec![candidate] }
    });
    let said: Vec<Prediction> = said.collect();
    let header = Header {
        format: Header::FORMAT,
        dataset: DATASET.into(),
        annotations_sha256: sha256(all.text()),
        split: "train".into(),
        referents: said.len(),
        checkpoint_sha256: String::new(),
        weights: Weights::Raw,
        method,
        expressions: Asked::First,
        batch_size: 8,
        preparation: String::new(),
    };
    let mut text = serde_json::to_string(&header).unwrap() + "\n";
    said.iter().for_each(|said| text += &(serde_json::to_string(said).unwrap() + "\n"));
    fs::write(path, text).unwrap();
    assert!(Predictions::read(path).is_ok());
}

#[test]
fn labels_are_measured_by_true_masks() {
    let (folder, root) = data();
    let folder = folder.path();
    succeed(&["sample", "--ratio", "20", "--dataset", DATASET], folder);
    let read = |name: &str| Annotations::read(&root.join("annotations").join(DATASET).join(name)).unwrap();
    let (all, sample) = (read("instances.json"), read("instances_sample_20.json"));
    predictions(&all, &folder.join("rpp.jsonl"), Method::Greedy, |index| 1 + index % 6);
    predictions(&all, &folder.join("exact.jsonl"), Method::Boxes, |index| usize::from(index % 9 == 0));
    let judge = ["judge", "--dataset", DATASET, "--ratio", "20", "--out", "judged"];
    let said = succeed(&[&judge[..], &["paper=rpp.jsonl", "exact.jsonl"]].concat(), folder);
    assert!(said.contains("projection term") && said.contains("judged.png"), "{said}");

    let judged: Value =
        serde_json::from_slice(&fs::read(folder.join("judged/judged.json")).unwrap()).unwrap();
    let count = |annotations: &Annotations| annotations.referents("train").unwrap().len();
    let unlabelled = count(&all) - count(&sample);
    let ranking = |file: usize, order: &str| {
        let rankings = judged["labels"][file]["rankings"].as_array().unwrap();
        rankings.iter().find(|ranking| ranking["ranked_by"] == order).unwrap()["best"].clone()
    };
    for order in ["projection-term", "score", "expected-iou", "true-iou"] {
        let whole = &ranking(0, order)[5];
        assert_eq!(
            (&whole["share"], &whole["worth"]["labels"]),
            (&100.into(), &unlabelled.into()),
            "{order}"
        );
        assert_eq!(ranking(1, order)[3]["worth"]["iou"], 100.0, "{order}: a third of them is exact");
        let iou = |share: usize| ranking(0, order)[share]["worth"]["iou"].as_f64().unwrap();
        assert!(iou(1) >= iou(5) && iou(5) > 0.0, "{order}");
    }
    let pair = &judged["equally_many"][0];
    assert_eq!((&pair["labels"], &pair["ranked_by"]), (&"exact".into(), &"expected-iou".into()));
    assert!(pair["least_lead"].as_f64().unwrap() > 0.0);
    for contest in pair["contests"].as_array().unwrap() {
        assert_eq!(contest["paper"]["labels"], contest["ours"]["labels"]);
        assert!(contest["same_referents"].as_f64().unwrap() > 0.0, "{contest}");
    }
    let lines = fs::read_to_string(folder.join("judged/judged.csv")).unwrap().lines().count();
    assert_eq!(lines, 1 + 2 * 4 * 6, "a line for each file, order and share");
    assert!(image::open(folder.join("judged/judged.png")).is_ok());
}
