#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use partial_res::convert::{Output, PredictionsRequest, convert_predictions};
use partial_res::pseudo::Predictions;
use tempfile::TempDir;

/// Sizes as in the golden dump's second entry; its first one is broken.
const ANNOTATIONS: &str = r#"{"train": [
    {"image_id": 1, "bbox": [1, 1, 4, 4], "width": 6, "height": 5, "expressions": ["first"]},
    {"image_id": 2, "bbox": [0, 0, 3, 3], "width": 6, "height": 5, "expressions": ["second"]}]}"#;

fn folder() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("instances.json"), ANNOTATIONS).expect("room");
        folder
    });
    folder.path().to_owned()
}

fuzz_target!(|bytes: &[u8]| {
    let [file, annotations, out] =
        ["dump.pth", "instances.json", "out.jsonl"].map(|name| folder().join(name));
    fs::write(&file, bytes).expect("room");
    drop(Predictions::read(&file));
    let request = PredictionsRequest {
        file: &file,
        annotations: &annotations,
        dataset: "fuzz",
        split: "train",
        image_size: 6,
        stride: 1,
        skip_broken: true,
        out: &out,
        output: Output { force: true },
    };
    if convert_predictions(&request).is_ok() {
        assert_eq!(Predictions::read(&out).expect("what was written is read").referents.len(), 2);
    }
});
