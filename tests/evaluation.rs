//! Marks and scores on a data set small enough to count by hand.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use image::{Rgb, RgbImage};
use partial_res::config::{Config, DarknetConfig, LanguageConfig, ModelConfig, Task, Transform};
use partial_res::data::{Dataset, ExpressionChoice, Plan, Preparation};
use partial_res::eval::{
    Drawings, EvalError, EvalOptions, Look, Mark, PredictionWriter, blind, ceiling, evaluate, predict,
    reference_scores, standard_scores,
};
use partial_res::model::Network;
use partial_res::report::{Log, Protocol, Weights};
use partial_res::text::Vocabulary;
use serde_json::{Value, json};

/// Two images, 64 x 48 and 48 x 64 pixels, so that a batch pads one by the other. In the first, three squares
/// apart from each other, one with two expressions; in the second a box of 16 x 16 inside one of 32 x 16.
fn write_data(root: &Path) {
    let size = |image: u32| if image == 1 { (64, 48) } else { (48, 64) };
    let square = |image: u32, x: u32, y: u32, w: u32, h: u32, expressions: &[&str]| {
        let polygon = [x, y, x + w, y, x + w, y + h, x, y + h];
        json!({
            "image_id": image, "width": size(image).0, "height": size(image).1, "bbox": [x, y, w, h],
            "expressions": expressions, "mask": [polygon],
        })
    };
    let records = [
        square(1, 2, 2, 16, 16, &["red square", "the one on the left"]),
        square(1, 24, 24, 20, 20, &["green square"]),
        square(1, 48, 4, 12, 12, &["blue square"]),
        square(2, 8, 8, 16, 16, &["small box"]),
        square(2, 8, 8, 32, 16, &["large box"]),
    ];
    let annotations = root.join("annotations/toy");
    let images = root.join("images/toy");
    std::fs::create_dir_all(&annotations).unwrap();
    std::fs::create_dir_all(&images).unwrap();
    std::fs::write(annotations.join("instances.json"), json!({ "val": records }).to_string()).unwrap();
    for id in [1u8, 2] {
        let (width, height) = size(id.into());
        let picture = RgbImage::from_fn(width, height, |x, y| Rgb([(4 * x) as u8, (5 * y) as u8, 90 * id]));
        picture.save(images.join(format!("{id}.png"))).unwrap();
    }
}

fn config(root: &Path, task: Task) -> Config {
    let mut config = Config::default();
    config.data.root = root.into();
    config.data.dataset = "toy".into();
    config.data.images = [("toy".to_owned(), "toy/{image_id}.png".to_owned())].into();
    config.data.image_size = 64;
    config.data.max_words = 6;
    config.model = ModelConfig {
        task,
        vertices: 12,
        bins: 64,
        d_model: 16,
        heads: 2,
        encoder_layers: 1,
        decoder_layers: 1,
        feed_forward: 32,
        input_groups: 4,
        point_hidden: [8, 8],
        darknet: DarknetConfig {
            widths: [8, 8, 8, 8, 16, 16],
            blocks: [1; 5],
            strides: [2, 2, 2, 2, 1],
            tail: 1,
            ..DarknetConfig::default()
        },
        language: LanguageConfig { word_dim: 8, hidden: 8, trainable_words: true },
        ..ModelConfig::default()
    };
    config
}

fn open(config: &Config) -> Arc<Dataset> {
    Arc::new(Dataset::open(&config.data, "instances.json", "val").unwrap())
}

fn close(found: Option<f64>, expected: f64) {
    let found = found.expect("a value");
    assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
}

#[test]
fn blind_says_the_same_about_every_expression_of_an_image() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let config = config(folder.path(), Task::Segmentation);
    let scores = blind(&open(&config), &[0, 1, 2, 3, 4], &Preparation::evaluation(&config)).unwrap();
    // First image: the square with two of four expressions. Second: either box, IoU 1 and 1/2.
    close(scores.miou, 100.0 * (2.0 + 1.5) / 6.0);
    close(scores.precision.p50, 100.0 * 3.0 / 6.0);
    close(scores.box_acc, 100.0 * 3.0 / 6.0);
    close(scores.box_miou, 100.0 * (2.0 + 1.5) / 6.0);
    // Intersections 256 + 256, then 256 + 256 for the small box or 256 + 512 for the large one; the
    // first of equals is taken.
    let unions = (256.0 + 256.0 + 656.0 + 400.0) + (256.0 + 512.0);
    close(scores.oiou, 100.0 * 1024.0 / unions);
    // Without the first referent there is no best one: a third of the expressions.
    let scores = blind(&open(&config), &[1, 2], &Preparation::evaluation(&config)).unwrap();
    close(scores.miou, 50.0);
}

#[test]
fn the_ceiling_is_what_sampling_and_quantising_cost() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let mut config = config(folder.path(), Task::Segmentation);
    let preparation = Preparation::evaluation(&config);
    let dataset = open(&config);
    let miou = |config: &Config| {
        let outcomes = ceiling(&config.model, &dataset, &[0, 1, 2, 3, 4], &preparation).unwrap();
        assert_eq!(outcomes.len(), 6);
        let reference = reference_scores(&outcomes, 128).miou.unwrap();
        // Nothing is resized or padded here and no object has several polygons; the five records
        // have one expression each in the reference's protocol.
        assert!((60.0..100.0).contains(&reference), "{reference}");
        standard_scores(&outcomes).miou.unwrap()
    };
    let twelve = miou(&config);
    config.model.vertices = 100;
    // All points of the outline, which runs through the middles of the border pixels: of a square
    // of 16 about 15 x 15 remain.
    let all = miou(&config);
    assert!((85.0..97.0).contains(&all) && twelve < all, "{twelve} {all}");

    // Where only boxes are known, there are no vertices to find one by.
    let path = folder.path().join("annotations/toy/instances.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for record in &mut file["val"].as_array_mut().unwrap()[1..] {
        record.as_object_mut().unwrap().remove("mask");
    }
    std::fs::write(&path, file.to_string()).unwrap();
    let boxes = open(&config);
    let box_scores = |referents: &[usize]| {
        let outcomes = ceiling(&config.model, &boxes, referents, &preparation).unwrap();
        standard_scores(&outcomes).box_miou
    };
    assert_eq!((box_scores(&[1, 2]), box_scores(&[0, 1, 2])), (None, box_scores(&[0])));
    assert!(box_scores(&[0]).unwrap() > 80.0);

    config.model.task = Task::Detection;
    let outcomes = ceiling(&config.model, &dataset, &[0, 1, 2, 3, 4], &preparation).unwrap();
    // Coordinates lose less than a bin, three quarters of a pixel; nothing is known about masks.
    let scores = standard_scores(&outcomes);
    assert!((94.0..100.0).contains(&scores.box_miou.unwrap()), "{:?}", scores.box_miou);
    assert_eq!(scores.miou, None);
}

#[test]
fn permuted_expressions_come_from_other_objects() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    // As in the real files: a record for each expression.
    let path = folder.path().join("annotations/toy/instances.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut again = file["val"][0].clone();
    again["expressions"] = json!(["the one that is red"]);
    file["val"].as_array_mut().unwrap().insert(1, again);
    std::fs::write(&path, file.to_string()).unwrap();
    let config = config(folder.path(), Task::Segmentation);
    let dataset = open(&config);
    let preparation = Preparation::evaluation(&config);
    for seed in 0..20 {
        let mut plan = Plan::evaluation(&dataset, 0..6, ExpressionChoice::All, 4, &preparation);
        plan.swap_expressions(&dataset, seed);
        for entry in plan.batches().iter().flatten() {
            let (one, other) = (dataset.referent(entry.referent), dataset.referent(entry.asked));
            assert_eq!(one.image_id, other.image_id);
            assert_ne!(one.bbox, other.bbox);
        }
    }
}

/// At its start a network says the same about everything; louder weights make it talkative.
fn talkative(config: &Config, words: &Vocabulary) -> Network {
    let (network, parameters) = Network::create(&config.model, words.len(), 4, &Device::Cpu).unwrap();
    for parameter in parameters.all().iter().filter(|parameter| parameter.name.starts_with("head.predictor"))
    {
        parameter.var.set(&(parameter.var.as_tensor() * 6.0).unwrap()).unwrap();
    }
    network
}

#[test]
fn scores_predictions_and_single_answers_agree() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let config = config(folder.path(), Task::Segmentation);
    let dataset = open(&config);
    let device = Device::Cpu;
    let network = talkative(&config, dataset.vocabulary());
    let lines = folder.path().join("predictions.jsonl");
    std::fs::write(&lines, "old").unwrap();
    drop(PredictionWriter::create(&lines).unwrap());
    assert_eq!(std::fs::read_to_string(&lines).unwrap(), "old", "until the new ones are finished");
    let mut writer = PredictionWriter::create(&lines).unwrap();
    let drawings = Drawings { folder: folder.path().join("drawn"), count: 2 };
    let options = EvalOptions {
        batch_size: 6,
        predictions: Some(&mut writer),
        drawings: Some(drawings),
        ..EvalOptions::default()
    };
    let log = Log::quiet();
    let report = evaluate(&[(Weights::Raw, &network)], &dataset, &config, &device, options, &log).unwrap();
    writer.finish().unwrap();

    assert_eq!(
        report.results.iter().map(|r| (r.referents, r.expressions)).collect::<Vec<_>>(),
        [(5, 6), (5, 5)]
    );
    let lines: Vec<Value> = std::fs::read_to_string(lines)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 6);
    let mean = lines.iter().map(|line| line["iou"].as_f64().unwrap()).sum::<f64>() / 6.0;
    close(report.scores(Weights::Raw, Protocol::Standard).unwrap().miou, 100.0 * mean);
    assert_eq!(std::fs::read_dir(folder.path().join("drawn")).unwrap().count(), 2);
    for mark in [Mark::Blind, Mark::Permuted, Mark::Ceiling] {
        assert!(report.mark(mark, Protocol::Standard).unwrap().miou.is_some());
    }

    // Alone, an expression gets the answer that it got among the others.
    let look = Look::whole(&network, dataset.vocabulary(), &config).unwrap();
    let mut areas = 0;
    for line in &lines {
        let image = dataset.image(line["index"].as_u64().unwrap() as usize).unwrap();
        let expression = line["expression"].as_str().unwrap();
        let alone = predict(&look, None, &image, &[expression], &device).unwrap();
        let alone = serde_json::to_value(&alone[0]).unwrap();
        for key in ["tokens", "box", "mask"] {
            assert_eq!(alone[key], line[key], "{key} of {expression}");
        }
        areas += usize::from(alone["box"][2].as_f64().unwrap() > 0.0);
    }
    assert!(areas > 3, "most answers were empty, little was compared");
    let image = dataset.image(0).unwrap();
    let error = predict(&look, None, &image, &[" ?! "], &device);
    assert!(matches!(error, Err(EvalError::NoWords { .. })));
}

#[test]
fn a_second_look_is_at_what_the_first_one_found() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path());
    let (device, log) = (Device::Cpu, Log::quiet());
    let mut close_ups = config(folder.path(), Task::Segmentation);
    close_ups.data.train_transform = Transform::CloseUp;
    let dataset = open(&close_ups);
    let words = dataset.vocabulary();
    let second = talkative(&close_ups, words);
    let closer = Look::closer(&second, words, &close_ups).unwrap();
    let mut vertices = 0;
    for task in [Task::Detection, Task::Segmentation] {
        let whole = config(folder.path(), task);
        let first = talkative(&whole, words);
        let look = Look::whole(&first, words, &whole).unwrap();
        let path = folder.path().join("predictions.jsonl");
        let mut writer = PredictionWriter::create(&path).unwrap();
        let predictions = Some(&mut writer);
        let options =
            EvalOptions { batch_size: 4, predictions, second: Some(&closer), ..EvalOptions::default() };
        let report = evaluate(&[(Weights::Raw, &first)], &dataset, &whole, &device, options, &log).unwrap();
        writer.finish().unwrap();
        assert!(report.scores(Weights::Raw, Protocol::Standard).unwrap().miou.is_some());
        let ceiling = report.mark(Mark::Ceiling, Protocol::Standard).unwrap().miou.unwrap();
        assert!(ceiling > 80.0, "of outlines in close-ups: {ceiling}");

        for line in std::fs::read_to_string(path).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let image = dataset.image(line["index"].as_u64().unwrap() as usize).unwrap();
            let asked = [line["expression"].as_str().unwrap()];
            let found = &predict(&look, None, &image, &asked, &device).unwrap()[0];
            let outlined = &predict(&look, Some(&closer), &image, &asked, &device).unwrap()[0];
            let json = serde_json::to_value(outlined).unwrap();
            assert_eq!((&json["tokens"], &json["mask"]), (&line["tokens"], &line["mask"]), "{asked:?}");
            let [x, y, w, h] = found.bbox;
            if w < 1.0 || h < 1.0 {
                continue;
            }
            // Nothing lies beyond the close-up: what was found, a tenth more around an outline, and the margin.
            let room = if task == Task::Detection { 0.0 } else { 0.1 };
            let reach = room + close_ups.data.close_up.margin * (1.0 + 2.0 * room);
            for &[px, py] in &outlined.polygon {
                let inside = |at: f64, low: f64, side: f64| {
                    (low - reach * side - 1e-3..low + side + reach * side + 1e-3).contains(&at)
                };
                assert!(inside(px, x, w) && inside(py, y, h), "{px} {py}, found {:?}", found.bbox);
                vertices += 1;
            }
        }
    }
    assert!(vertices > 10, "little was compared: {vertices}");

    let detection = config(folder.path(), Task::Detection);
    let first = talkative(&detection, words);
    assert!(matches!(Look::closer(&first, words, &detection), Err(EvalError::NotCloser)));
    assert!(matches!(Look::whole(&second, words, &close_ups), Err(EvalError::NeedsBox)));
    let options = EvalOptions { second: Some(&closer), ..EvalOptions::default() };
    let error = evaluate(&[(Weights::Raw, &second)], &dataset, &close_ups, &device, options, &log);
    assert!(matches!(error, Err(EvalError::NeedsBox)));
}
