//! What can go wrong between labelling and retraining.

use std::path::PathBuf;

use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::eval::EvalError;
use crate::mask::MaskError;
use crate::model::ModelError;
use crate::report::ReportError;

/// Every message names the file and what to do.
#[derive(Debug, Error)]
pub enum PseudoError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Eval(#[from] EvalError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Report(#[from] ReportError),

    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },

    #[error("{path} exists already; --force replaces it")]
    Exists { path: PathBuf },

    #[error("split {split} of {path} has no record to draw from")]
    NothingToDraw { path: PathBuf, split: String },

    #[error(
        "split {split} of {path} has {found} records with a mask, {ratio} % of all its records are {expected}; draw a smaller share"
    )]
    FewMasks { path: PathBuf, split: String, found: usize, ratio: u32, expected: usize },

    #[error("{ratio} % is no share to label; expected 1 to 100")]
    Ratio { ratio: u32 },

    #[error("the checkpoint says boxes, not outlines; label with one trained for segmentation or multi-task")]
    NoOutlines,

    #[error("{path} is being written by another process; wait for it, or name another file with --out")]
    Busy { path: PathBuf },

    #[error("{path}, line {line}: {problem}. Remove the file and run `label` again")]
    Line { path: PathBuf, line: usize, problem: String },

    #[error("{path} is no file of predictions: {problem}. `partial-res label` writes one")]
    NotPredictions { path: PathBuf, problem: String },

    #[error(
        "{path} holds another labelling: its {field} is {found}, this one's {expected}. Name another file with --out, or replace it with --force"
    )]
    AnotherLabelling { path: PathBuf, field: &'static str, found: String, expected: String },

    #[error(
        "{predictions} was made for other annotations (SHA-256 {found}) than {annotations} (SHA-256 {expected}). Run `label` again with these, or name the right file with --predictions"
    )]
    OtherAnnotations { predictions: PathBuf, annotations: PathBuf, found: String, expected: String },

    #[error(
        "{path} has {found} of {expected} referents of split {split}: the labelling was interrupted. Run the same `label` again, it goes on where it stopped"
    )]
    Incomplete { path: PathBuf, split: String, found: usize, expected: usize },

    #[error(
        "{path} has outlines that were fitted to the boxes, which the projection term can't judge. Label with --method rpp, or pick with --method quality"
    )]
    NotGreedy { path: PathBuf },

    #[error(
        "weights are expected IoUs, which only --method quality has; leave out --weights, or pick by quality"
    )]
    NoExpectation,

    #[error(
        "{found} referents of the sample have a mask; to learn what labels are worth takes {expected}. Sample more, or pick with --quality 0, which keeps all, or with --method rpp"
    )]
    TooFew { found: usize, expected: usize },

    #[error(
        "every record of split {split} of {all} is in {labelled} too, which leaves nothing to pick: it was drawn from another split. Name predictions for that one with --predictions; `label` makes them"
    )]
    NothingToPick { split: String, all: PathBuf, labelled: PathBuf },

    #[error("{path}, referent {referent}: {source}; run `label` again")]
    Mask { path: PathBuf, referent: usize, source: MaskError },

    #[error("{path}, split {split}, record {referent}: {source}; correct its mask")]
    TrueMask { path: PathBuf, split: String, referent: usize, source: MaskError },

    #[error(
        "{missing} of {of} records of {labelled} are not in {all}: it was drawn from another file. Draw it again with `sample`"
    )]
    NotASubset { labelled: PathBuf, all: PathBuf, missing: usize, of: usize },
}
