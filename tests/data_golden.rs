//! Decoding, resizing, jitter and padding against values recorded from the reference
//! implementation (OpenCV, mmcv and pycocotools underneath) on made-up images and annotations.
//! Exact tests start from the recorded decoded arrays, since JPEG leaves rounding to the decoder.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use partial_res::config::{Config, Transform};
use partial_res::data::{Batch, Frame, Preparation, Referent, Sample, read_image, resize};
use partial_res::mask::{Mask, Rle, vertices};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data")
}

fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

/// Height, width and bytes of every recorded array.
fn arrays(name: &str) -> HashMap<String, (usize, usize, Vec<u8>)> {
    let bytes = fs::read(folder().join(name)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let array = |tensor: &safetensors::tensor::TensorView| {
        (tensor.shape()[0], tensor.shape()[1], tensor.data().to_vec())
    };
    tensors.iter().map(|(name, tensor)| (name.to_owned(), array(&tensor))).collect()
}

/// A recorded image, whose channels are blue, green, red, as it stands.
fn bgr(arrays: &HashMap<String, (usize, usize, Vec<u8>)>, name: &str) -> RgbImage {
    let (height, width, pixels) = &arrays[name];
    RgbImage::from_raw(*width as u32, *height as u32, pixels.clone()).unwrap()
}

fn swapped(mut image: RgbImage) -> RgbImage {
    image.pixels_mut().for_each(|pixel| pixel.0.reverse());
    image
}

fn decoded(arrays: &HashMap<String, (usize, usize, Vec<u8>)>, image_id: u64) -> RgbImage {
    bgr(arrays, &format!("decode.COCO_train2014_{image_id:012}.jpg"))
}

/// PNG is exact. Of JPEG values, four in five equal OpenCV's and the others are near: the
/// decoders round their transforms and interpolate colour differently. libjpeg-turbo is OpenCV's own.
#[test]
fn files_decode_as_in_opencv() {
    let arrays = arrays("data.safetensors");
    let names: Vec<&str> = arrays.keys().filter_map(|name| name.strip_prefix("decode.")).collect();
    assert_eq!(names.len(), 8);
    for name in names {
        let expected = swapped(bgr(&arrays, &format!("decode.{name}")));
        let found = read_image(&folder().join("images").join(name)).unwrap();
        assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
        let differences: Vec<u8> = found.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).collect();
        let largest = *differences.iter().max().unwrap();
        let mean = differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
        println!("{name}: largest {largest}, mean {mean:.3}");
        let exact = cfg!(feature = "turbojpeg") || name.ends_with(".png");
        let (most, most_mean) = if exact { (0, 0.0) } else { (4, 0.4) };
        assert!(largest <= most && mean <= most_mean, "{name}: {largest}, {mean}");
    }
}

#[derive(Deserialize)]
struct ResizeGolden {
    cases: Vec<ResizeCase>,
}

#[derive(Deserialize)]
struct ResizeCase {
    image: u64,
    kind: String,
    size_wh: (usize, usize),
    crc32: u32,
    sum: u64,
}

#[test]
fn resizing_equals_opencv_bit_for_bit() {
    let arrays = arrays("data.safetensors");
    let golden: ResizeGolden = json("resize.json");
    assert_eq!(golden.cases.len(), 120);
    for case in golden.cases {
        let image = decoded(&arrays, case.image);
        let from = (image.width() as usize, image.height() as usize);
        let pixels = image.pixels().map(|pixel| u8::from(pixel.0[0] > 128)).collect();
        let mask = Mask { height: from.1, width: from.0, pixels };
        let found = match case.kind.as_str() {
            "image.linear" => {
                resize::linear::<3>(image.as_raw(), from, case.size_wh, resize::Window::whole(case.size_wh))
            }
            "mask.linear" => {
                let whole = resize::Window::whole(case.size_wh);
                resize::linear_mask(&mask, case.size_wh, whole, case.size_wh).pixels
            }
            "mask.nearest" => resize::nearest_mask(&mask, case.size_wh, case.size_wh).pixels,
            other => panic!("{other}"),
        };
        let name = format!("image {} to {:?}, {}", case.image, case.size_wh, case.kind);
        assert_eq!(found.iter().map(|&v| u64::from(v)).sum::<u64>(), case.sum, "{name}");
        let mut crc = flate2::Crc::new();
        crc.update(&found);
        assert_eq!(crc.sum(), case.crc32, "{name}");
    }
}

#[derive(Deserialize)]
struct PipelineGolden {
    cases: Vec<PipelineCase>,
}

#[derive(Deserialize)]
struct PipelineCase {
    key: String,
    ann: Referent,
    size: usize,
    num_ray: usize,
    #[serde(default)]
    center_sampling: bool,
    load: Option<Loaded>,
    resize: Option<Resized>,
    pad: Option<Padded>,
    vertices: Option<[Vec<f32>; 2]>,
}

#[derive(Deserialize)]
struct Loaded {
    gt_bbox: [f64; 4],
    is_crowd: u8,
    rle: Rle,
    area: u64,
}

#[derive(Deserialize)]
struct Resized {
    img_shape: [usize; 3],
    scale_factor: [f64; 4],
    gt_bbox: [f64; 4],
    rle: Rle,
}

#[derive(Deserialize)]
struct Padded {
    pad_shape: [usize; 3],
    rle: Rle,
    img_sum_rgb: [f64; 3],
}

/// -1 stands for a vertex that is not there.
fn points([xs, ys]: &[Vec<f32>; 2]) -> Vec<[f32; 2]> {
    xs.iter().zip(ys).map(|(&x, &y)| [x, y]).filter(|point| point[0] >= 0.0).collect()
}

fn image_id(referent: &Referent) -> u64 {
    match referent.image_id {
        partial_res::data::ImageId::Number(number) => number,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn annotations_go_through_the_pipeline_as_in_the_reference() {
    let arrays = arrays("data.safetensors");
    let golden: PipelineGolden = json("pipeline.json");
    assert_eq!(golden.cases.len(), 27);
    let mut compared = 0;
    for case in golden.cases {
        let PipelineCase { key, ann, size, num_ray, .. } = &case;
        let mask = ann.mask().unwrap();
        let (Some(load), Some(resized), Some(pad), Some(expected)) =
            (&case.load, &case.resize, &case.pad, &case.vertices)
        else {
            // Four numbers, which the reference can't read (quirk 30).
            assert_eq!((mask.area(), ann.is_crowd()), (0, false), "{key}");
            continue;
        };
        assert_eq!(ann.corners(), load.gt_bbox, "{key}");
        assert_eq!(ann.is_crowd(), load.is_crowd == 1, "{key}");
        assert_eq!((ann.rle().unwrap(), ann.rle().unwrap().area()), (load.rle.clone(), load.area), "{key}");
        if let Some((height, width, pixels)) = arrays.get(&format!("{key}.load.mask")) {
            assert_eq!(mask, Mask { height: *height, width: *width, pixels: pixels.clone() }, "{key}");
        }

        let image = decoded(&arrays, image_id(ann));
        let frame = Frame::resize((ann.width, ann.height), *size);
        assert_eq!(frame.hw(), (resized.img_shape[0], resized.img_shape[1]), "{key}");
        assert_eq!(
            [frame.scale().0 as f32, frame.scale().1 as f32].map(f64::from),
            resized.scale_factor[..2],
            "{key}"
        );
        assert_eq!(frame.bbox(ann.corners()), resized.gt_bbox, "{key}");
        assert_eq!(frame.mask(&mask, 1).to_rle().unwrap(), resized.rle, "{key}");
        if let Some((.., pixels)) = arrays.get(&format!("{key}.resize.img")) {
            assert!(&frame.image(image.clone().into()) == pixels, "{key}: image");
        }

        assert_eq!(frame.pad_hw(32), (pad.pad_shape[0], pad.pad_shape[1]), "{key}");
        let padded = frame.mask(&mask, 32);
        assert_eq!(padded.to_rle().unwrap(), pad.rle, "{key}");
        let planes = question(swapped(image), *size).images;
        let sums =
            planes.chunks_exact(planes.len() / 3).map(|plane| plane.iter().map(|&v| f64::from(v)).sum());
        assert_eq!(sums.collect::<Vec<f64>>(), pad.img_sum_rgb, "{key}");
        if let Some((.., pixels)) = arrays.get(&format!("{key}.pad.img")) {
            let interleaved: Vec<u8> =
                (0..planes.len()).map(|i| planes[i % 3 * (planes.len() / 3) + i / 3]).collect();
            assert!(&interleaved == pixels, "{key}: padded image");
        }

        if !case.center_sampling {
            assert_eq!(vertices(&padded, *num_ray), points(expected), "{key}");
            compared += 1;
        }
    }
    assert_eq!(compared, 21);
}

/// The image alone in a batch.
fn question(image: RgbImage, image_size: usize) -> Batch {
    let preparation = Preparation {
        image_size,
        transform: Transform::Resize,
        stride: 32,
        ..Preparation::evaluation(&Config::default())
    };
    Batch::collate(vec![Sample::question(Arc::new(image), vec![vec![3, 0]], &preparation)], 2)
}

#[derive(Deserialize)]
struct JitterGolden {
    cases: Vec<JitterCase>,
    repeated_loading_bbox: Vec<[f64; 4]>,
}

#[derive(Deserialize)]
struct JitterCase {
    key: String,
    ann: Referent,
    out_max_size: usize,
    with_bbox: bool,
    random_used: Vec<f64>,
    img_shape: [usize; 3],
    gt_bbox: [f64; 4],
    rle: Rle,
    pad_shape: [usize; 3],
    vertices18: Option<[Vec<f32>; 2]>,
}

#[test]
fn jitter_equals_the_reference_given_its_random_numbers() {
    let arrays = arrays("data.safetensors");
    let golden: JitterGolden = json("jitter.json");
    assert_eq!(golden.cases.len(), 7);
    // Quirk 29: the reference's box grows with every loading; ours is always its first.
    assert_eq!(golden.cases[0].ann.corners(), golden.repeated_loading_bbox[0]);
    for case in golden.cases {
        let JitterCase { key, ann, .. } = &case;
        let mask = ann.mask().unwrap();
        let masks: &[&Mask] = if case.with_bbox { &[] } else { &[&mask] };
        let mut draws = case.random_used.iter();
        let frame = Frame::jitter(
            (ann.width, ann.height),
            case.out_max_size,
            [0.3, 1.4],
            &[ann.corners()],
            masks,
            || *draws.next().unwrap(),
        );
        assert_eq!(draws.len(), 0, "{key}");
        // Quirk 33b: where nothing is cropped, the reference remembers the wrong size.
        let hw = if key == "lsj.escape" { (64, 96) } else { (case.img_shape[0], case.img_shape[1]) };
        assert_eq!(frame.hw(), hw, "{key}");
        assert!(
            frame.image(decoded(&arrays, image_id(ann)).into()) == arrays[&format!("{key}.img")].2,
            "{key}: image"
        );
        assert_eq!(frame.bbox(ann.corners()), case.gt_bbox, "{key}");
        assert_eq!(frame.mask(&mask, 1).to_rle().unwrap(), case.rle, "{key}");
        assert_eq!(frame.pad_hw(32), (case.pad_shape[0], case.pad_shape[1]), "{key}");
        if let Some(expected) = &case.vertices18 {
            assert_eq!(vertices(&frame.mask(&mask, 32), 18), points(expected), "{key}");
        }
    }
}
