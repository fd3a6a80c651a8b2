//! `convert darknet` against the file that the reference reads (golden `darknet_order.json`: made
//! with the fill rule, written by the reference's own order of layers).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use partial_res::bench::golden::filled;
use partial_res::config::DarknetConfig;
use partial_res::convert::{ConvertError, Output, convert_darknet, darknet_units, sha256};
use partial_res::formats::darknet::DarknetError;
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats").join(name)
}

fn order() -> Value {
    serde_json::from_str(&std::fs::read_to_string(golden("darknet_order.json")).unwrap()).unwrap()
}

/// The tensors of the golden list: name, shape, place in the file.
fn tensors(order: &Value) -> Vec<(String, Vec<usize>, usize)> {
    let shape =
        |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let entry = |t: &Value| {
        (
            t["name"].as_str().unwrap().to_owned(),
            shape(&t["shape"]),
            t["offset_floats"].as_u64().unwrap() as usize,
        )
    };
    order["full"]["tensors"].as_array().unwrap().iter().map(entry).collect()
}

fn read(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn the_full_file_has_the_golden_hash_and_comes_back_equal() {
    let order = order();
    let mut bytes: Vec<u8> = order["header"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|n| (n.as_i64().unwrap() as i32).to_le_bytes())
        .collect();
    for (name, shape, offset) in tensors(&order) {
        assert_eq!(bytes.len(), 20 + 4 * offset, "{name}");
        bytes.extend(filled(&name, &shape).iter().flat_map(|value| value.to_le_bytes()));
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, out) =
        (folder.path().join("darknet.weights"), folder.path().join("weights/darknet.safetensors"));
    // A whole YOLOv3 goes on after the backbone.
    bytes.extend([7; 1000]);
    std::fs::write(&file, &bytes[..bytes.len() - 1000]).unwrap();
    assert_eq!(sha256(&file).unwrap(), order["full"]["sha256"].as_str().unwrap());
    std::fs::write(&file, &bytes).unwrap();
    drop(bytes);

    let report = convert_darknet(&file, &DarknetConfig::default(), &out, Output::default()).unwrap();
    assert_eq!((report.left_over, report.modules.len()), (1000, 14));
    let text = report.to_string();
    assert!(text.contains("yolov3.weights with them") && text.contains(&sha256(&out).unwrap()), "{text}");

    let mut found = read(&out);
    for (name, shape, _) in tensors(&order) {
        let tensor = found.remove(&name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(tensor.dims(), shape, "{name}");
        assert!(values(&tensor) == filled(&name, &shape), "{name}");
    }
    assert!(found.iter().all(|(name, t)| name.ends_with("num_batches_tracked") && t.dtype() == DType::I64));
    assert_eq!(found.len(), darknet_units(&DarknetConfig::default()).len());
}

#[test]
fn a_short_file_names_the_first_missing_layer_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let (file, full) = (golden("darknet_first3.weights"), DarknetConfig::default());
    let error = convert_darknet(&file, &full, &out, Output::default()).unwrap_err();
    let ConvertError::Darknet { source: DarknetError::Short { tensor, complete, .. }, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((tensor.as_str(), *complete), ("vis_enc.darknet.3.bn.bias", 4));
    assert!(error.to_string().contains("darknet_first3.weights: the file ends too early"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
