//! The reference's dump of pseudo labels to `predictions.jsonl`.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{ConvertError, Output, sha256};
use crate::data::{Annotations, Frame, Referent};
use crate::formats::pickle::Value;
use crate::formats::torch::{Container, TorchFile};
use crate::mask::{Mask, Rle};
use crate::nn::Arithmetic;
use crate::pseudo::{Asked, Candidate, Header, Judge, Method, Prediction, outlines};
use crate::report::Weights;

/// What to convert.
#[derive(Clone, Debug)]
pub struct PredictionsRequest<'a> {
    /// `refine_data/<dataset>_instances_refine.pth`.
    pub file: &'a Path,
    /// The annotation file whose `split` was labelled, in the order of the dump.
    pub annotations: &'a Path,
    pub dataset: &'a str,
    pub split: &'a str,
    /// Longest side of the images that the network saw, and the stride their sides were padded to.
    pub image_size: usize,
    pub stride: usize,
    /// Count masks that can't be decoded as empty, instead of refusing the dump.
    pub skip_broken: bool,
    pub out: &'a Path,
    pub output: Output,
}

/// What was converted.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionsReport {
    pub out: PathBuf,
    pub referents: usize,
    /// Predictions without any pixel.
    pub empty: usize,
    /// Those whose mask can't be decoded, with the reason; they count as empty.
    pub broken: Vec<(usize, String)>,
    /// Mean IoU as the dump says, percent.
    pub miou: f64,
}

/// Reads the dump, a list of (IoU in percent, true mask, predicted mask) in the order of the split,
/// brings each predicted mask from the resized and padded image (quirk 41) to the original one,
/// pixel by pixel, and writes `out`.
///
/// The dump doesn't say which expression was asked (the reference draws one) nor the tokens: lines
/// have the first expression and no tokens. The weights are the raw ones (quirk 53).
///
/// # Errors
/// A dump of other annotations; a mask that can't be decoded, unless `skip_broken`.
pub fn convert_predictions(request: &PredictionsRequest) -> Result<PredictionsReport, ConvertError> {
    request.output.check(request.out)?;
    let path = request.file;
    let content = |problem: String| ConvertError::Content { path: path.into(), problem };
    let bytes = std::fs::read(path).map_err(|source| ConvertError::Read { path: path.into(), source })?;
    let torch = |source| ConvertError::Torch { path: path.into(), source: Box::new(source) };
    let container = Container::open(&bytes).map_err(torch)?;
    let dump = dump(&container.read().map_err(torch)?).map_err(content)?;

    let annotations = Annotations::read(request.annotations)?;
    let referents = annotations.referents(request.split)?;
    if dump.len() != referents.len() {
        let (found, expected, split) = (dump.len(), referents.len(), request.split);
        return Err(content(format!(
            "{found} predictions, but {split} of {} has {expected} referents: they don't belong together",
            request.annotations.display()
        )));
    }
    let broken: Vec<(usize, String)> = dump
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| entry.mask.as_ref().err().map(|problem| (index, problem.clone())))
        .collect();
    if let Some((index, problem)) = broken.first().filter(|_| !request.skip_broken) {
        return Err(content(format!(
            "prediction {index}: its mask: {problem}; {} of {} masks can't be decoded, --skip-broken takes them for empty",
            broken.len(),
            dump.len()
        )));
    }
    let header = Header {
        format: Header::FORMAT,
        dataset: request.dataset.to_owned(),
        annotations_sha256: crate::pseudo::sha256(annotations.text()),
        split: request.split.to_owned(),
        referents: referents.len(),
        checkpoint_sha256: sha256(path)?,
        weights: Weights::Raw,
        method: Method::Greedy,
        expressions: Asked::First,
        batch_size: 0,
        preparation: String::new(),
        arithmetic: Arithmetic::F32,
    };
    let predictions = dump.par_iter().zip(referents).enumerate().map(|(index, (entry, referent))| {
        let candidate = candidate(entry.mask.as_ref().ok(), referent, request)
            .map_err(|problem| content(format!("prediction {index}: {problem}")))?;
        Ok(Prediction { index, image_id: referent.image_id.clone(), candidates: vec![candidate] })
    });
    let predictions: Vec<Prediction> = predictions.collect::<Result<_, ConvertError>>()?;

    let failed = |source| ConvertError::Write { path: request.out.into(), source };
    request.output.write(request.out, |writer| {
        let mut line = |text: String| writeln!(writer, "{text}").map_err(failed);
        line(serde_json::to_string(&header).expect("plain data"))?;
        predictions
            .iter()
            .try_for_each(|prediction| line(serde_json::to_string(prediction).expect("plain data")))
    })?;
    let ious = dump.iter().map(|entry| entry.iou).sum::<f64>();
    Ok(PredictionsReport {
        out: request.out.into(),
        referents: referents.len(),
        empty: predictions.iter().filter(|p| p.candidates.iter().all(|c| c.mask.area() == 0)).count(),
        broken,
        miou: ious / (dump.len().max(1) as f64),
    })
}

struct Entry {
    iou: f64,
    /// Or what is wrong with it.
    mask: Result<Rle, String>,
}

fn dump(file: &TorchFile) -> Result<Vec<Entry>, String> {
    let root = file.root();
    let list =
        file.items(root).ok_or_else(|| format!("{}, expected a list of predictions", file.describe(root)))?;
    let entry = |(index, &value): (usize, &Value)| {
        let wrong = |what: String| format!("prediction {index}: {what}");
        let Some(&[iou, _truth, mask]) = file.items(value) else {
            return Err(wrong(format!("{}, expected IoU, true mask, predicted mask", file.describe(value))));
        };
        let iou = file.number(iou).ok_or_else(|| wrong(format!("its IoU is {}", file.describe(iou))))?;
        let mask = rle(file, mask).map_err(|problem| wrong(format!("its mask: {problem}")))?;
        Ok(Entry { iou, mask })
    };
    list.iter().enumerate().map(entry).collect()
}

/// `{"size": [height, width], "counts": b"…"}`. The inner error is run lengths that make no mask.
fn rle(file: &TorchFile, value: Value) -> Result<Result<Rle, String>, String> {
    let (size, counts) = (file.get(value, "size"), file.get(value, "counts"));
    let size = size.and_then(|size| file.items(size));
    let (Some(&[Value::Int(height), Value::Int(width)]), Some(counts)) = (size, counts) else {
        return Err(format!("{}, expected size and counts", file.describe(value)));
    };
    let side = |side: i64| usize::try_from(side).map_err(|_| format!("size {height} x {width}"));
    let bytes = file.bytes(counts).map(|bytes| bytes.into_owned());
    let bytes = bytes.or_else(|| file.text(counts).map(|text| text.as_bytes().to_vec()));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| format!("counts are {}", file.describe(counts)))?;
    Ok(Rle::from_compressed(side(height)?, side(width)?, &text).map_err(|error| error.to_string()))
}

/// `mask` is none where it can't be decoded.
fn candidate(
    mask: Option<&Rle>,
    referent: &Referent,
    request: &PredictionsRequest,
) -> Result<Candidate, String> {
    let (height, width) = (referent.height, referent.width);
    let error = |error: crate::mask::MaskError| error.to_string();
    let mask = match mask {
        Some(mask) => in_image(mask, referent, request)?,
        None => Rle::empty(height, width).map_err(error)?,
    };
    let judgement = Judge::default().judge(&mask, referent.bbox, (height, width)).map_err(error)?;
    Ok(Candidate {
        expression: referent.expressions.first().cloned().unwrap_or_default(),
        tokens: Vec::new(),
        polygons: outlines(&mask),
        projection_term: judgement.projection_term,
        mask,
        score: None,
        agreement: None,
    })
}

/// The mask brought from the network's image to the original one.
fn in_image(mask: &Rle, referent: &Referent, request: &PredictionsRequest) -> Result<Rle, String> {
    let (height, width) = (referent.height, referent.width);
    let frame = Frame::resize((width, height), request.image_size);
    let (pad_height, pad_width) = frame.pad_hw(request.stride);
    if (mask.height(), mask.width()) != (pad_height, pad_width) {
        return Err(format!(
            "a mask of {} x {}, but the image of {height} x {width} becomes {pad_height} x {pad_width}: the dump is of \
             another file, in another order, or of another image size (--image-size)",
            mask.height(),
            mask.width()
        ));
    }
    original(&mask.to_mask(), &frame, (height, width)).to_rle().map_err(|error| error.to_string())
}

/// Every pixel of the original image takes the one of the resized image that covers its centre.
fn original(mask: &Mask, frame: &Frame, (height, width): (usize, usize)) -> Mask {
    let ((rows, columns), (across, down)) = (frame.hw(), frame.scale());
    let nearest = |i: usize, scale: f64, size: usize| (((i as f64 + 0.5) * scale) as usize).min(size - 1);
    let mut original = Mask::empty(height, width);
    if rows == 0 || columns == 0 {
        return original;
    }
    for y in 0..height {
        for x in 0..width {
            if mask.get(nearest(x, across, columns), nearest(y, down, rows)) {
                original.pixels[y * width + x] = 1;
            }
        }
    }
    original
}

impl fmt::Display for PredictionsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { out, referents, empty, broken, miou } = self;
        write!(
            f,
            "{referents} predictions to {}, {empty} of them empty; mean IoU in the dump {miou:.1}",
            out.display()
        )?;
        for (index, problem) in broken {
            write!(f, "\nprediction {index} is taken for empty, its mask can't be decoded: {problem}")?;
        }
        Ok(())
    }
}
