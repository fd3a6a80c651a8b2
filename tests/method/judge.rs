//! `judge`: labels beside true masks.

use std::fs;
use std::path::Path;

use partial_res::data::Annotations;
use partial_res::mask::Rle;
use partial_res::pseudo::{
    Asked, Candidate, Header, Method, Prediction, Predictions, projection_term, sha256,
};
use partial_res::report::Weights;
use serde_json::Value;

use super::{DATASET, data, read, succeed};

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
        arithmetic: Default::default(),
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
    succeed(&["sample", "--ratio", "20", "--dataset", DATASET], &root);
    let (all, sample) = (read(&root, "instances.json"), read(&root, "instances_sample_20.json"));
    predictions(&all, &folder.join("rpp.jsonl"), Method::Greedy, |index| 1 + index % 6);
    predictions(&all, &folder.join("exact.jsonl"), Method::Boxes, |index| usize::from(index % 9 == 0));
    let judge = ["judge", "--dataset", DATASET, "--ratio", "20", "--out", "judged"];
    let said = succeed(&[&judge[..], &["paper=rpp.jsonl", "exact.jsonl"]].concat(), &root);
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
