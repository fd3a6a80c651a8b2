//! Writing the data set: images once, annotations for each manner, each folder whole or not at all.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::manner::Manner;
use super::record::{DATA_SOURCE, Drawing, Record};
use super::scratch::NewFolder;
use super::split::Split;
use super::summary::{SplitSummary, Summary};
use super::{ShapesConfig, ShapesError, wording};

/// Raised whenever the same configuration gives other bytes.
const VERSION: u32 = 1;
const STAMP: &str = "refshapes.json";
const JPEG_QUALITY: u8 = 92;

/// What the images were made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ImageStamp {
    version: u32,
    seed: u64,
    size: usize,
    images: usize,
    val_images: usize,
    test_images: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct AnnotationStamp {
    manner: Manner,
    made_from: ImageStamp,
    splits: Vec<SplitSummary>,
}

#[derive(Serialize)]
struct Instances<'a> {
    train: &'a [Record],
    val: &'a [Record],
    #[serde(rename = "testA")]
    test_a: &'a [Record],
    #[serde(rename = "testB")]
    test_b: &'a [Record],
}

/// Makes RefShapes under `root`, as far as it isn't there: `images/refshapes/`, the same for all
/// manners, and `annotations/refshapes-<manner>/`. Folders are written beside and renamed, so
/// that one that is there is whole. `progress` is called with images done and images in all, from
/// several threads.
///
/// Errors: a folder of another seed, size or number of images is in the way; the disk.
pub fn generate(
    config: &ShapesConfig,
    root: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Summary, ShapesError> {
    config.check()?;
    let stamp = ImageStamp {
        version: VERSION,
        seed: config.seed,
        size: config.size,
        images: config.images,
        val_images: config.val_images,
        test_images: config.test_images,
    };
    let images = root.join("images").join(DATA_SOURCE);
    let annotations = root.join("annotations").join(config.dataset());
    let images_there = is_there(&images, &stamp)?;
    if let Some(found) = read_stamp::<AnnotationStamp>(&annotations)? {
        same(&annotations, &found.made_from, &stamp)?;
        if images_there {
            return Ok(Summary::new(config, found.splits, true));
        }
    }
    let new_folder =
        |target| NewFolder::beside(target).map_err(|source| ShapesError::Io { path: target.into(), source });
    let image_folder = if images_there { None } else { Some(new_folder(&images)?) };
    let drawings = draw_all(config, image_folder.as_ref().map(|folder| folder.path()), progress)?;
    if let Some(folder) = image_folder {
        write_json(&folder.path().join(STAMP), &stamp)?;
        if !put_in_place(folder, &images)? {
            is_there(&images, &stamp)?;
        }
    }
    let splits: Vec<SplitSummary> = Split::ALL
        .iter()
        .zip(&drawings)
        .map(|(split, drawings)| SplitSummary::of(*split, drawings))
        .collect();
    let records: Vec<Vec<Record>> = drawings
        .into_iter()
        .map(|drawings| drawings.into_iter().flat_map(|drawing| drawing.records).collect())
        .collect();
    let folder = new_folder(&annotations)?;
    let [train, val, test_a, test_b] = [0, 1, 2, 3].map(|split| records[split].as_slice());
    write_json(&folder.path().join("instances.json"), &Instances { train, val, test_a, test_b })?;
    write_json(&folder.path().join("vocabulary.json"), &wording::vocabulary())?;
    let made = AnnotationStamp { manner: config.manner, made_from: stamp.clone(), splits: splits.clone() };
    write_json(&folder.path().join(STAMP), &made)?;
    if !put_in_place(folder, &annotations)?
        && let Some(found) = read_stamp::<AnnotationStamp>(&annotations)?
    {
        same(&annotations, &found.made_from, &stamp)?;
    }
    Ok(Summary::new(config, splits, false))
}

/// Draws every image of every split, in parallel; the order of the result is that of the images.
fn draw_all(
    config: &ShapesConfig,
    folder: Option<&Path>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Vec<Drawing>>, ShapesError> {
    let counts = Split::ALL.map(|split| config.images_of(split));
    let total = counts.iter().sum();
    let done = AtomicUsize::new(0);
    let draw = |split: Split, index: usize| {
        let mut drawing = Drawing::draw(config.seed, split, index, config.size, config.manner);
        let rgb = std::mem::take(&mut drawing.rgb);
        if let Some(folder) = folder {
            write_image(&folder.join(format!("{:06}.jpg", drawing.image_id)), &rgb, &drawing)?;
        }
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        Ok(drawing)
    };
    Split::ALL
        .into_iter()
        .zip(counts)
        .map(|(split, count)| (0..count).into_par_iter().map(|index| draw(split, index)).collect())
        .collect()
}

fn write_image(path: &Path, rgb: &[u8], drawing: &Drawing) -> Result<(), ShapesError> {
    let mut bytes = Vec::with_capacity(rgb.len() / 2);
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode(rgb, drawing.width as u32, drawing.height as u32, ExtendedColorType::Rgb8)
        .map_err(|source| ShapesError::Encode { path: path.into(), source })?;
    fs::write(path, bytes).map_err(|source| ShapesError::Io { path: path.into(), source })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ShapesError> {
    let io = |source| ShapesError::Io { path: path.into(), source };
    let mut file = BufWriter::new(fs::File::create(path).map_err(io)?);
    serde_json::to_writer(&mut file, value)
        .map_err(|source| ShapesError::Json { path: path.into(), source })?;
    file.write_all(b"\n").and_then(|()| file.flush()).map_err(io)
}

/// What the data set `config.dataset()` in `root` was made from; `config` where it isn't there.
pub fn made_from(config: &ShapesConfig, root: &Path) -> Result<ShapesConfig, ShapesError> {
    let found = read_stamp::<AnnotationStamp>(&root.join("annotations").join(config.dataset()))?;
    Ok(found.map_or_else(
        || config.clone(),
        |AnnotationStamp { manner, made_from, .. }| {
            let ImageStamp { seed, size, images, val_images, test_images, .. } = made_from;
            ShapesConfig { manner, images, val_images, test_images, size, seed }
        },
    ))
}

/// The stamp of a folder, `None` where there is no folder.
fn read_stamp<T: DeserializeOwned>(folder: &Path) -> Result<Option<T>, ShapesError> {
    if !folder.exists() {
        return Ok(None);
    }
    let path = folder.join(STAMP);
    let foreign = |reason: String| ShapesError::Foreign { path: folder.into(), reason };
    let text = fs::read(&path).map_err(|error| foreign(format!("its {STAMP} can't be read: {error}")))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| foreign(format!("its {STAMP}: {error}")))
}

fn is_there(images: &Path, asked: &ImageStamp) -> Result<bool, ShapesError> {
    match read_stamp::<ImageStamp>(images)? {
        Some(found) => same(images, &found, asked).map(|()| true),
        None => Ok(false),
    }
}

fn same(folder: &Path, found: &ImageStamp, asked: &ImageStamp) -> Result<(), ShapesError> {
    if found == asked {
        return Ok(());
    }
    let pairs = [
        ("version", u64::from(found.version), u64::from(asked.version)),
        ("seed", found.seed, asked.seed),
        ("size", found.size as u64, asked.size as u64),
        ("images", found.images as u64, asked.images as u64),
        ("val images", found.val_images as u64, asked.val_images as u64),
        ("test images", found.test_images as u64, asked.test_images as u64),
    ];
    let differing = || pairs.iter().filter(|(_, found, asked)| found != asked);
    let list = |values: Vec<String>| values.join(", ");
    let ImageStamp { seed, size, images, val_images, test_images, .. } = *found;
    Err(ShapesError::OtherTree {
        path: folder.into(),
        arguments: format!(
            "--images {images} --val-images {val_images} --test-images {test_images} --size {size} --seed {seed}"
        ),
        found: list(differing().map(|(name, found, _)| format!("{name} {found}")).collect()),
        asked: list(differing().map(|(name, _, asked)| format!("{name} {asked}")).collect()),
    })
}

/// Renames the finished folder. `false`: another process was first.
fn put_in_place(folder: NewFolder, target: &Path) -> Result<bool, ShapesError> {
    folder.put(target).map_err(|source| ShapesError::Io { path: target.into(), source })
}
