//! The annotation file: referents with boxes, masks and expressions, by split.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::DataError;
use super::records;
use crate::mask::{Mask, MaskError, Rle, Segmentation};
use crate::text;

/// The name of an image; what `{image_id}` in a file name pattern stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ImageId {
    Number(u64),
    Name(String),
}

/// One object in one image, with its expressions: a record of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Referent {
    pub image_id: ImageId,
    /// x, y, width, height in pixels of the original image.
    pub bbox: [f64; 4],
    /// Absent where only the box is known.
    #[serde(rename = "mask")]
    pub segmentation: Option<Segmentation>,
    pub expressions: Vec<String>,
    /// Of the image, in pixels.
    pub width: usize,
    pub height: usize,
    /// Which image collection; see [`super::ImageFiles`].
    pub data_source: Option<String>,
    /// How much the outline counts in training, 0 to 1; as much as any if absent. Not in the reference's files:
    /// a pick with weights writes it beside predicted masks.
    pub weight: Option<f32>,
}

impl Referent {
    /// x1, y1, x2, y2, clipped to the last pixel as the reference does. Loading twice gives the
    /// same box twice (quirk 29).
    pub fn corners(&self) -> [f64; 4] {
        let [x, y, w, h] = self.bbox;
        let (right, bottom) = (self.width as f64 - 1.0, self.height as f64 - 1.0);
        [x.clamp(0.0, right), y.clamp(0.0, bottom), (x + w).clamp(0.0, right), (y + h).clamp(0.0, bottom)]
    }

    /// Whether there is a mask to learn from: none, and a list of no polygons, is none.
    pub fn has_mask(&self) -> bool {
        match &self.segmentation {
            None => false,
            Some(Segmentation::Polygons(polygons)) => !polygons.is_empty(),
            Some(Segmentation::Compressed { .. } | Segmentation::Counts { .. }) => true,
        }
    }

    /// The mask as run lengths, in the original image; empty if there is none.
    pub fn rle(&self) -> Result<Rle, MaskError> {
        match &self.segmentation {
            Some(segmentation) => segmentation.to_rle(self.height, self.width),
            None => Rle::empty(self.height, self.width),
        }
    }

    /// The mask, in the original image; empty if there is none.
    pub fn mask(&self) -> Result<Mask, MaskError> {
        Ok(self.rle()?.to_mask())
    }

    /// The object has several polygons (quirk 25).
    pub fn is_crowd(&self) -> bool {
        self.segmentation.as_ref().is_some_and(Segmentation::is_crowd)
    }

    /// Indices of the expressions that have a word.
    pub fn askable(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.expressions.len()).filter(|&i| !text::words(&self.expressions[i]).is_empty())
    }
}

/// A record that can't be used.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("split {split}, record {index}, field {field}: {found}; {remedy}")]
pub struct BadRecord {
    pub split: String,
    pub index: usize,
    pub field: String,
    pub found: String,
    /// What was expected and what to do.
    pub remedy: &'static str,
}

/// Referents of one split.
#[derive(Debug)]
pub(super) struct Split {
    pub name: String,
    pub referents: Vec<Referent>,
    /// Their records in the text.
    spans: Vec<Range<usize>>,
}

/// An annotation file in memory.
#[derive(Debug)]
pub struct Annotations {
    path: PathBuf,
    text: String,
    splits: Vec<Arc<Split>>,
}

impl Annotations {
    /// Reads a whole file: `{split: [records]}`. Fields it does not know are left alone
    /// ([`Annotations::records`] has them). The first record that can't be used is an error.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let (annotations, mut bad) = Self::read_usable(path)?;
        if bad.is_empty() {
            return Ok(annotations);
        }
        let record = Box::new(bad.swap_remove(0));
        Err(DataError::Record { path: path.to_owned(), record, more: bad.len() })
    }

    /// Reads a whole file, leaving out records that can't be used. Indices of referents then
    /// count only the others.
    pub fn read_usable(path: &Path) -> Result<(Self, Vec<BadRecord>), DataError> {
        let error = |source| DataError::Read { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(error)?;
        Self::parse(path, bytes)
    }

    /// [`Annotations::read_usable`] of bytes; `path` is for messages.
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<(Self, Vec<BadRecord>), DataError> {
        let layout = |at, found| DataError::Layout { path: path.to_owned(), at, found };
        let text = String::from_utf8(bytes).map_err(|error| {
            layout(error.utf8_error().valid_up_to(), "bytes that are not UTF-8".to_owned())
        })?;
        let located = records::locate(&text).map_err(|unexpected| layout(unexpected.at, unexpected.found))?;
        let (mut splits, mut bad) = (Vec::new(), Vec::new());
        for (name, spans) in located {
            let read: Vec<_> = spans.par_iter().map(|span| read_record(&text[span.clone()])).collect();
            let mut split = Split { name, referents: Vec::new(), spans: Vec::new() };
            for (index, (result, span)) in read.into_iter().zip(spans).enumerate() {
                match result {
                    Ok(referent) => {
                        split.referents.push(referent);
                        split.spans.push(span);
                    }
                    Err(Problem { field, found, remedy }) => {
                        bad.push(BadRecord { split: split.name.clone(), index, field, found, remedy });
                    }
                }
            }
            splits.push(Arc::new(split));
        }
        Ok((Self { path: path.to_owned(), text, splits }, bad))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the splits, in the order of the file.
    pub fn splits(&self) -> impl Iterator<Item = &str> {
        self.splits.iter().map(|split| split.name.as_str())
    }

    /// The referents of a split.
    pub fn referents(&self, split: &str) -> Result<&[Referent], DataError> {
        Ok(&self.find(split)?.referents)
    }

    /// The records of a split as they stand in the file: JSON text with every field.
    pub fn records(&self, split: &str) -> Result<impl ExactSizeIterator<Item = &str>, DataError> {
        Ok(self.find(split)?.spans.iter().map(|span| &self.text[span.clone()]))
    }

    /// Every expression of every split, in the order of the file: what the vocabulary is made of
    /// (quirk 37).
    pub fn expressions(&self) -> impl Iterator<Item = &str> {
        let referents = self.splits.iter().flat_map(|split| &split.referents);
        referents.flat_map(|referent| referent.expressions.iter().map(String::as_str))
    }

    /// The file's text, for its hash.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn find(&self, split: &str) -> Result<&Arc<Split>, DataError> {
        self.splits.iter().find(|s| s.name == split).ok_or_else(|| DataError::NoSplit {
            path: self.path.clone(),
            split: split.to_owned(),
            there: self.splits().collect::<Vec<_>>().join(", "),
        })
    }
}

struct Problem {
    field: String,
    found: String,
    remedy: &'static str,
}

fn read_record(text: &str) -> Result<Referent, Problem> {
    let referent: Referent = serde_json::from_str(text).map_err(|_| wrong_field(text))?;
    check(&referent)?;
    Ok(referent)
}

/// Reads the record again, slowly, to learn which field is wrong.
fn wrong_field(text: &str) -> Problem {
    let reader = &mut serde_json::Deserializer::from_str(text);
    let remedy = "expected what the file layout in the documentation says; correct the record";
    match serde_path_to_error::deserialize::<_, Referent>(reader) {
        Ok(_) => Problem { field: ".".to_owned(), found: "more text after the record".to_owned(), remedy },
        Err(error) => {
            let field = error.path().to_string();
            Problem { field, found: error.into_inner().to_string(), remedy }
        }
    }
}

fn check(referent: &Referent) -> Result<(), Problem> {
    let problem =
        |field: &str, found: String, remedy| Err(Problem { field: field.to_owned(), found, remedy });
    if referent.width == 0 || referent.height == 0 {
        let found = format!("{} x {}", referent.width, referent.height);
        return problem("width, height", found, "expected the image's size in pixels; correct the record");
    }
    let [_, _, width, height] = referent.bbox;
    if referent.bbox.iter().any(|number| !number.is_finite()) || width < 0.0 || height < 0.0 {
        let found = format!("{:?}", referent.bbox);
        return problem("bbox", found, "expected [x, y, width, height] in pixels; correct the record");
    }
    if let Some(weight) = referent.weight.filter(|weight| !(0.0..=1.0).contains(weight)) {
        let found = weight.to_string();
        return problem("weight", found, "expected 0 to 1; correct it or remove the field");
    }
    if referent.askable().next().is_none() {
        let found = format!("{:?}", referent.expressions);
        return problem(
            "expressions",
            found,
            "expected one with a word at least; write one or remove the record",
        );
    }
    if let Err(error) = check_mask(referent) {
        return problem(
            "mask",
            error.to_string(),
            "expected polygons or RLE of the image's size; correct the record",
        );
    }
    Ok(())
}

/// What rasterising would find wrong, without rasterising.
fn check_mask(referent: &Referent) -> Result<(), MaskError> {
    Rle::empty(referent.height, referent.width)?;
    match &referent.segmentation {
        None => Ok(()),
        Some(Segmentation::Compressed { .. } | Segmentation::Counts { .. }) => referent.rle().map(drop),
        Some(Segmentation::Polygons(polygons)) => {
            polygons.iter().enumerate().try_for_each(|(polygon, numbers)| {
                if numbers.len() % 2 != 0 {
                    return Err(MaskError::OddCoordinates { polygon, found: numbers.len() });
                }
                match numbers.iter().position(|number| !number.is_finite()) {
                    Some(index) => Err(MaskError::Coordinate { polygon, index, found: numbers[index] }),
                    None => Ok(()),
                }
            })
        }
    }
}
