//! Short trainings on a small RefShapes with a network that learns nothing, quickly.

#[path = "tiny.rs"]
mod tiny;

use std::path::Path;

use partial_res::config::{Config, DataConfig, TrainConfig};
use partial_res::shapes::{ShapesConfig, generate};

/// RefShapes of 64-pixel images under `root`; its test splits have one image.
pub fn shapes(root: &Path, images: usize, val_images: usize) {
    let shapes = ShapesConfig { images, val_images, test_images: 1, size: 64, ..ShapesConfig::default() };
    generate(&shapes, root, &|_, _| ()).unwrap();
}

/// The tiny network on [`shapes`], with the sources of chance that are on by default.
pub fn config(root: &Path, train: TrainConfig) -> Config {
    let (root, dataset) = (root.into(), "refshapes-unc".into());
    let data = DataConfig { root, dataset, image_size: 64, ..DataConfig::default() };
    Config { model: tiny::model(), data, train }
}
