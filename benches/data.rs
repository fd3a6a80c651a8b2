//! From files to batches and from predictions to labels, on RefShapes of the size of photographs.

use std::path::Path;

use divan::Bencher;
use divan::counter::ItemsCount;
use partial_res::config::{Config, DataConfig, Transform};
use partial_res::data::{Annotations, Batch, Dataset, INSTANCES, Plan, Preparation, Visit};
use partial_res::nn::Arithmetic;
use partial_res::pseudo::{
    Asked, Candidate, Criterion, Header, Judge, Masks, Method, PickOptions, Prediction, Predictions,
    SampleOptions, pick, sample, sha256,
};
use partial_res::report::Weights;
use partial_res::shapes::{ShapesConfig, generate};

const DATASET: &str = "refshapes-unc";

fn shapes(images: usize, size: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let config = ShapesConfig { images, val_images: 1, test_images: 1, size, ..ShapesConfig::default() };
    generate(&config, folder.path(), &|_, _| ()).expect("RefShapes");
    folder
}

/// Batches of eight: reading, decoding, the frame, masks, vertices. Each image is read anew, as it is
/// where not all fit into memory.
#[divan::bench(args = ["jitter", "resize"])]
fn sample_preparation(bencher: Bencher, transform: &str) {
    const ROWS: usize = 8;
    let folder = shapes(ROWS, 640);
    let data = DataConfig {
        root: folder.path().into(),
        dataset: DATASET.into(),
        train_transform: if transform == "jitter" { Transform::Jitter } else { Transform::Resize },
        ..DataConfig::default()
    };
    let config = Config { data, ..Config::default() };
    let visit = Visit { seed: 0, epoch: 0, batch_size: ROWS, referents_per_image: 1, batches: 1 };
    let open = || Dataset::open(&config.data, INSTANCES, "train").expect("the data set");
    let plan = Plan::training(&open(), &visit);
    let preparation = Preparation::training(&config);
    bencher.counter(ItemsCount::new(ROWS)).with_inputs(open).bench_local_refs(|dataset| {
        let samples = plan.images(dataset, 0).map(|group| {
            let mut stream = plan.stream(&group[0]);
            dataset.sample(group, &preparation, &mut stream).expect("a sample")
        });
        Batch::collate(samples.collect(), dataset.max_words())
    });
}

/// Of a tenth of the masks and predictions for all.
#[divan::bench]
fn pick_labels(bencher: Bencher) {
    let folder = shapes(200, 128);
    let read = |file: &str| {
        Annotations::read(&folder.path().join("annotations").join(DATASET).join(file)).expect("annotations")
    };
    let all = read(INSTANCES);
    let options = SampleOptions { split: "train".into(), ratio: 10, seed: 0, force: false };
    let drawn = sample(&all, &options).expect("a sample");
    let labelled = read(&drawn.file.display().to_string());
    let predictions = predictions(&all);
    let out = folder.path().join("picked.json");
    let options = PickOptions {
        criterion: Criterion::Rpp(Judge::default()),
        masks: Masks::Predicted,
        weights: false,
        force: true,
    };
    let count = ItemsCount::new(predictions.referents.len());
    bencher.counter(count).bench(|| pick(&all, &labelled, &predictions, &out, &options).expect("picked"));
}

/// The true masks, as if a network had said them.
fn predictions(all: &Annotations) -> Predictions {
    let referents = all.referents("train").expect("train");
    let predicted = referents.iter().enumerate().map(|(index, referent)| {
        let mask = referent.mask().and_then(|mask| mask.to_rle()).expect("a mask");
        let candidate = Candidate {
            expression: referent.expressions[0].clone(),
            tokens: Vec::new(),
            polygons: Vec::new(),
            mask,
            projection_term: None,
            score: None,
            agreement: None,
        };
        Prediction { index, image_id: referent.image_id.clone(), candidates: vec![candidate] }
    });
    let header = Header {
        format: Header::FORMAT,
        dataset: DATASET.into(),
        annotations_sha256: sha256(all.text()),
        split: "train".into(),
        referents: referents.len(),
        checkpoint_sha256: String::new(),
        weights: Weights::Ema,
        method: Method::Greedy,
        expressions: Asked::First,
        batch_size: 1,
        arithmetic: Arithmetic::F32,
        preparation: String::new(),
    };
    Predictions { path: Path::new("predictions").into(), header, referents: predicted.collect() }
}
