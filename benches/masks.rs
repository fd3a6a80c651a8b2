//! Masks of an object on a photograph of 640 x 480 pixels.

use divan::Bencher;
use divan::counter::ItemsCount;
use partial_res::config::ModelConfig;
use partial_res::mask::{Rle, find_contours, vertices};
use partial_res::model::{Sequence, Targets};

const HEIGHT: usize = 480;
const WIDTH: usize = 640;

/// A star with wavy sides, 250 pixels across.
fn polygon() -> Vec<f64> {
    const POINTS: usize = 60;
    let point = |i: usize| {
        let angle = i as f64 / POINTS as f64 * std::f64::consts::TAU;
        let radius = 125.0 + 25.0 * (5.0 * angle).sin() + 4.0 * (17.0 * angle).cos();
        [320.0 + radius * angle.cos(), 240.0 + radius * angle.sin()]
    };
    (0..POINTS).flat_map(point).collect()
}

fn rle() -> Rle {
    Rle::from_polygon(HEIGHT, WIDTH, &polygon()).expect("a mask")
}

#[divan::bench]
fn rle_from_polygon(bencher: Bencher) {
    let polygon = polygon();
    bencher.bench(|| Rle::from_polygon(HEIGHT, WIDTH, &polygon));
}

#[divan::bench]
fn rle_to_mask(bencher: Bencher) {
    let rle = rle();
    bencher.bench(|| rle.to_mask());
}

#[divan::bench]
fn rle_from_mask(bencher: Bencher) {
    let mask = rle().to_mask();
    bencher.bench(|| mask.to_rle());
}

#[divan::bench]
fn rle_to_text_and_back(bencher: Bencher) {
    let rle = rle();
    bencher.bench(|| Rle::from_compressed(HEIGHT, WIDTH, &rle.to_compressed()));
}

#[divan::bench]
fn rle_iou(bencher: Bencher) {
    let other: Vec<f64> = polygon().iter().map(|at| at + 20.0).collect();
    let (one, other) = (rle(), Rle::from_polygon(HEIGHT, WIDTH, &other).expect("a mask"));
    bencher.bench(|| one.iou(&other, false));
}

#[divan::bench]
fn contours(bencher: Bencher) {
    let mask = rle().to_mask();
    bencher.bench(|| find_contours(&mask));
}

#[divan::bench]
fn contour_vertices(bencher: Bencher) {
    let mask = rle().to_mask();
    bencher.bench(|| vertices(&mask, 18));
}

/// Outlines to tokens.
#[divan::bench]
fn quantise(bencher: Bencher) {
    const ROWS: usize = 128;
    let cfg = ModelConfig::default();
    let outline = vertices(&rle().to_mask(), cfg.vertices);
    let targets = Targets {
        pad_hw: vec![(HEIGHT, WIDTH); ROWS],
        boxes: None,
        vertices: Some(vec![outline; ROWS]),
        labels: None,
        weights: None,
    };
    bencher.counter(ItemsCount::new(ROWS)).bench(|| Sequence::of_targets(&cfg, &targets));
}
