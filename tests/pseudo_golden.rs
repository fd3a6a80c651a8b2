//! Which predictions become pseudo labels, against what the reference's selection computed.

use std::path::Path;

use partial_res::mask::Rle;
use partial_res::pseudo::{Judge, box_mask, projection_term};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    threshold: f64,
    cases: Vec<Case>,
    project_terms: Vec<Terms>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    height: usize,
    width: usize,
    bbox: [f64; 4],
    prediction: Rle,
    polygons: Option<Vec<Vec<f64>>>,
    box_pixels_xyxy: Option<[i64; 4]>,
    project_term: Option<f32>,
    project_term_union_of_parts: Option<f32>,
    mask_rasterised_area: Option<u64>,
    kept_if_each_instance_stands_alone: bool,
}

#[derive(Deserialize)]
struct Terms {
    mask: Rle,
    box_mask: Rle,
    project_term: f32,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data/pseudo.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn projection_terms_are_those_of_the_reference() {
    for terms in golden().project_terms {
        assert_eq!(projection_term(&terms.mask, &terms.box_mask).unwrap(), terms.project_term);
    }
}

#[test]
fn predictions_are_judged_each_for_itself() {
    let golden = golden();
    let judge = Judge { threshold: golden.threshold };
    assert_eq!(judge, Judge::default());
    for case in golden.cases {
        let judgement = judge.judge(&case.prediction, case.bbox, (case.height, case.width)).unwrap();
        assert_eq!(judgement.polygons, case.polygons.clone().unwrap_or_default(), "{}", case.name);
        assert_eq!(judgement.projection_term, case.project_term_union_of_parts, "{}", case.name);
        let kept = if judgement.polygons.len() > 1 {
            // The reference drops every prediction of several parts.
            assert!(!case.kept_if_each_instance_stands_alone);
            case.project_term_union_of_parts.is_some_and(|term| f64::from(term) < golden.threshold)
        } else {
            assert_eq!(judgement.projection_term, case.project_term, "{}", case.name);
            case.kept_if_each_instance_stands_alone
        };
        assert_eq!(judgement.kept, kept, "{}", case.name);

        if let (Some(polygons), Some(area), Some(corners)) =
            (case.polygons, case.mask_rasterised_area, case.box_pixels_xyxy)
        {
            assert_eq!(
                Rle::from_polygons(case.height, case.width, &polygons).unwrap().area(),
                area,
                "{}",
                case.name
            );
            let [x1, y1, x2, y2] = corners.map(|v| v as u64);
            let inside = (x2.min(case.width as u64) - x1) * (y2.min(case.height as u64) - y1);
            assert_eq!(box_mask(case.bbox, case.height, case.width).unwrap().area(), inside, "{}", case.name);
        }
    }
}
