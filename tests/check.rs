//! What `check` finds in a tree in which everything is wrong once.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use partial_res::config::Config;
use partial_res::data::check::{Fault, check};
use partial_res::shapes::{ShapesConfig, generate};
use partial_res::text::WordVectors;
use serde_json::{Value, json};

const DATASET: &str = "refshapes-unc";

fn generated(root: &Path) {
    let shapes =
        ShapesConfig { images: 12, val_images: 4, test_images: 2, size: 64, ..ShapesConfig::default() };
    generate(&shapes, root, &|_, _| ()).unwrap();
}

#[test]
fn a_whole_tree_has_no_problem_and_every_fault_is_found_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    generated(&root);
    let program = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("partial-res").unwrap();
        command.args(arguments).current_dir(folder.path());
        command
    };
    // Hidden folders are no data; decoders skip stray bytes between the segments of a JPEG.
    fs::create_dir(root.join("annotations/.partial-abc")).unwrap();
    let image = root.join("images/refshapes/000000.jpg");
    let mut bytes = fs::read(&image).unwrap();
    let length = 2 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    bytes.splice(2 + length..2 + length, [0; 3]);
    fs::write(&image, bytes).unwrap();
    let done = program(&["check"]).assert().success();
    let said = String::from_utf8_lossy(&done.get_output().stdout).into_owned();
    assert!(said.contains("nothing is missing or broken") && said.contains("20 images decoded"), "{said}");

    for elsewhere in [["--root", "nowhere"], ["--set", "data.root=nowhere"]] {
        let done = program(&["check", elsewhere[0], elsewhere[1]]).assert().failure();
        let said = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
        assert!(said.contains("nowhere/annotations"), "{said}");
    }

    let path = root.join("annotations").join(DATASET).join("instances.json");
    let whole = fs::read(&path).unwrap();
    // A subset is not looked through again, but what is new in it is.
    let mut records: Value = serde_json::from_slice(&whole).unwrap();
    let image = |record: &Value| {
        root.join("images/refshapes").join(format!("{:06}.jpg", record["image_id"].as_u64().unwrap()))
    };
    // The first record of an image each, far from one another.
    let first = |records: &Value, nth: usize| {
        let train = records["train"].as_array().unwrap();
        let new = |i: &usize| *i == 0 || train[*i]["image_id"] != train[*i - 1]["image_id"];
        (0..train.len()).filter(new).nth(nth).unwrap()
    };
    let places: Vec<usize> = (0..9).map(|nth| first(&records, nth)).collect();
    let [width, height] = ["width", "height"].map(|side| records["train"][places[0]][side].as_f64().unwrap());
    let train = &mut records["train"];
    train[places[0]]["bbox"] = json!([1.0, 1.0, width + 5.0, height]);
    train[places[1]]["mask"] = json!([[1.0, 1.0, 30.0, 1.0]]);
    train[places[2]]["mask"] = json!({"size": [3, 3], "counts": [9]});
    train[places[3]]["expressions"].as_array_mut().unwrap().push(json!("?!"));
    train[places[4]]["expressions"] = json!([]);
    train[places[5]].as_object_mut().unwrap().remove("width");
    fs::remove_file(image(&train[places[6]])).unwrap();
    let whole_image = fs::read(image(&train[places[7]])).unwrap();
    fs::write(image(&train[places[7]]), &whole_image[..whole_image.len() / 3]).unwrap();
    image::RgbImage::new(9, 7).save(image(&train[places[8]])).unwrap();
    let copy = train[places[0] + 1].clone();
    records["val"].as_array_mut().unwrap().push(copy);
    fs::write(&path, records.to_string()).unwrap();
    fs::write(path.with_file_name("instances_sample_5.json"), "{\"train\": [").unwrap();
    fs::write(path.with_file_name("vocabulary.json"), "{\"the\": 7}").unwrap();

    let report = check(&root, Some(DATASET), &Config::default(), &|_, _| ()).unwrap();
    let found = |fault| -> Vec<(Option<&str>, Option<usize>, &str)> {
        let of_kind = report.problems.iter().filter(|finding| finding.fault == fault);
        of_kind.map(|f| (f.split.as_deref(), f.record, f.found.as_str())).collect()
    };
    let one = |fault, place: usize, words: &str| {
        let found = found(fault);
        let [(Some("train"), Some(record), text)] = found.as_slice() else { panic!("{fault}: {found:?}") };
        assert_eq!(*record, place, "{fault}: {found:?}");
        assert!(text.contains(words), "{fault}: {text}");
    };
    one(Fault::Box, places[0], &format!("{}.0, {height}.0] in an image", width + 5.0));
    one(Fault::EmptyMask, places[1], "no pixel is set");
    one(Fault::BrokenMask, places[2], "3 x 3");
    let empty = found(Fault::EmptyExpression);
    assert_eq!(empty.len(), 2, "{empty:?}");
    assert!(empty.iter().any(|(_, record, text)| *record == Some(places[3]) && text.contains("\"?!\"")));
    assert!(empty.iter().any(|(_, record, _)| *record == Some(places[4])));
    one(Fault::Record, places[5], "missing field `width`");
    one(Fault::MissingImage, places[6], ".jpg (needed by");
    one(Fault::BrokenImage, places[7], "is cut off after");
    one(Fault::ImageSize, places[8], "is 9 x 7 pixels, the record says");
    let twice = found(Fault::Twice);
    assert!(!twice.is_empty() && twice.iter().all(|(split, ..)| *split == Some("val")), "{twice:?}");
    assert!(twice[0].2.contains(&format!("as in train, record {}", places[0] + 1)), "{twice:?}");
    assert_eq!(found(Fault::Annotations).len(), 1);
    assert_eq!(found(Fault::Vocabulary).len(), 1);
    assert_eq!(found(Fault::NoPattern), []);
    assert_eq!(report.notes.len(), 2, "{:?}", report.notes);
    assert!(report.notes[0].contains("1 images are in each of train, val"), "{:?}", report.notes);
    assert!(report.notes[1].contains("no word vectors"), "{:?}", report.notes);

    let done = program(&["check", "--dataset", DATASET, "--json", "new/problems.json"]).assert().code(1);
    let said = String::from_utf8_lossy(&done.get_output().stdout).into_owned();
    assert!(said.contains("missing image") && said.contains("empty mask"), "{said}");
    let error = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
    assert!(error.contains(&format!("{} problems", report.problems.len())), "{error}");
    let json: Value =
        serde_json::from_slice(&fs::read(folder.path().join("new/problems.json")).unwrap()).unwrap();
    assert_eq!(json["problems"].as_array().unwrap().len(), report.problems.len());
    assert_eq!(json["problems"][0]["fault"], "annotations");
}

/// The mixed set has splits for validation that share expressions, by design.
#[test]
fn splits_that_only_evaluate_may_share_expressions() {
    let folder = tempfile::tempdir().unwrap();
    generated(folder.path());
    let path = folder.path().join("annotations").join(DATASET).join("instances.json");
    let mut records: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // Once before train in the file, once after it.
    let (val, train) = (records["val"][0].clone(), records["train"][0].clone());
    let mixed = json!({"a_val": [val, train], "train": records["train"].take(), "val_b": [val, train]});
    fs::write(&path, mixed.to_string()).unwrap();

    let report = check(folder.path(), Some(DATASET), &Config::default(), &|_, _| ()).unwrap();
    let twice = report.problems.iter().map(|found| (found.fault, found.split.as_deref().unwrap()));
    let expressions = train["expressions"].as_array().unwrap().len();
    let split = |split| vec![(Fault::Twice, split); expressions];
    assert_eq!(twice.collect::<Vec<_>>(), [split("train"), split("val_b")].concat());
    let shared = format!("{} times, two splits", val["expressions"].as_array().unwrap().len());
    assert!(report.notes.iter().any(|note| note.contains(&shared)), "{:?}", report.notes);
}

#[test]
fn word_vectors_must_be_those_of_the_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    generated(folder.path());
    let beside = folder.path().join("annotations").join(DATASET);
    let checked = |config: &Config| check(folder.path(), Some(DATASET), config, &|_, _| ()).unwrap();
    let found = |bytes: &[u8]| {
        fs::write(beside.join("word_vectors.safetensors"), bytes).unwrap();
        let problems = checked(&Config::default()).problems.into_iter();
        problems.map(|finding| (finding.fault, finding.found)).collect::<Vec<_>>()
    };
    let vectors = |rows| WordVectors::new(rows, 2, vec![0.5; 2 * rows]).unwrap().to_safetensors().unwrap();
    let vocabulary = fs::read(beside.join("vocabulary.json")).unwrap();
    let words = serde_json::from_slice::<Value>(&vocabulary).unwrap().as_object().unwrap().len();

    assert_eq!(found(&vectors(words)), []);
    let other = found(&vectors(words + 1));
    assert!(other.len() == 1 && other[0].0 == Fault::WordVectors, "{other:?}");
    assert!(
        other[0].1.contains(&format!("for {} words, the vocabulary has {words};", words + 1)),
        "{other:?}"
    );
    let broken = found(b"broken");
    assert!(broken.len() == 1 && broken[0].0 == Fault::WordVectors, "{broken:?}");

    // As many words, but of other data.
    let other = (3..words).map(|word| (format!("word{word}"), json!(word)));
    let special = ["PAD", "UNK", "CLS"].map(str::to_owned).into_iter().zip([json!(0), json!(1), json!(2)]);
    let other: serde_json::Map<String, Value> = special.chain(other).collect();
    fs::write(beside.join("vocabulary.json"), Value::Object(other).to_string()).unwrap();
    let strange = found(&vectors(words));
    assert!(strange.len() == 1 && strange[0].0 == Fault::Vocabulary, "{strange:?}");
    assert!(strange[0].1.contains("(100.0 %) are not in the vocabulary"), "{strange:?}");
    fs::write(beside.join("vocabulary.json"), &vocabulary).unwrap();

    // None at all are missed where the table does not learn.
    fs::remove_file(beside.join("word_vectors.safetensors")).unwrap();
    let frozen = Config::default();
    assert!(checked(&frozen).notes[0].contains("no word vectors") && checked(&frozen).problems.is_empty());
    let trainable = frozen.with(&["model.language.trainable_words=true".to_owned()]).unwrap();
    assert!(checked(&trainable).notes.is_empty());
}
