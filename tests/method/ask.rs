//! `eval` and `predict`: what was computed is not lost where something else fails.

use std::fs;

use partial_res::config::Transform;
use serde_json::Value;

use super::{data, fail, file, program, read, train};

#[test]
fn finished_splits_are_kept_and_old_files_stay_until_then() {
    let (folder, root) = data();
    let run = train(&root, Transform::Jitter);
    let (said, scores) = (folder.path().join("said.jsonl"), folder.path().join("new/scores.json"));
    fs::write(&said, "old").unwrap();
    let eval = |splits: &str| {
        let to = ["--predictions", "said.jsonl", "--json", "new/scores.json"];
        let of = ["eval", "--checkpoint", run.to_str().unwrap(), "--split", splits];
        fail(&[&of[..], &to, &["--no-marks", "--device", "cpu"]].concat(), &root)
    };
    let old = || assert!(fs::read_to_string(&said).unwrap() == "old" && !scores.exists());
    eval("val,testC");
    old();

    let all = read(&root, "instances.json");
    let id = serde_json::to_value(&all.referents("testB").unwrap()[0].image_id).unwrap();
    let image = root.join(format!("images/refshapes/{:06}.jpg", id.as_u64().unwrap()));
    fs::remove_file(&image).unwrap();
    let error = eval("testB");
    assert!(error.contains("said.jsonl stay as they were"), "{error}");
    old();
    let error = eval("testA,testB");
    assert!(
        error.contains("kept: testA") && error.contains(image.file_name().unwrap().to_str().unwrap()),
        "{error}"
    );
    let expressions = all.referents("testA").unwrap().iter().flat_map(|referent| referent.askable()).count();
    let text = fs::read_to_string(&said).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), expressions);
    assert!(lines.iter().all(|line| line["split"] == "testA"));
    let json: Value = serde_json::from_slice(&fs::read(&scores).unwrap()).unwrap();
    let results = json["results"].as_array().unwrap();
    assert!(!results.is_empty() && results.iter().all(|result| result["split"] == "testA"));

    let path = file(&root, "instances.json");
    let mut instances: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    instances["none"] = Value::Array(Vec::new());
    fs::write(&path, instances.to_string()).unwrap();
    let error = eval("val,none");
    assert!(error.contains("split none has no referent"), "{error}");
    assert_eq!(fs::read_to_string(&said).unwrap(), text, "told before val was asked");
}

#[test]
fn answers_are_printed_though_no_picture_can_be_written() {
    let (_folder, root) = data();
    let run = train(&root, Transform::Jitter);
    let image = root.join("images/refshapes/000000.jpg");
    let (run, image) = (run.to_str().unwrap(), image.to_str().unwrap());
    // A file is no folder.
    let out = format!("{image}/outline.png");
    let asked = ["--image", image, "--expression", "red star", "--expression", "blue ring"];
    let arguments = [&["predict", "--checkpoint", run, "--json", "--out", &out][..], &asked].concat();
    let done = program(&arguments, &root).assert().failure();
    let output = done.get_output();
    let (answers, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(answers.lines().count(), 2, "{answers}");
    assert!(error.contains("outline-1.png") && error.contains("another place with --out"), "{error}");
}
