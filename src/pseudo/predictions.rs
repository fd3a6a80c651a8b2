//! `predictions.jsonl`: what a network says about each referent of a split.
//!
//! The first line is a [`Header`], which says what was labelled with what; then comes a [`Prediction`]
//! for each referent, in the order of the annotation file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::PseudoError;
use crate::data::ImageId;
use crate::mask::Rle;
use crate::nn::Arithmetic;
use crate::report::{Lock, Weights};

/// Raised when older programs could misread what is written.
const FORMAT: u32 = 1;

/// Which expressions of a referent are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// The first that has a word (the reference draws one, quirk 36).
    #[default]
    First,
    /// Every one: as many candidates.
    All,
}

impl Asked {
    /// As `label --expressions` has it.
    fn option(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::All => "all",
        }
    }

    pub fn is_first(&self) -> bool {
        *self == Self::First
    }
}

/// How candidates come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The likeliest token at each step: the paper.
    Greedy,
    /// The same within the known boxes ([`crate::eval::WithinBoxes`]); what was said about whole images is
    /// then fitted to them ([`super::fit_to_box`]). Outlines of close-ups are not: their points lie a
    /// little inside the box for a reason, as only some of the outline's pixels are vertices.
    Boxes,
}

impl Method {
    /// As `label --method` has it.
    fn option(self) -> &'static str {
        match self {
            Self::Greedy => "rpp",
            Self::Boxes => "boxes",
        }
    }
}

/// What was labelled with what. A labelling is taken up again only under an equal header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub format: u32,
    pub dataset: String,
    /// Of the annotation file, lower-case hexadecimal.
    pub annotations_sha256: String,
    pub split: String,
    pub referents: usize,
    /// Of the file of the weights.
    pub checkpoint_sha256: String,
    pub weights: Weights,
    pub method: Method,
    pub expressions: Asked,
    /// Changes the last digits of the scores.
    pub batch_size: usize,
    /// How images and words were prepared, in words; nothing in files of before.
    #[serde(default)]
    pub preparation: String,
    /// Changes scores, and tokens where two are nearly as likely.
    #[serde(default, skip_serializing_if = "Arithmetic::is_f32")]
    pub arithmetic: Arithmetic,
}

impl Header {
    pub const FORMAT: u32 = FORMAT;

    /// The first field that differs: its name, ours, the other's.
    fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let fields: [(&'static str, [String; 2]); 12] = [
            ("format", [self.format.to_string(), other.format.to_string()]),
            ("data set", [self.dataset.clone(), other.dataset.clone()]),
            ("annotations' SHA-256", [self.annotations_sha256.clone(), other.annotations_sha256.clone()]),
            ("split", [self.split.clone(), other.split.clone()]),
            ("number of referents", [self.referents.to_string(), other.referents.to_string()]),
            ("checkpoint's SHA-256", [self.checkpoint_sha256.clone(), other.checkpoint_sha256.clone()]),
            ("weights", [self.weights.to_string(), other.weights.to_string()]),
            ("method", [self.method.option().to_owned(), other.method.option().to_owned()]),
            ("expressions", [self.expressions.option().to_owned(), other.expressions.option().to_owned()]),
            ("batch size", [self.batch_size.to_string(), other.batch_size.to_string()]),
            ("preparation of images and words", [self.preparation.clone(), other.preparation.clone()]),
            ("arithmetic", [self.arithmetic.to_string(), other.arithmetic.to_string()]),
        ];
        let differing = fields.into_iter().find(|(_, [ours, others])| ours != others);
        differing.map(|(name, [ours, others])| (name, ours, others))
    }
}

/// What was said about one referent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Of the referent in its split.
    pub index: usize,
    pub image_id: ImageId,
    pub candidates: Vec<Candidate>,
}

/// One outline, in pixels of the original image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub expression: String,
    /// As said: the box of a multi-task network, then the outline with its end token.
    pub tokens: Vec<u32>,
    /// The vertices `[x1, y1, …]`, fitted if that is the method, not clipped; none if there are fewer
    /// than three.
    pub polygons: Vec<Vec<f64>>,
    /// Their inside.
    pub mask: Rle,
    /// How badly the mask as it was said and the true box fit, 0 to 2 ([`super::projection_term`]);
    /// none for an empty mask.
    pub projection_term: Option<f32>,
    /// Mean natural logarithm of the probabilities of the tokens.
    pub score: Option<f32>,
    /// Mean IoU with the other candidates of the referent; none without others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f32>,
}

impl Candidate {
    /// Whether there is something to learn from.
    pub fn has_outline(&self) -> bool {
        self.projection_term.is_some() && self.mask.area() > 0
    }
}

/// A finished file of predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    pub path: PathBuf,
    pub header: Header,
    /// One for each referent of the split.
    pub referents: Vec<Prediction>,
}

impl Predictions {
    /// Reads a file; one that `label` has not finished is an error.
    pub fn read(path: &Path) -> Result<Self, PseudoError> {
        let not = |problem: String| PseudoError::NotPredictions { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path)
            .map_err(|source| PseudoError::Io { path: path.to_owned(), source })?;
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let header = read_header(lines.next().unwrap_or_default()).map_err(not)?;
        let lines: Vec<&str> = lines.collect();
        let read = |(index, line): (usize, &&str)| {
            let wrong = |problem| PseudoError::Line { path: path.to_owned(), line: index + 2, problem };
            let prediction: Prediction =
                serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            if prediction.index == index && !prediction.candidates.is_empty() {
                return Ok(prediction);
            }
            Err(wrong(format!(
                "referent {} with {} candidates; expected referent {index} with one at least",
                prediction.index,
                prediction.candidates.len()
            )))
        };
        let referents: Vec<Prediction> = lines.par_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        if referents.len() != header.referents {
            return Err(PseudoError::Incomplete {
                path: path.to_owned(),
                split: header.split,
                found: referents.len(),
                expected: header.referents,
            });
        }
        Ok(Self { path: path.to_owned(), header, referents })
    }
}

fn read_header(line: &str) -> Result<Header, String> {
    let header: Header =
        serde_json::from_str(line).map_err(|error| format!("its first line is no header ({error})"))?;
    if header.format != FORMAT {
        return Err(format!("its format is {}, this program knows {FORMAT}", header.format));
    }
    Ok(header)
}

/// A file of predictions that grows by whole lines.
#[derive(Debug)]
pub(super) struct PredictionLog {
    path: PathBuf,
    file: File,
    /// Referents in the file.
    pub written: usize,
}

impl PredictionLog {
    /// Begins a file, or takes up one that a killed process left: a last line that is not whole is cut
    /// off. A file with another header is an error, unless `force`, which begins anew.
    pub fn open(path: &Path, header: &Header, force: bool) -> Result<Self, PseudoError> {
        let io = |source| PseudoError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        if Lock::ask(&file) == Lock::Busy {
            return Err(PseudoError::Busy { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        if force {
            file.set_len(0).map_err(io)?;
        } else {
            file.read_to_end(&mut bytes).map_err(io)?;
        }
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let written = if whole == 0 && !looks_begun(&bytes, header) {
            let problem = "it has no line".to_owned();
            return Err(PseudoError::NotPredictions { path: path.to_owned(), problem });
        } else {
            count(path, &bytes[..whole], header)?
        };
        file.set_len(whole as u64).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        let mut log = Self { path: path.to_owned(), file, written };
        if whole == 0 {
            log.append(&line(header))?;
        }
        Ok(log)
    }

    /// Writes the next referents.
    pub fn write(&mut self, predictions: &[Prediction]) -> Result<(), PseudoError> {
        self.append(&predictions.iter().map(line).collect::<String>())?;
        self.written += predictions.len();
        Ok(())
    }

    fn append(&mut self, lines: &str) -> Result<(), PseudoError> {
        let written = self.file.write_all(lines.as_bytes());
        written.map_err(|source| PseudoError::Io { path: self.path.clone(), source })
    }

    /// Brings everything to the disk.
    pub fn finish(self) -> Result<(), PseudoError> {
        self.file.sync_all().map_err(|source| PseudoError::Io { path: self.path, source })
    }
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data") + "\n"
}

/// Whether this is the beginning of the header's line: what a kill in the first moment leaves.
fn looks_begun(bytes: &[u8], header: &Header) -> bool {
    line(header).as_bytes().starts_with(bytes)
}

/// Referents in a file of whole lines, which must have this header.
fn count(path: &Path, bytes: &[u8], header: &Header) -> Result<usize, PseudoError> {
    #[derive(Deserialize)]
    struct Index {
        index: usize,
    }
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let Some(first) = lines.next() else { return Ok(0) };
    let found = read_header(&String::from_utf8_lossy(first))
        .map_err(|problem| PseudoError::NotPredictions { path: path.to_owned(), problem })?;
    if let Some((field, found, expected)) = found.difference(header) {
        return Err(PseudoError::AnotherLabelling { path: path.to_owned(), field, found, expected });
    }
    let mut written = 0;
    for line in lines {
        let wrong = |problem| PseudoError::Line { path: path.to_owned(), line: written + 2, problem };
        let Index { index } = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
        if index != written {
            return Err(wrong(format!("it is of referent {index}, expected {written}")));
        }
        written += 1;
    }
    Ok(written)
}
