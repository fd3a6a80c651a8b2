//! Tokens to masks and boxes, against the reference's own (tests/golden/data/predictions.json: token
//! sequences and what the reference makes of them, without and with scaling to the original image).

use partial_res::config::ModelConfig;
use partial_res::eval::{Place, Shape};
use partial_res::mask::Rle;
use partial_res::model::{Answer, Spoken};
use serde::Deserialize;

#[derive(Deserialize)]
struct Group {
    pad_hw: (usize, usize),
    rescale: bool,
    ori_hw: Option<(usize, usize)>,
    scale_factor: Option<[f64; 4]>,
    #[serde(default)]
    cases: Vec<Case>,
    #[serde(default)]
    box_tokens: Vec<[u32; 4]>,
    #[serde(default)]
    boxes: Vec<[f64; 4]>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    tokens: Vec<u32>,
    rle: Rle,
    area: u64,
}

fn groups() -> Vec<Group> {
    serde_json::from_str(include_str!("golden/data/predictions.json")).expect("the golden file")
}

fn said(tokens: &[u32]) -> Option<Spoken> {
    Some(Spoken { tokens: tokens.to_vec(), ..Spoken::default() })
}

#[test]
fn outlines_become_the_reference_s_masks() {
    let cfg = ModelConfig::default();
    let mut compared = 0;
    for group in groups().iter().filter(|group| !group.rescale) {
        for case in &group.cases {
            let place = Place {
                pad_hw: group.pad_hw,
                original_hw: group.pad_hw,
                scale: (1.0, 1.0),
                offset: (0.0, 0.0),
            };
            let answer = Answer { outline: said(&case.tokens), ..Answer::default() };
            let shape = Shape::of_answer(&cfg, &answer, &place);
            let mask = shape.reference_mask(&place).expect("an outline").expect("a mask");
            assert_eq!((mask.area(), &mask), (case.area, &case.rle), "{}", case.name);
            compared += 1;

            // Ours differs for two vertices alone (quirk 22).
            let ours = shape.original_mask(&place).expect("an outline").expect("a mask");
            assert_eq!(ours == mask, case.name != "four_is_box_xywh", "{}", case.name);
        }
    }
    assert_eq!(compared, 24);
}

#[test]
fn scaling_leaves_the_padding_out_where_the_reference_stretches_it() {
    let cfg = ModelConfig::default();
    for group in groups().iter().filter(|group| group.rescale && !group.cases.is_empty()) {
        let original_hw = group.ori_hw.expect("masks have an original size");
        // The image fills its padded size in one axis.
        let scale =
            (group.pad_hw.0 as f64 / original_hw.0 as f64).min(group.pad_hw.1 as f64 / original_hw.1 as f64);
        let place = Place { pad_hw: group.pad_hw, original_hw, scale: (scale, scale), offset: (0.0, 0.0) };
        let case = group.cases.iter().find(|case| case.name == "early").expect("a case");
        let answer = Answer { outline: said(&case.tokens), ..Answer::default() };
        let shape = Shape::of_answer(&cfg, &answer, &place);
        let ours = shape.original_mask(&place).expect("an outline").expect("a mask");
        assert_eq!((ours.height(), ours.width()), (case.rle.height(), case.rle.width()));
        let padded = shape.reference_mask(&place).expect("an outline").expect("a mask");
        let expected = padded.area() as f64 / (scale * scale);
        assert!((ours.area() as f64 - expected).abs() < 0.05 * expected, "{} {expected}", ours.area());
        assert!(ours.area() > case.area, "the padding is not part of the image");
    }
}

#[test]
fn box_tokens_become_the_reference_s_boxes() {
    let cfg = ModelConfig::default();
    let mut compared = 0;
    for group in groups() {
        let scale = group.scale_factor.map_or(1.0, |factor| factor[0]);
        for (&tokens, expected) in group.box_tokens.iter().zip(&group.boxes) {
            let place = Place {
                pad_hw: group.pad_hw,
                original_hw: (1000, 1000),
                scale: (scale, scale),
                offset: (0.0, 0.0),
            };
            let answer = Answer { bounds: said(&tokens), ..Answer::default() };
            let shape = Shape::of_answer(&cfg, &answer, &place);
            let found = match group.rescale {
                true => shape.original_bbox(&place).expect("a box"),
                false => shape.bbox.expect("a box").map(f64::from),
            };
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} {expected}");
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}
