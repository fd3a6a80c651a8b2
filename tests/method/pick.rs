//! `pick`: which of it become masks.

use std::fs;

use partial_res::config::Transform;
use partial_res::data::Annotations;
use partial_res::mask::Rle;
use partial_res::pseudo::{
    Asked, Candidate, Criterion, Header, Judge, Masks, Method, PickOptions, Prediction, Predictions, pick,
};
use partial_res::report::Weights;
use serde_json::Value;

use super::{DATASET, data, fail, file, read, records, succeed, train};

/// What a network might have said: the truth, or nothing, or the whole image.
fn answers(all: &Annotations) -> Vec<Prediction> {
    let answer = |(index, referent): (usize, &partial_res::data::Referent)| {
        let (height, width) = (referent.height, referent.width);
        let mask = match index % 3 {
            0 => referent.rle().unwrap(),
            1 => Rle::empty(height, width).unwrap(),
            _ => Rle::from_box(height, width, [0.0, 0.0, width as f64, height as f64]).unwrap(),
        };
        let expression = referent.expressions[0].clone();
        let candidate = Candidate {
            expression,
            tokens: vec![1],
            polygons: Vec::new(),
            mask,
            projection_term: None,
            score: None,
            agreement: None,
        };
        Prediction { index, image_id: referent.image_id.clone(), candidates: vec![candidate] }
    };
    all.referents("train").unwrap().iter().enumerate().map(answer).collect()
}

fn predictions(all: &Annotations) -> Predictions {
    let referents = answers(all);
    let header = Header {
        format: Header::FORMAT,
        dataset: DATASET.into(),
        annotations_sha256: partial_res::pseudo::sha256(all.text()),
        split: "train".into(),
        referents: referents.len(),
        checkpoint_sha256: "0".into(),
        weights: Weights::Raw,
        method: Method::Greedy,
        expressions: Asked::First,
        batch_size: 1,
        arithmetic: Default::default(),
        preparation: String::new(),
    };
    Predictions { path: "made up".into(), header, referents }
}

#[test]
fn picked_records_follow_the_labelled_ones_with_the_predicted_outline() {
    let (_folder, root) = data();
    succeed(&["sample", "--ratio", "10", "--dataset", DATASET], &root);
    let (all, labelled) = (read(&root, "instances.json"), read(&root, "instances_sample_10.json"));
    let predictions = predictions(&all);
    let mut text = serde_json::to_string(&predictions.header).unwrap() + "\n";
    for prediction in &predictions.referents {
        text += &(serde_json::to_string(prediction).unwrap() + "\n");
    }
    fs::write(file(&root, "predictions.jsonl"), &text).unwrap();
    let pictures = root.join("pictures");
    let pictures_folder = pictures.to_str().unwrap();
    let arguments =
        ["pick", "--ratio", "10", "--dataset", DATASET, "--method", "rpp", "--draw", pictures_folder];
    fs::rename(root.join("images/refshapes"), root.join("images/moved")).unwrap();
    let error = fail(&arguments, &root);
    assert!(error.contains("there is no image") && error.contains("--set data.images"), "{error}");
    assert!(!file(&root, "instances_sample_10_box_pick.json").exists(), "images are looked for first");
    let moved = ["--set", "data.images.refshapes=moved/{image_id:06}.jpg"];
    let said = succeed(&[&arguments[..], &moved].concat(), &root);
    let png = image::open(file(&root, "instances_sample_10_box_pick.png")).unwrap();
    assert!(png.width() > 300);
    assert!(
        image::open(pictures.join("kept.png")).is_ok() && image::open(pictures.join("rejected.png")).is_ok()
    );

    let picked = read(&root, "instances_sample_10_box_pick.json");
    for split in ["val", "testA", "testB"] {
        assert_eq!(records(&picked, split), records(&all, split));
    }
    let sampled = records(&labelled, "train");
    let written = records(&picked, "train");
    assert_eq!(written[..sampled.len()], sampled);
    // Of the others, the true masks, as far as their outlines fill the box.
    let whole = records(&all, "train");
    let mut kept = written[sampled.len()..].iter();
    let (mut count, mut empty) = (0, 0);
    for (i, record) in whole.iter().enumerate().filter(|(_, record)| !sampled.contains(record)) {
        let referent = &all.referents("train").unwrap()[i];
        let judgement = Judge::default()
            .judge(
                &predictions.referents[i].candidates[0].mask,
                referent.bbox,
                (referent.height, referent.width),
            )
            .unwrap();
        empty += usize::from(i % 3 == 1);
        if i % 3 == 1 || !judgement.kept {
            continue;
        }
        assert_eq!(i % 3, 0, "the whole image is no good answer");
        count += 1;
        let kept: Value = serde_json::from_str(kept.next().unwrap()).unwrap();
        let mut expected: Value = serde_json::from_str(record).unwrap();
        expected["mask"] = serde_json::to_value(&predictions.referents[i].candidates[0].mask).unwrap();
        assert_eq!(kept, expected);
    }
    assert!(count > 10 && kept.next().is_none());
    let line = |start: &str| -> Vec<String> {
        let line = said.lines().find(|line| line.starts_with(start)).unwrap();
        line[start.len()..].split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(line("kept")[0], count.to_string(), "{said}");
    assert_eq!(line("kept")[2], "100.00", "{said}");
    assert_eq!(line("rejected: nothing outlined")[0], empty.to_string(), "{said}");

    let error = fail(&[&arguments[..], &moved].concat(), &root);
    assert!(error.contains("instances_sample_10_box_pick.json exists already"), "{error}");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (_folder, root) = data();
    succeed(&["sample", "--ratio", "10", "--dataset", DATASET], &root);
    let (all, labelled) = (read(&root, "instances.json"), read(&root, "instances_sample_10.json"));
    let out = file(&root, "out.json");
    let options = PickOptions {
        criterion: Criterion::Rpp(Judge::default()),
        masks: Masks::Predicted,
        weights: false,
        force: true,
    };
    let message = |all: &Annotations, labelled: &Annotations, predictions: &Predictions| {
        pick(all, labelled, predictions, &out, &options).unwrap_err().to_string()
    };

    let mut other = predictions(&all);
    other.header.annotations_sha256 = "abc".into();
    let error = message(&all, &labelled, &other);
    let hash = partial_res::pseudo::sha256(all.text());
    assert!(
        error.contains("(SHA-256 abc)") && error.contains(&hash) && error.contains("Run `label`"),
        "{error}"
    );

    let mut other = predictions(&all);
    let index = (0..).find(|i| !records(&labelled, "train").contains(&records(&all, "train")[*i])).unwrap();
    other.referents[index].candidates[0].mask = Rle::empty(5, 5).unwrap();
    let error = message(&all, &labelled, &other);
    assert!(error.contains(&format!("made up, referent {index}: ")) && error.contains("5 x 5"), "{error}");

    // Of a split that wasn't sampled: the file would have the true masks of the one that was.
    let mut other = predictions(&all);
    other.header.split = "val".into();
    other.referents.clear();
    let error = message(&all, &labelled, &other);
    assert!(error.contains("every record of split val") && error.contains("--predictions"), "{error}");
    assert!(!out.exists());
    assert_eq!(pick(&all, &all, &other, &out, &options).unwrap().kept, 0, "a sample of 100 %");

    // A record that is not in the whole file; spelling alone makes none.
    let text = fs::read_to_string(labelled.path()).unwrap();
    let respelt = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
    fs::write(labelled.path(), respelt).unwrap();
    let respelt = read(&root, "instances_sample_10.json");
    let (one, two) = (
        pick(&all, &labelled, &predictions(&all), &out, &options).unwrap(),
        pick(&all, &respelt, &predictions(&all), &out, &options).unwrap(),
    );
    assert_eq!(one.verdicts, two.verdicts);
    assert_eq!(records(&Annotations::read(&out).unwrap(), "val"), records(&respelt, "val"));
    // As the reference writes them: the outlines, through the outermost pixels.
    let outlines = PickOptions { masks: Masks::Outlines, ..options };
    let three = pick(&all, &respelt, &predictions(&all), &out, &outlines).unwrap();
    assert!(three.true_iou_of_kept.unwrap() < one.true_iou_of_kept.unwrap());
    let last = records(&Annotations::read(&out).unwrap(), "train").pop().unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    let kept = three.verdicts.iter().rfind(|verdict| verdict.judgement.kept).unwrap();
    assert_eq!(last["mask"], serde_json::to_value(&kept.judgement.polygons).unwrap());
    let record = records(&labelled, "train").remove(0);
    let changed =
        text.replacen(&record, &record.replacen("\"expressions\":[\"", "\"expressions\":[\"no ", 1), 1);
    fs::write(labelled.path(), changed).unwrap();
    let error = message(&all, &read(&root, "instances_sample_10.json"), &predictions(&all));
    assert!(error.contains("1 of ") && error.contains("Draw it again with `sample`"), "{error}");
}

#[test]
fn known_boxes_make_the_labels_and_the_sample_says_what_they_are_worth() {
    let (_folder, root) = data();
    let run = train(&root, Transform::Jitter);
    let run = run.to_str().unwrap();
    succeed(&["label", "--checkpoint", run, "--expressions", "all", "--device", "cpu"], &root);
    let all = read(&root, "instances.json");
    let path = file(&root, "predictions.jsonl");
    let predictions = Predictions::read(&path).unwrap();
    assert_eq!(predictions.header.method, Method::Boxes);
    for (prediction, referent) in predictions.referents.iter().zip(all.referents("train").unwrap()) {
        let candidates = &prediction.candidates;
        for candidate in candidates {
            // Fitted: the true box, but for an outline without extent or one that crosses itself there.
            let [x, y, w, h] = candidate.mask.bounding_box().map(f64::from);
            let [bx, by, bw, bh] = referent.bbox;
            assert!(
                candidate.mask.area() == 0 || (x >= bx && y >= by && x + w <= bx + bw && y + h <= by + bh)
            );
            let agreement = candidate.agreement.map(f64::from);
            let others = candidates.iter().filter(|other| !std::ptr::eq(*other, candidate));
            let ious: Vec<f64> =
                others.map(|other| candidate.mask.iou(&other.mask, false).unwrap()).collect();
            let mean = (!ious.is_empty()).then(|| ious.iter().sum::<f64>() / ious.len() as f64);
            assert_eq!(agreement.is_some(), mean.is_some());
            assert!((agreement.unwrap_or(0.0) - mean.unwrap_or(0.0)).abs() < 1e-6);
        }
    }
    succeed(&["sample", "--ratio", "30", "--dataset", DATASET], &root);
    let pick = |more: &[&str]| {
        let arguments = ["pick", "--ratio", "30", "--dataset", DATASET, "--force"];
        succeed(&[&arguments, more].concat(), &root);
        let provenance = fs::read(file(&root, "instances_sample_30_box_pick.provenance.json")).unwrap();
        serde_json::from_slice::<Value>(&provenance).unwrap()
    };
    let kept = ["0", "0.3", "0.6"].map(|quality| pick(&["--quality", quality])["kept"].as_u64().unwrap());
    assert!(kept[0] >= kept[1] && kept[1] >= kept[2] && kept[0] > 0);
    let provenance = pick(&["--quality", "0.3"]);
    let sample = read(&root, "instances_sample_30.json");
    assert_eq!(provenance["calibration"]["examples"], sample.referents("train").unwrap().len());
    // All kept, each with a weight of its own; what has a true mask has none.
    let weighted = pick(&["--quality", "0", "--weights"]);
    assert_eq!(weighted["weights"], true);
    assert!(weighted["kept"].as_u64().unwrap() >= kept[1], "{weighted}");
    let picked = read(&root, "instances_sample_30_box_pick.json");
    let (true_masks, labels) =
        picked.referents("train").unwrap().split_at(sample.referents("train").unwrap().len());
    assert!(true_masks.iter().all(|referent| referent.weight.is_none()));
    let weights: Vec<f32> = labels.iter().map(|referent| referent.weight.unwrap()).collect();
    assert!(
        weights.iter().all(|weight| (0.0..=1.0).contains(weight)) && weights.iter().any(|w| *w != weights[0])
    );
    let rpp = ["pick", "--ratio", "30", "--dataset", DATASET, "--method", "rpp", "--force"];
    let error = fail(&[&rpp[..], &["--weights"]].concat(), &root);
    assert!(error.contains("only --method quality has"), "{error}");
    let error = fail(&rpp, &root);
    assert!(error.contains("Label with --method rpp"), "{error}");
    succeed(&["sample", "--ratio", "1", "--dataset", DATASET], &root);
    let error = fail(&["pick", "--ratio", "1", "--dataset", DATASET], &root);
    assert!(error.contains("to learn what labels are worth takes 20"), "{error}");
    // Then nothing is known that could be drawn.
    succeed(&["pick", "--ratio", "1", "--dataset", DATASET, "--quality", "0"], &root);
    assert!(file(&root, "instances_sample_1_box_pick.json").exists());
    assert!(!file(&root, "instances_sample_1_box_pick.png").exists());
}

#[test]
fn where_all_are_kept_no_outline_is_lost() {
    let (_folder, root) = data();
    let all = read(&root, "instances.json");
    let mut predictions = predictions(&all);
    for (prediction, referent) in predictions.referents.iter_mut().zip(all.referents("train").unwrap()) {
        let said = prediction.candidates.remove(0);
        let nothing = Rle::empty(referent.height, referent.width).unwrap();
        let agreed = Candidate { mask: nothing, agreement: Some(0.5), ..said.clone() };
        let projection_term = (said.mask.area() > 0).then_some(0.5);
        prediction.candidates = vec![agreed, Candidate { projection_term, agreement: Some(0.1), ..said }];
    }
    let options = PickOptions {
        criterion: Criterion::Quality(0.0),
        masks: Masks::Predicted,
        weights: false,
        force: true,
    };
    for (ratio, learnt) in [("1", false), ("30", true)] {
        succeed(&["sample", "--ratio", ratio, "--dataset", DATASET], &root);
        let labelled = read(&root, &format!("instances_sample_{ratio}.json"));
        let picked = pick(&all, &labelled, &predictions, &file(&root, "out.json"), &options).unwrap();
        assert_eq!(picked.calibration.is_some(), learnt, "{ratio} %");
        let (nothing, outlined): (Vec<_>, Vec<_>) = picked.verdicts.iter().partition(|v| v.referent % 3 == 1);
        assert_eq!((picked.kept, picked.empty), (outlined.len(), nothing.len()), "{ratio} %");
        assert!(outlined.iter().all(|verdict| verdict.candidate == 1 && verdict.judgement.kept));
    }
}

#[test]
fn what_has_no_vertices_is_no_label() {
    let (_folder, root) = data();
    succeed(&["sample", "--ratio", "1", "--dataset", DATASET], &root);
    let (all, labelled) = (read(&root, "instances.json"), read(&root, "instances_sample_1.json"));
    let out = file(&root, "out.json");
    // Filled again, the outline of two by two pixels is one pixel.
    for (side, masks, kept) in [
        ([3.0, 1.0], Masks::Predicted, false),
        ([3.0, 1.0], Masks::Outlines, false),
        ([2.0, 2.0], Masks::Predicted, true),
        ([2.0, 2.0], Masks::Outlines, false),
        ([4.0, 4.0], Masks::Outlines, true),
    ] {
        let mut predictions = predictions(&all);
        for (prediction, referent) in predictions.referents.iter_mut().zip(all.referents("train").unwrap()) {
            let candidate = &mut prediction.candidates[0];
            let ([x, y, ..], [w, h]) = (referent.bbox, side);
            candidate.mask = Rle::from_box(referent.height, referent.width, [x, y, w, h]).unwrap();
            candidate.projection_term = Some(0.0);
        }
        let criterion = Criterion::Quality(0.0);
        let options = PickOptions { criterion, masks, weights: false, force: true };
        let picked = pick(&all, &labelled, &predictions, &out, &options).unwrap();
        let count = picked.verdicts.len();
        let expected = if kept { (count, 0) } else { (0, count) };
        assert_eq!((picked.kept, picked.empty), expected, "{side:?} {masks:?}");
        let written = Annotations::read(&out).unwrap();
        for label in &written.referents("train").unwrap()[picked.labelled..] {
            assert!(
                !partial_res::mask::vertices(&label.mask().unwrap(), 12).is_empty(),
                "{side:?} {masks:?}"
            );
        }
    }
}
