//! `convert predictions`: the reference's dump becomes a file that `pick` takes.

use std::fs;
use std::path::{Path, PathBuf};

use partial_res::convert::{Output, PredictionsRequest, convert_predictions};
use partial_res::mask::Rle;
use partial_res::pseudo::Predictions;

use super::torch_file::{Py, legacy};

/// An image of 200 x 100 that becomes 128 x 64, and one of 30 x 60 that becomes 64 x 128.
const ANNOTATIONS: &str = r#"{"train": [
    {"image_id": 4, "bbox": [50, 25, 100, 50], "width": 200, "height": 100, "expressions": ["first", "second"]},
    {"image_id": "b", "bbox": [0, 0, 5, 5], "width": 30, "height": 60, "expressions": ["other"]}]}"#;

fn entry(iou: i64, mask: &Rle) -> Py {
    let mask = || {
        Py::dict([
            ("size".to_owned(), Py::List(vec![Py::Int(mask.height() as i64), Py::Int(mask.width() as i64)])),
            ("counts".to_owned(), Py::Text(mask.to_compressed())),
        ])
    };
    Py::List(vec![Py::Int(iou), mask(), mask()])
}

fn request<'a>(file: &'a Path, annotations: &'a Path, out: &'a Path) -> PredictionsRequest<'a> {
    PredictionsRequest {
        file,
        annotations,
        dataset: "refcoco-unc",
        split: "train",
        image_size: 128,
        stride: 32,
        skip_broken: false,
        out,
        output: Output { force: true },
    }
}

#[test]
fn masks_come_back_to_the_original_image() {
    let folder = tempfile::tempdir().unwrap();
    let [file, annotations, out] =
        ["dump.pth", "instances.json", "predictions.jsonl"].map(|n| folder.path().join(n));
    fs::write(&annotations, ANNOTATIONS).unwrap();
    let first = Rle::from_box(64, 128, [32.0, 16.0, 64.0, 32.0]).unwrap();
    let second = Rle::empty(128, 64).unwrap();
    fs::write(&file, legacy(&Py::List(vec![entry(80, &first), entry(0, &second)]))).unwrap();

    let report = convert_predictions(&request(&file, &annotations, &out)).unwrap();
    assert_eq!((report.referents, report.empty, report.miou), (2, 1, 40.0));
    let predictions = Predictions::read(&out).unwrap();
    assert_eq!((predictions.header.split.as_str(), predictions.header.referents), ("train", 2));
    let candidate = &predictions.referents[0].candidates[0];
    assert_eq!(candidate.expression, "first");
    assert_eq!(candidate.mask, Rle::from_box(100, 200, [50.0, 25.0, 100.0, 50.0]).unwrap());
    assert!(candidate.projection_term.unwrap() < 0.05, "{candidate:?}");
    assert_eq!(candidate.polygons.len(), 1);
    let empty = &predictions.referents[1].candidates[0];
    assert_eq!((empty.mask.area(), empty.projection_term), (0, None));

    // In another order, or of another file, the sizes tell.
    fs::write(&file, legacy(&Py::List(vec![entry(0, &second), entry(80, &first)]))).unwrap();
    let message = convert_predictions(&request(&file, &annotations, &out)).unwrap_err().to_string();
    assert!(message.contains("prediction 0: a mask of 128 x 64, but the image of 100 x 200"), "{message}");
    fs::write(&file, legacy(&Py::List(vec![entry(0, &second)]))).unwrap();
    let message = convert_predictions(&request(&file, &annotations, &out)).unwrap_err().to_string();
    assert!(message.contains("1 predictions, but train of"), "{message}");
}

/// The golden dumps' second entry is an empty mask of 5 x 6. Their first one is made by hand: its predicted
/// mask says that it has 96 x 128 pixels and runs over 1080 x 1920 (and its true mask has a negative
/// run); pycocotools refuses both, too ("Invalid RLE mask representation").
#[test]
fn a_mask_that_makes_no_sense_is_an_error_or_nothing_as_wanted() {
    const SMALL: &str = r#"{"train": [
        {"image_id": 1, "bbox": [1, 1, 4, 4], "width": 6, "height": 5, "expressions": ["first"]},
        {"image_id": 2, "bbox": [0, 0, 3, 3], "width": 6, "height": 5, "expressions": ["second"]}]}"#;
    let folder = tempfile::tempdir().unwrap();
    let [annotations, out] = ["instances.json", "predictions.jsonl"].map(|name| folder.path().join(name));
    fs::write(&annotations, SMALL).unwrap();
    for name in ["refine_zip.pth", "refine_legacy.pth"] {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats").join(name);
        let strict = PredictionsRequest { image_size: 6, stride: 1, ..request(&file, &annotations, &out) };
        let message = convert_predictions(&strict).unwrap_err().to_string();
        assert!(
            message.contains("prediction 0: its mask: compressed run lengths: run 0 is 2073600"),
            "{message}"
        );
        assert!(message.contains("1 of 2 masks can't be decoded"), "{message}");

        let report = convert_predictions(&PredictionsRequest { skip_broken: true, ..strict }).unwrap();
        assert_eq!((report.referents, report.empty, report.miou), (2, 2, 25.0));
        assert_eq!(report.broken.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0]);
        let predictions = Predictions::read(&out).unwrap();
        for prediction in &predictions.referents {
            assert_eq!(prediction.candidates[0].mask, Rle::empty(5, 6).unwrap());
        }
    }
}
