//! Files from strangers, beside pickles and archives (tests/pickle.rs, convert_torch.rs, npz.rs): cut at every
//! byte, changed, nested without end. The answer is an error or a sound value, never a panic.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use partial_res::checkpoint::{Checkpoint, Snapshot, TrainState};
use partial_res::config::Config;
use partial_res::data::{Annotations, decode};
use partial_res::mask::Segmentation;
use partial_res::report::Weights;
use partial_res::text::{Vocabulary, WordVectors};
use serde_json::Value;
use sha2::{Digest, Sha256};

const DEEP: usize = 1 << 20;

fn parse(text: &str) -> Result<usize, String> {
    let parsed = Annotations::parse(Path::new("file"), text.as_bytes().to_vec());
    let (annotations, bad) = parsed.map_err(|error| error.to_string())?;
    let referents = annotations.splits().flat_map(|split| annotations.referents(split).into_iter().flatten());
    let masks: Vec<Result<_, _>> = referents.map(|referent| referent.mask()).collect();
    Ok(masks.len() + bad.len())
}

#[test]
fn annotations() {
    let sound = r#"{"train": [
        {"image_id": 1, "bbox": [1, 1, 4, 4], "width": 6, "height": 5, "expressions": ["a"], "mask": [[1, 1, 4, 1, 4, 4]]},
        {"image_id": "b", "bbox": [0, 0, 3, 3], "width": 6, "height": 5, "expressions": ["\u00e4", "c"],
         "mask": {"size": [5, 6], "counts": "05R1"}}], "val": []}"#;
    assert_eq!(parse(sound), Ok(2));
    for length in (0..sound.len()).filter(|&length| sound.is_char_boundary(length)) {
        assert!(parse(&sound[..length]).is_err(), "cut to {length}");
    }
    for at in 0..sound.len() {
        for change in [0x01, 0x04, 0x20] {
            let mut bytes = sound.as_bytes().to_vec();
            bytes[at] ^= change;
            drop(parse(&String::from_utf8_lossy(&bytes)));
        }
    }
    // A record is a bad one, counted and named, the file is read on.
    for record in [
        format!("{}1{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        format!("{}1{}", "{\"a\":".repeat(DEEP), "}".repeat(DEEP)),
        r#"{"image_id": 1, "bbox": [1e999, 1, 4, 4], "width": 6, "height": 5, "expressions": ["a"]}"#
            .to_owned(),
        r#"{"image_id": 1, "bbox": [1, 1, 4, 4], "width": -6, "height": 5, "expressions": ["a"]}"#.to_owned(),
        r#"{"image_id": 1, "bbox": [1, 1, 4, 4], "width": 1e30, "height": 5, "expressions": ["a"]}"#
            .to_owned(),
    ] {
        let parsed =
            Annotations::parse(Path::new("file"), format!(r#"{{"train": [{record}]}}"#).into_bytes());
        let (annotations, bad) = parsed.unwrap();
        assert_eq!((annotations.referents("train").map_or(0, <[_]>::len), bad.len()), (0, 1));
    }
}

#[test]
fn run_lengths() {
    for (text, expected) in [
        (r#"{"size": [4294967296, 4294967296], "counts": [1]}"#, "larger than the 268435456 pixels"),
        (r#"{"size": [99999, 99999], "counts": "05R1"}"#, "larger than the 268435456 pixels"),
        (r#"{"size": [5, 6], "counts": "oooooooooooo"}"#, "run lengths"),
        (r#"{"size": [5, 6], "counts": [4294967295, 4294967295]}"#, "run"),
        (r#"{"size": [5, 6], "counts": [1]}"#, "30"),
    ] {
        let segmentation: Segmentation = serde_json::from_str(text).unwrap();
        let (Segmentation::Compressed { size, .. } | Segmentation::Counts { size, .. }) = &segmentation
        else {
            panic!("{text}")
        };
        let message = segmentation.to_rle(size[0], size[1]).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn configurations() {
    let sound = Config::default().to_toml();
    for length in 0..sound.len() {
        drop(Config::from_toml(&sound[..length], "cut"));
    }
    for (text, expected) in [
        (format!("data.labels = {}", "[".repeat(DEEP)), "is not TOML"),
        (format!("{}epochs = 1", "train.".repeat(DEEP)), ""),
        ("train.epochs = 99999999999999999999".to_owned(), "is not TOML"),
        (
            "train.epochs = 9223372036854775807".to_owned(),
            "`train.epochs` = 9223372036854775807: must be at most",
        ),
        ("train.lr = nan".to_owned(), "`train.lr` = NaN"),
        ("data.workers = 1000000".to_owned(), "`data.workers` = 1000000: must be at most"),
    ] {
        let message = Config::from_toml(&text, "hostile").unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn images() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data/images");
    let smallest = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let jpeg = smallest.min_by_key(Vec::len).unwrap();
    let mut png = Vec::new();
    let pixels = image::RgbImage::from_fn(20, 15, |x, y| image::Rgb([(x * 12) as u8, (y * 17) as u8, 9]));
    pixels.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
    assert!(decode(&jpeg).is_ok() && decode(&png).is_ok());
    for length in 0..png.len() - 12 {
        assert!(decode(&png[..length]).is_err(), "PNG cut to {length}");
    }
    // Decoders fill up a JPEG whose end is missing; `partial-res check` finds those by their last bytes.
    for length in (0..700).chain((700..jpeg.len()).step_by(97)) {
        drop(decode(&jpeg[..length]));
    }
    for at in (0..jpeg.len()).step_by(23) {
        let mut changed = jpeg.clone();
        changed[at] ^= 0x41;
        drop(decode(&changed));
    }
}

#[test]
fn words_and_their_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("word_vectors.safetensors");
    let sound = WordVectors::new(2, 2, vec![1.0, 2.0, 3.0, 4.0]).unwrap().to_safetensors().unwrap();
    for length in 0..sound.len() {
        fs::write(&path, &sound[..length]).unwrap();
        assert!(WordVectors::read(&path).is_err(), "cut to {length}");
    }
    // A header of exabytes, and one that says there are exabytes.
    let header = br#"{"word_emb":{"dtype":"F32","shape":[4611686018427387904,1],"data_offsets":[0,16]}}"#;
    let exabyte = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 16]].concat();
    for bytes in [u64::MAX.to_le_bytes().to_vec(), exabyte] {
        fs::write(&path, bytes).unwrap();
        assert!(WordVectors::read(&path).is_err());
    }
    let words = r#"{"PAD": 0, "UNK": 1, "ape": 2}"#;
    assert!(serde_json::from_str::<Vocabulary>(words).is_ok());
    for length in 0..words.len() {
        assert!(serde_json::from_str::<Vocabulary>(&words[..length]).is_err(), "cut to {length}");
    }
    let far = r#"{"PAD": 0, "UNK": 1, "ape": 9223372036854775807}"#;
    assert!(serde_json::from_str::<Vocabulary>(far).is_err());
}

/// Each file of a checkpoint, cut at every byte, with a manifest that says it must be so.
#[test]
fn checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("step-1");
    let tensor = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    let model = [("head.weight".to_owned(), tensor)].into();
    let vocabulary = Vocabulary::build(["a red star"]);
    let (config, state) = (Config::default(), TrainState::default());
    let snapshot = Snapshot {
        config: &config,
        vocabulary: &vocabulary,
        state: &state,
        model,
        ema: None,
        optimizer: None,
    };
    snapshot.write(&place).unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(place.join("manifest.json")).unwrap()).unwrap();
    for name in ["config.toml", "vocabulary.json", "state.json", "model.safetensors"] {
        let sound = fs::read(place.join(name)).unwrap();
        for length in 0..sound.len() {
            let mut manifest = manifest.clone();
            manifest["files"][name]["bytes"] = length.into();
            manifest["files"][name]["sha256"] = format!("{:x}", Sha256::digest(&sound[..length])).into();
            fs::write(place.join("manifest.json"), manifest.to_string()).unwrap();
            fs::write(place.join(name), &sound[..length]).unwrap();
            // What is cut between two keys of a configuration is one with fewer.
            let read = Checkpoint::open(&place).and_then(|checkpoint| checkpoint.weights(Weights::Raw));
            let only_space = sound[length..].iter().all(u8::is_ascii_whitespace);
            assert!(read.is_err() || name == "config.toml" || only_space, "{name} cut to {length}");
        }
        fs::write(place.join(name), &sound).unwrap();
    }
    fs::write(place.join("manifest.json"), "[".repeat(DEEP)).unwrap();
    assert!(Checkpoint::open(&place).unwrap_err().to_string().contains("manifest.json is unreadable"));
}
