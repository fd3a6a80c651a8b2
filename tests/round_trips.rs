//! What the program writes, it reads back as it was, whatever it says. `PROPTEST_CASES` sets the number
//! of random cases (64 of each). Run lengths are in `mask_properties.rs`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use partial_res::checkpoint::{Checkpoint, Snapshot, TrainState};
use partial_res::config::Config;
use partial_res::data::{Annotations, ImageId};
use partial_res::mask::Rle;
use partial_res::nn::Arithmetic;
use partial_res::pseudo::{Asked, Candidate, Header, Method, Prediction, Predictions, SampleOptions, sample};
use partial_res::report::{Protocol, ResultRow, Weights, append_results, read_results};
use partial_res::text::{Vocabulary, WordVectors};
use proptest::collection::vec;
use proptest::num::{f32, f64};
use proptest::prelude::*;
use serde_json::{Value, json};

fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 64 };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

/// Every finite number, the smallest and -0 too.
fn number() -> impl Strategy<Value = f64> {
    f64::NORMAL | f64::SUBNORMAL | f64::ZERO
}

fn small() -> impl Strategy<Value = f32> {
    f32::NORMAL | f32::SUBNORMAL | f32::ZERO
}

/// Any characters, quotes, backslashes and control characters among them.
fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

fn weights() -> impl Strategy<Value = Weights> {
    prop_oneof![Just(Weights::Raw), Just(Weights::Ema)]
}

fn row() -> impl Strategy<Value = ResultRow> {
    let protocol = prop_oneof![Just(Protocol::Standard), Just(Protocol::Reference)];
    let cells = prop::array::uniform12(prop::option::of(number()));
    let parts = prop::array::uniform5(prop::option::of(number()));
    (any::<(u32, u32)>(), "[a-zA-Z0-9 _\"']{0,9}", weights(), protocol, cells, parts).prop_map(
        |((epoch, step), split, weights, protocol, cells, loss_parts)| {
            let [miou, oiou, p50, p60, p70, p80, p90, box_acc, loss, lr, samples_per_s, seconds] = cells;
            ResultRow {
                epoch: epoch as usize,
                step: step as usize,
                split,
                weights,
                protocol,
                miou,
                oiou,
                p50,
                p60,
                p70,
                p80,
                p90,
                box_acc,
                loss,
                loss_parts,
                lr,
                samples_per_s,
                seconds,
            }
        },
    )
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let numbers = (prop::option::of(small()), prop::option::of(small()), prop::option::of(small()));
    let polygons = vec(vec(number(), 0..7), 0..3);
    let runs = vec(0u32..50, 0..9);
    (text(), vec(any::<u32>(), 0..9), polygons, runs, numbers).prop_map(
        |(expression, tokens, polygons, mut counts, (projection_term, score, agreement))| {
            // Whole columns of 7 pixels.
            let pixels: u32 = counts.iter().sum();
            counts.push(7 - pixels % 7);
            let width = (pixels / 7 + 1) as usize;
            let mask = Rle::new(7, width, counts).expect("as many as there are pixels");
            Candidate { expression, tokens, polygons, mask, projection_term, score, agreement }
        },
    )
}

fn image_id() -> impl Strategy<Value = ImageId> {
    prop_oneof![any::<u64>().prop_map(ImageId::Number), text().prop_map(ImageId::Name)]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        number().prop_map(Value::from),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// A record of an annotation file with fields that only its owner knows.
fn record() -> impl Strategy<Value = Value> {
    (vec((text(), json_value()), 0..4), any::<u32>()).prop_map(|(own, id)| {
        let mut record: serde_json::Map<_, _> = own.into_iter().collect();
        let fields = json!({
            "image_id": id, "bbox": [1.5, 2, 3, 4], "width": 9, "height": 8, "expressions": ["an ape"],
            "mask": [[1, 1, 5, 1, 5, 5]], "data_source": "coco",
        });
        record.extend(fields.as_object().expect("an object").clone());
        Value::Object(record)
    })
}

fn tensors() -> impl Strategy<Value = HashMap<String, Tensor>> {
    let tensor = prop_oneof![
        (vec(small(), 6), Just([2usize, 3])).prop_map(|(values, shape)| Tensor::from_vec(
            values,
            &shape,
            &Device::Cpu
        )),
        vec(any::<i64>(), 1..4).prop_map(|values| {
            let length = values.len();
            Tensor::from_vec(values, length, &Device::Cpu)
        }),
    ];
    prop::collection::hash_map("[a-z.0-9_]{1,12}", tensor.prop_map(|tensor| tensor.expect("a tensor")), 1..5)
}

/// Exactly, so that -0 and 0 differ.
fn bits(tensors: &HashMap<String, Tensor>) -> HashMap<&str, (Vec<usize>, Vec<u64>)> {
    let all = tensors.iter().map(|(name, tensor)| {
        let flat = tensor.flatten_all().expect("flat");
        let bits = match flat.to_vec1::<f32>() {
            Ok(values) => values.into_iter().map(|value| u64::from(value.to_bits())).collect(),
            Err(_) => flat.to_vec1::<i64>().expect("i64").into_iter().map(|value| value as u64).collect(),
        };
        (name.as_str(), (tensor.dims().to_vec(), bits))
    });
    all.collect()
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::write(path, text).expect("room");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn results(first in vec(row(), 0..4), then in vec(row(), 0..4)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.csv");
        append_results(&path, &first).unwrap();
        append_results(&path, &then).unwrap();
        prop_assert_eq!(read_results(&path).unwrap(), [first, then].concat());
    }

    #[test]
    fn predictions(all in vec((image_id(), vec(candidate(), 1..3)), 0..4), dataset in text(), split in text()) {
        let header = Header {
            format: Header::FORMAT,
            dataset,
            annotations_sha256: "a".repeat(64),
            split,
            referents: all.len(),
            checkpoint_sha256: "b".repeat(64),
            weights: Weights::Raw,
            method: Method::Greedy,
            expressions: Asked::All,
            batch_size: 7,
            preparation: String::new(),
            arithmetic: if all.len() == 1 { Arithmetic::Bf16 } else { Arithmetic::F32 },
        };
        let referents: Vec<Prediction> = all
            .into_iter()
            .enumerate()
            .map(|(index, (image_id, candidates))| Prediction { index, image_id, candidates })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let lines = referents.iter().map(|line| serde_json::to_string(line).unwrap() + "\n");
        write(&path, serde_json::to_string(&header).unwrap() + "\n" + &lines.collect::<String>());
        prop_assert_eq!(Predictions::read(&path).unwrap(), Predictions { path, header, referents });
    }

    #[test]
    fn vocabularies_and_their_vectors(expressions in vec(text(), 0..9), dim in 1usize..5, seed in vec(small(), 1..9)) {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = Vocabulary::build(expressions.iter().map(String::as_str));
        let path = folder.path().join("vocabulary.json");
        write(&path, serde_json::to_string_pretty(&vocabulary).unwrap());
        prop_assert_eq!(&Vocabulary::read(&path).unwrap(), &vocabulary);

        let values = seed.iter().copied().cycle().take(vocabulary.len() * dim).collect();
        let vectors = WordVectors::new(vocabulary.len(), dim, values).unwrap();
        let path = folder.path().join("word_vectors.safetensors");
        write(&path, vectors.to_safetensors().unwrap());
        prop_assert_eq!(WordVectors::read(&path).unwrap(), vectors);
    }

    #[test]
    fn records_keep_every_field(train in vec(record(), 1..6), val in vec(record(), 0..3), ratio in 1u32..=100) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instances.json");
        write(&path, json!({"train": train, "val": val}).to_string());
        let options = SampleOptions { split: "train".into(), ratio, seed: 3, force: false };
        let drawn = sample(&Annotations::read(&path).unwrap(), &options).unwrap();
        let written: Value = serde_json::from_slice(&std::fs::read(folder.path().join(drawn.file)).unwrap()).unwrap();
        prop_assert_eq!(&written["val"], &Value::from(val));
        let kept = written["train"].as_array().unwrap();
        prop_assert_eq!(kept.len(), drawn.records);
        let mut rest = train.iter();
        prop_assert!(kept.iter().all(|record| rest.any(|other| other == record)));
    }

    #[test]
    fn checkpoints(
        model in tensors(),
        optimizer in prop::option::of(tensors()),
        scores in vec(row(), 0..3),
        counters in (any::<u32>(), any::<u32>(), any::<u32>(), 0u64..1 << 50),
        numbers in (number(), number(), prop::option::of(number())),
        words in vec(text(), 0..5),
        lr in 0.0f64..1.0,
    ) {
        let (epoch, batch, step, ema_updates) = counters;
        let state = TrainState {
            epoch: epoch as usize,
            batch: batch as usize,
            step: step as usize,
            lr: numbers.0,
            ema_updates,
            loss_sum: numbers.1,
            best_segm: numbers.2,
            scores,
            ..TrainState::default()
        };
        let mut config = Config::default();
        config.train.lr = lr;
        config.data.dataset = words.first().cloned().unwrap_or_default();
        let vocabulary = Vocabulary::build(words.iter().map(String::as_str));
        let (model_bits, optimizer_bits) = (bits(&model), optimizer.as_ref().map(bits));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-1");
        let snapshot = Snapshot {
            config: &config,
            vocabulary: &vocabulary,
            state: &state,
            model: model.clone(),
            ema: None,
            optimizer: optimizer.clone(),
        };
        snapshot.write(&path).unwrap();
        let read = Checkpoint::open(&path).unwrap();
        prop_assert_eq!((&read.state, &read.config, &read.vocabulary), (&state, &config, &vocabulary));
        let weights = read.weights(Weights::Raw).unwrap();
        prop_assert_eq!(bits(&weights), model_bits);
        let read = read.optimizer().ok();
        prop_assert_eq!(read.as_ref().map(bits), optimizer_bits);
    }
}
