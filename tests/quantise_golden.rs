//! Tokens of coordinates, coordinates of tokens and the lines of co-content features against the
//! reference (`quantise.json`, `predictions.json`).

use std::path::Path;

use partial_res::config::ModelConfig;
use partial_res::model::co_content_line;
use partial_res::model::quantise::{dequantise_box, outline, quantise, quantise_f32};
use serde_json::Value;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn coordinates_become_tokens() {
    let golden = golden("quantise.json");
    let pad_hw: Vec<[usize; 2]> = read(&golden["pad_hw"]);
    let (short, long): (Vec<Vec<f32>>, Vec<Vec<f64>>) =
        (read(&golden["coords"]), read(&golden["coords_f64"]));
    let (from_short, from_long): (Vec<Vec<i64>>, Vec<Vec<i64>>) =
        (read(&golden["tokens_f32"]), read(&golden["tokens_f64"]));
    for (row, [height, width]) in pad_hw.into_iter().enumerate() {
        let size = |i: usize| [width, height][i % 2];
        let tokens: Vec<i64> =
            short[row].iter().enumerate().map(|(i, &x)| quantise_f32(x, size(i), 1000)).collect();
        assert_eq!(tokens, from_short[row]);
        let tokens: Vec<i64> =
            long[row].iter().enumerate().map(|(i, &x)| quantise(x, size(i), 1000)).collect();
        assert_eq!(tokens, from_long[row]);
    }
    for (size, tokens) in golden["integer_coordinate_table"].as_object().unwrap() {
        let size = size.parse().unwrap();
        let expected: Vec<i64> = read(tokens);
        let found: Vec<i64> = (0..expected.len()).map(|x| quantise_f32(x as f32, size, 1000)).collect();
        assert_eq!(found, expected, "padded size {size}");
    }
}

#[test]
fn tokens_point_at_lines() {
    for (lines, expected) in golden("quantise.json")["co_content_index"].as_object().unwrap() {
        let lines = lines.parse().unwrap();
        let expected: Vec<usize> = read(expected);
        let found: Vec<usize> = (0..expected.len()).map(|t| co_content_line(t as u32, 1000, lines)).collect();
        assert_eq!(found, expected, "{lines} lines");
    }
}

#[test]
fn tokens_become_boxes_and_outlines() {
    let cfg = ModelConfig::default();
    let golden = golden("predictions.json");
    let boxes = golden.as_array().unwrap().iter().find(|group| group.get("box_tokens").is_some()).unwrap();
    let tokens: Vec<[u32; 4]> = read(&boxes["box_tokens"]);
    let expected: Vec<[f64; 4]> = read(&boxes["boxes"]);
    for (tokens, expected) in tokens.into_iter().zip(expected) {
        assert_eq!(dequantise_box(&cfg, tokens, (96, 128)).map(f64::from), expected);
    }
    let end = cfg.end_token();
    assert_eq!(outline(&cfg, &[500, 250, 1, end, 7, 7], (96, 128)), [[64.0, 24.0]]);
    let centred = ModelConfig { decode_at_centre: true, bins: 4, ..cfg };
    assert_eq!(outline(&centred, &[0, 3], (8, 16)), [[2.0, 7.0]]);
}
