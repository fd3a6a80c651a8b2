//! The dataset, its plans and its loader on a small tree of made-up images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use image::{Rgb, RgbImage};
use partial_res::config::{Config, DataConfig, Task, Transform};
use partial_res::data::{
    Annotations, Batch, DataError, Dataset, Entry, ExpressionChoice, Loader, Plan, Preparation, Visit,
};
use tempfile::TempDir;

/// 7 images of different sizes with 2 squares each, one record a square; `val` has the first
/// image's.
fn tree() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let (annotations, images) = (root.path().join("annotations/toy"), root.path().join("images/toy"));
    fs::create_dir_all(&annotations).unwrap();
    fs::create_dir_all(&images).unwrap();
    let mut records = Vec::new();
    for id in 0..7u32 {
        let (width, height) = if id % 3 == 0 { (30, 40) } else { (48 + id, 36) };
        let mut image = RgbImage::from_pixel(width, height, Rgb([20 * id as u8, 7, 9]));
        for (x, name) in [(2, "left"), (16, "right")] {
            (0..100).for_each(|i| image.put_pixel(x + i % 10, 5 + i / 10, Rgb([255, x as u8, 0])));
            let x2 = x + 10;
            records.push(format!(
                r#"{{"image_id": {id}, "bbox": [{x}, 5, 10, 10], "mask": [[{x}, 5, {x2}, 5, {x2}, 15, {x}, 15]],
                "expressions": ["{name} square", "?", "the {name} one"], "width": {width}, "height": {height},
                "note": {{"b": 1, "a": [null]}}}}"#
            ));
        }
        image.save(images.join(format!("{id}.png"))).unwrap();
    }
    let file = format!("{{\"train\": [{}], \"val\": [{}]}}", records.join(", "), records[..2].join(", "));
    fs::write(annotations.join("instances.json"), file).unwrap();
    root
}

fn config(root: &Path) -> Config {
    let data = DataConfig {
        root: root.to_owned(),
        dataset: "toy".to_owned(),
        images: BTreeMap::from([("toy".to_owned(), "toy/{image_id}.png".to_owned())]),
        image_size: 64,
        max_words: 4,
        ..DataConfig::default()
    };
    Config { data, ..Config::default() }
}

fn open(config: &Config) -> Arc<Dataset> {
    Arc::new(Dataset::open(&config.data, "instances.json", "train").unwrap())
}

fn visit(epoch: u64, referents_per_image: usize) -> Visit {
    Visit { seed: 6666, epoch, batch_size: 4, referents_per_image, batches: 0 }
}

fn message<T>(result: Result<T, DataError>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

/// Everything of a batch that a network or a judge sees.
fn content(batch: Batch) -> (Vec<u8>, Vec<u32>, String) {
    (batch.images, batch.words, format!("{:?} {:?} {:?}", batch.image_of, batch.pad_hw, batch.rows))
}

#[test]
fn batches_depend_on_seed_and_epoch_but_not_on_threads_or_on_where_one_starts() {
    let root = tree();
    let config = config(root.path());
    let dataset = open(&config);
    let preparation = Preparation::training(&config);
    let load = |epoch, start, workers| -> Vec<_> {
        let plan = Plan::training(&dataset, &visit(epoch, 1));
        let loader = Loader::new(Arc::clone(&dataset), plan, preparation.clone(), start, workers, None);
        loader.map(|batch| content(batch.unwrap())).collect()
    };
    let straight = load(3, 0, 1);
    assert_eq!(straight.len(), 4);
    assert!(load(3, 0, 5) == straight);
    assert!(load(3, 2, 2) == straight[2..]);
    assert!(load(4, 0, 2) != straight);
    // A loader that nobody listens to ends.
    drop(Loader::new(Arc::clone(&dataset), Plan::training(&dataset, &visit(0, 1)), preparation, 0, 3, None));
}

#[test]
fn epochs_of_so_many_batches_are_pieces_of_pass_after_pass() {
    let root = tree();
    let dataset = open(&config(root.path()));
    let batches = |epoch, batches| {
        let plan = Plan::training(&dataset, &Visit { batches, ..visit(epoch, 2) });
        assert!(plan.batches().iter().flatten().map(|entry| entry.position).eq(0..plan.rows() as u64));
        let asked = |entry: &Entry| (entry.referent, entry.expression);
        plan.batches().iter().map(|batch| batch.iter().map(asked).collect()).collect::<Vec<Vec<_>>>()
    };
    let passes: Vec<_> = (0..8).flat_map(|pass| batches(pass, 0)).collect();
    assert_eq!(passes.len(), 8 * 4);
    for length in [1, 3, 4, 7, 10] {
        let pieces: Vec<_> = (0..3).flat_map(|epoch| batches(epoch, length)).collect();
        assert!(pieces == passes[..3 * length], "{length}");
    }
    let transforms = |epoch| {
        let plan = Plan::training(&dataset, &Visit { batches: 9, ..visit(epoch, 1) });
        let draw = |entry: &Entry| plan.stream(entry).next_u64();
        plan.batches().iter().flatten().map(draw).collect::<BTreeSet<_>>()
    };
    assert_eq!(transforms(0).len(), 36, "a referent's next visit in the epoch is seen otherwise");
    assert!(transforms(0).is_disjoint(&transforms(1)));
}

#[test]
fn wide_and_high_images_are_not_mixed_and_every_referent_is_seen() {
    let root = tree();
    let dataset = open(&config(root.path()));
    for referents_per_image in [1, 2] {
        let plan = Plan::training(&dataset, &visit(0, referents_per_image));
        assert_eq!(plan.rows(), 16, "8 of 4 wide images, 6 of 3 high ones filled up to 8");
        let wide = |i: usize| dataset.referent(i).width > dataset.referent(i).height;
        assert!(
            plan.batches()
                .iter()
                .all(|batch| batch.iter().all(|e| wide(e.referent) == wide(batch[0].referent)))
        );
        let seen: BTreeSet<usize> = plan.batches().iter().flatten().map(|entry| entry.referent).collect();
        assert_eq!(seen, (0..14).collect());
        // "?" says nothing and is never asked.
        assert!(plan.batches().iter().flatten().all(|entry| entry.expression != 1));
    }
}

#[test]
fn referents_of_an_image_share_it() {
    let root = tree();
    let config = config(root.path());
    let dataset = open(&config);
    let plan = Plan::training(&dataset, &visit(1, 2));
    let loader = Loader::new(dataset, plan, Preparation::training(&config), 0, 2, None);
    let batches: Vec<Batch> = loader.map(Result::unwrap).collect();
    let images: usize = batches.iter().map(|batch| batch.image_hw.len()).sum();
    assert!((7..=10).contains(&images), "7 images and 2 repeats for 16 rows, found {images}");
    for batch in batches {
        let inputs = batch.inputs(&Device::Cpu).unwrap();
        assert_eq!(inputs.images.dims(), [batch.image_hw.len(), 3, batch.height, batch.width]);
        assert_eq!(inputs.words.dims(), [4, 4]);
        assert_eq!((batch.height % 32, batch.width % 32), (0, 0));
        for row in &batch.rows {
            // The mask, its outline and its box are in one frame.
            let xs = row.vertices.iter().map(|v| f64::from(v[0]));
            assert!(xs.clone().fold(f64::MAX, f64::min) >= row.bbox[0] - 2.0, "{row:?}");
            assert!(xs.fold(0.0, f64::max) <= row.bbox[2] + 2.0, "{row:?}");
        }
    }
}

#[test]
fn evaluation_goes_image_by_image_and_can_swap_expressions() {
    let root = tree();
    let config = config(root.path());
    let dataset = open(&config);
    let preparation = Preparation { masks: true, ..Preparation::evaluation(&config) };
    let all = 0..dataset.len();
    let mut plan = Plan::evaluation(&dataset, all, ExpressionChoice::All, 8, &preparation);
    let asked: Vec<_> = plan.batches().iter().flatten().map(|e| (e.referent, e.expression)).collect();
    assert_eq!(asked.len(), 28);
    assert_eq!(asked[..4], [(0, 0), (0, 2), (1, 0), (1, 2)]);

    let loader = Loader::new(Arc::clone(&dataset), plan.clone(), preparation, 0, 2, None);
    for batch in loader.map(Result::unwrap) {
        let row = &batch.rows[0];
        let mask = row.mask.as_ref().unwrap();
        assert_eq!((mask.height, mask.width), batch.row_pad_hw()[0]);
        let area = 100.0 * row.scale.0 * row.scale.1;
        assert!((mask.area() as f64 / area - 1.0).abs() < 0.1, "{} {area}", mask.area());
        assert_eq!(batch.targets(Task::Detection).boxes.unwrap().len(), batch.rows.len());
    }

    plan.swap_expressions(&dataset, 1);
    for entry in plan.batches().iter().flatten() {
        assert_eq!(entry.asked, entry.referent ^ 1, "the other square of the image");
        assert_eq!(
            dataset.words(entry)[..2],
            dataset.vocabulary().encode(&dataset.referent(entry.asked).expressions[entry.expression], 2).ids
        );
    }
}

#[test]
fn unreadable_images_are_skipped_counted_and_named_in_training_only() {
    let root = tree();
    let config = config(root.path());
    fs::write(root.path().join("images/toy/2.png"), b"no image").unwrap();
    fs::remove_file(root.path().join("images/toy/3.png")).unwrap();
    let dataset = open(&config);
    let load = |max_bad| {
        let plan = Plan::training(&dataset, &visit(0, 1));
        Loader::new(Arc::clone(&dataset), plan, Preparation::training(&config), 0, 2, max_bad)
    };
    let mut loader = load(Some(2));
    let rows: usize = loader.by_ref().map(|batch| batch.unwrap().rows.len()).sum();
    assert!((8..=12).contains(&rows), "16 rows without those of 2 images, found {rows}");
    let bad: Vec<String> =
        loader.bad().iter().map(|path| path.file_name().unwrap().display().to_string()).collect();
    assert_eq!(bad, ["2.png", "3.png"]);

    let error = load(Some(1)).find_map(Result::err).unwrap().to_string();
    assert!(error.contains("2 images could not be read in this epoch, data.max_bad allows 1"), "{error}");
    let error = load(None).find_map(Result::err).unwrap().to_string();
    assert!(error.contains(".png (referent ") && error.contains("Replace the file"), "{error}");

    let error = message(dataset.image(4));
    assert!(error.contains("2.png (referent 4 of train): is neither a JPEG nor a PNG file."), "{error}");
    RgbImage::new(5, 5).save(root.path().join("images/toy/3.png")).unwrap();
    let error = message(dataset.image(7));
    assert!(
        error.contains("3.png (referent 7 of train): is 5 x 5 pixels, its record says 30 x 40"),
        "{error}"
    );
}

#[test]
fn records_are_kept_as_they_stand() {
    let root = tree();
    let dataset = open(&config(root.path()));
    let records: Vec<&str> = dataset.annotations().records("train").unwrap().collect();
    assert_eq!(records.len(), 14);
    assert!(
        records[3].starts_with("{\"image_id\": 1,")
            && records[3].contains(r#""note": {"b": 1, "a": [null]}"#)
    );
    assert_eq!(dataset.split("val").unwrap().len(), 2);
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    let root = tree();
    let good = config(root.path());
    let open = |dataset: &str, file: &str, split: &str| {
        message(Dataset::open(&DataConfig { dataset: dataset.to_owned(), ..good.data.clone() }, file, split))
    };
    let error = open("toys", "instances.json", "val");
    assert!(
        error.contains("no data set `toys`")
            && error.contains("data sets there: toy. ")
            && error.contains("data.root"),
        "{error}"
    );
    let error = open("toy", "instance.json", "val");
    assert!(
        error.contains("instance.json; files there: instances.json. Name another one (in training by data.train_annotations: "),
        "{error}"
    );
    let error = open("toy", "instances.json", "testA");
    assert!(error.contains("instances.json has no split `testA`; it has train, val"), "{error}");

    let folder = root.path().join("annotations/toy");
    let record = |field: &str, json: &str| {
        let fields = [
            ("image_id", "1"),
            ("bbox", "[1, 1, 5, 5]"),
            ("mask", "[[1, 1, 5, 1, 5, 5]]"),
            ("expressions", "[\"one\"]"),
            ("width", "9"),
            ("height", "9"),
        ];
        let fields =
            fields.map(|(name, value)| format!("\"{name}\": {}", if name == field { json } else { value }));
        format!("{{{}}}", fields.join(", "))
    };
    for (field, json, expected) in [
        ("bbox", "[1, 1, 5]", "field bbox: invalid length 3"),
        ("bbox", "[1, 1, -5, 5]", "field bbox: [1.0, 1.0, -5.0, 5.0]; expected [x, y, width, height]"),
        ("expressions", "[\"?\", \" \"]", "field expressions: [\"?\", \" \"]; expected one with a word"),
        ("expressions", "[3]", "field expressions[0]: invalid type: integer `3`"),
        ("mask", "[[1, 2, 3]]", "field mask: polygon 0 has 3 numbers"),
        ("mask", r#"{"size": [8, 9], "counts": [72]}"#, "field mask: the mask is 8 x 9, expected 9 x 9"),
        ("width", "0", "field width, height: 0 x 9"),
    ] {
        let text = format!("{{\"val\": [{}, {}]}}", record("", ""), record(field, json));
        fs::write(folder.join("bad.json"), text).unwrap();
        let error = open("toy", "bad.json", "val");
        assert!(error.contains("bad.json, split val, record 1, ") && error.contains(expected), "{error}");
    }
    fs::write(folder.join("bad.json"), "[1]").unwrap();
    let error = open("toy", "bad.json", "val");
    assert!(error.contains("is no annotation file: '[' at byte 0"), "{error}");
}

#[test]
fn picked_files_have_two_names_and_vocabularies_lie_beside_them() {
    let root = tree();
    let config = config(root.path());
    let folder = root.path().join("annotations/toy");
    fs::copy(folder.join("instances.json"), folder.join("instances_sample_5_bbox_pick.json")).unwrap();
    let picked = "instances_sample_5_box_pick.json";
    let dataset = Dataset::open(&config.data, picked, "train").unwrap();
    assert_eq!(dataset.vocabulary().tokens()[3..], ["left", "square", "the", "one", "right"]);
    assert!(dataset.word_vectors().unwrap().is_none());

    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats");
    fs::copy(formats.join("token_to_ix.p5.pkl"), folder.join("token_to_ix.pkl")).unwrap();
    fs::copy(formats.join("word_emb.npz"), folder.join("word_emb.npz")).unwrap();
    let dataset = Dataset::open(&config.data, picked, "train").unwrap();
    let vectors = dataset.word_vectors().unwrap().unwrap();
    assert_eq!((vectors.rows(), vectors.dim()), (dataset.vocabulary().len(), 300));

    fs::write(folder.join("vocabulary.json"), r#"{"PAD": 0, "UNK": 1, "CLS": 2, "square": 3}"#).unwrap();
    let dataset = Dataset::open(&config.data, picked, "train").unwrap();
    assert_eq!(dataset.vocabulary().encode("left square", 3).ids, [1, 3, 0]);
    let error = message(dataset.word_vectors());
    assert!(error.contains("toy: word vectors for") && error.contains("the vocabulary has 4"), "{error}");
}

#[test]
fn unusable_records_can_be_listed() {
    let root = tree();
    let path = root.path().join("annotations/toy/instances.json");
    let text = fs::read_to_string(&path).unwrap().replacen("\"width\": 30", "\"width\": null", 3);
    fs::write(&path, text).unwrap();
    let (annotations, bad) = Annotations::read_usable(&path).unwrap();
    assert_eq!(annotations.referents("train").unwrap().len(), 11);
    assert_eq!(
        bad.iter().map(|b| (b.split.as_str(), b.index, b.field.as_str())).collect::<Vec<_>>(),
        [("train", 0, "width"), ("train", 1, "width"), ("train", 6, "width"),]
    );
    let error = message(Annotations::read(&path));
    assert!(
        error.contains("record 0, field width") && error.ends_with("(and 2 more records that can't be used)")
    );
}

#[test]
fn detection_keeps_boxes_in_the_crop() {
    let root = tree();
    let mut config = config(root.path());
    config.model.task = Task::Detection;
    assert_eq!(config.data.train_transform, Transform::Jitter);
    let dataset = open(&config);
    let plan = Plan::training(&dataset, &visit(0, 1));
    for batch in Loader::new(dataset, plan, Preparation::training(&config), 0, 1, None).map(Result::unwrap) {
        assert!(batch.rows.iter().all(|row| row.vertices.is_empty() && row.mask.is_none()));
        for (row, &image) in batch.rows.iter().zip(&batch.image_of) {
            let (height, width) = batch.image_hw[image as usize];
            let [x1, y1, x2, y2] = row.bbox;
            assert!(0.0 <= x1 && x1 < x2 && x2 < width as f64, "{row:?}");
            assert!(0.0 <= y1 && y1 < y2 && y2 < height as f64, "{row:?}");
        }
    }
}
