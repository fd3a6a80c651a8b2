//! Masks against values recorded from the libraries that the reference uses, pycocotools and
//! OpenCV, on made-up polygons, blobs and token sequences.

use std::path::Path;

use partial_res::mask::{Mask, Merge, Rle, Segmentation, find_contours, iou_matrix, vertices};
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct RleGolden {
    rasterise: Vec<Rasterise>,
    merge_first_three_64: Rle,
    iou: Iou,
    compress: Vec<Compress>,
}

#[derive(Deserialize)]
struct Rasterise {
    h: usize,
    w: usize,
    polygon: Option<Vec<f64>>,
    box_xywh: Option<[f64; 4]>,
    rle: Segmentation,
    uncompressed: Vec<u32>,
    area: u64,
    bbox: Option<[f64; 4]>,
}

#[derive(Deserialize)]
struct Iou {
    rles: Vec<Rle>,
    iou_crowd0: Vec<Vec<f64>>,
    iou_crowd1: Vec<Vec<f64>>,
    iou_mixed: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Compress {
    counts_list: Vec<u32>,
    size: [usize; 2],
    counts: String,
}

#[test]
fn polygons_and_boxes_rasterise_as_in_pycocotools() {
    let golden: RleGolden = golden("rle.json");
    for case in &golden.rasterise {
        let rle = match (&case.polygon, case.box_xywh) {
            (Some(polygon), None) => Rle::from_polygon(case.h, case.w, polygon),
            (None, Some(sides)) => Rle::from_box(case.h, case.w, sides),
            other => panic!("neither polygon nor box: {other:?}"),
        }
        .unwrap();
        assert_eq!(rle.counts(), case.uncompressed);
        assert_eq!(Segmentation::from(&rle), case.rle);
        assert_eq!(rle.area(), case.area);
        if let Some(bbox) = case.bbox {
            assert_eq!(rle.bounding_box().map(f64::from), bbox);
        }
        assert_eq!(rle.to_mask().to_rle().unwrap(), rle);
    }
    let of_64: Vec<Rle> = golden
        .rasterise
        .iter()
        .filter(|case| (case.h, case.w) == (64, 64))
        .take(3)
        .map(|case| case.rle.to_rle(64, 64).unwrap())
        .collect();
    assert_eq!(Rle::merge(&of_64, Merge::Union).unwrap(), golden.merge_first_three_64);
}

#[test]
fn iou_and_strings_are_those_of_pycocotools() {
    let RleGolden { iou, compress, .. } = golden("rle.json");
    let n = iou.rles.len();
    let mixed: Vec<bool> =
        (0..n).map(|i| iou.iou_mixed.iter().zip(&iou.iou_crowd1).all(|(m, c)| m[i] == c[i])).collect();
    assert!(mixed.contains(&true) && mixed.contains(&false));
    for (crowd, expected) in
        [(vec![false; n], &iou.iou_crowd0), (vec![true; n], &iou.iou_crowd1), (mixed, &iou.iou_mixed)]
    {
        assert_eq!(&iou_matrix(&iou.rles, &iou.rles, &crowd).unwrap(), expected);
    }
    for Compress { counts_list, size: [h, w], counts } in compress {
        let rle = Rle::new(h, w, counts_list).unwrap();
        assert_eq!(rle.to_compressed(), counts);
        assert_eq!(Rle::from_compressed(h, w, &counts).unwrap(), rle);
    }
}

#[derive(Deserialize)]
struct ContourCase {
    name: String,
    rows: Vec<String>,
    none: Vec<Vec<[u32; 2]>>,
    simple: Vec<Vec<[u32; 2]>>,
    area: Vec<f64>,
    /// Next, previous, first child, parent.
    hierarchy: Vec<[i32; 4]>,
    /// Absent for the empty mask, -1 where there is no vertex.
    vertices12: Option<[Vec<f32>; 2]>,
    vertices18: Option<[Vec<f32>; 2]>,
}

#[test]
fn contours_and_vertices_come_in_the_order_of_opencv() {
    for case in golden::<Vec<ContourCase>>("contours.json") {
        let mask = Mask {
            height: case.rows.len(),
            width: case.rows[0].len(),
            pixels: case.rows.iter().flat_map(|row| row.bytes().map(|b| b - b'0')).collect(),
        };
        let contours = find_contours(&mask);
        let points: Vec<_> = contours.iter().map(|c| c.points.clone()).collect();
        assert_eq!(points, case.none, "{}", case.name);
        let corners: Vec<_> = contours.iter().map(|c| c.corners()).collect();
        assert_eq!(corners, case.simple, "{}", case.name);
        let parents: Vec<i32> = contours.iter().map(|c| c.parent.map_or(-1, |p| p as i32)).collect();
        assert_eq!(parents, case.hierarchy.iter().map(|h| h[3]).collect::<Vec<_>>(), "{}", case.name);
        assert_eq!(contours.iter().map(|c| c.area()).collect::<Vec<_>>(), case.area, "{}", case.name);
        for (count, expected) in [(12, case.vertices12), (18, case.vertices18)] {
            let [xs, ys] = expected.unwrap_or_default();
            let mut expected: Vec<[f32; 2]> = xs.into_iter().zip(ys).map(|(x, y)| [x, y]).collect();
            expected.retain(|&point| point != [-1.0, -1.0]);
            assert_eq!(vertices(&mask, count), expected, "{} {count}", case.name);
        }
    }
}

#[derive(Deserialize)]
struct Predictions {
    pad_hw: [usize; 2],
    rescale: bool,
    /// Absent in the groups about boxes.
    #[serde(default)]
    cases: Vec<Prediction>,
}

#[derive(Deserialize)]
struct Prediction {
    name: String,
    tokens: Vec<u32>,
    rle: Rle,
}

#[test]
fn predicted_outlines_rasterise_as_in_the_reference() {
    const BINS: u32 = 1000;
    let groups: Vec<Predictions> = golden("predictions.json");
    // `rescale` stretches the padding too, a defect that is not repeated.
    for Predictions { pad_hw: [h, w], cases, .. } in groups.into_iter().filter(|group| !group.rescale) {
        for case in cases {
            let cut = case.tokens.iter().take_while(|&&token| token != BINS).count();
            let scale =
                |(i, &token): (usize, &u32)| f64::from(token) / f64::from(BINS) * [w, h][i % 2] as f64;
            let outline: Vec<f64> = case.tokens[..cut / 2 * 2].iter().enumerate().map(scale).collect();
            let found = Rle::from_polygon(h, w, &outline).unwrap();
            if case.name == "four_is_box_xywh" {
                // The reference takes two points for a box; they are a polygon without area.
                assert_eq!(found.area(), 0);
            } else {
                assert_eq!(found, case.rle, "{}", case.name);
            }
        }
    }
}
