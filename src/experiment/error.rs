//! What can go wrong while an experiment is planned or made.

use std::path::PathBuf;

use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::eval::EvalError;
use crate::model::ModelError;
use crate::pseudo::PseudoError;
use crate::report::ReportError;
use crate::train::TrainError;

/// Every message names the file and what to do.
#[derive(Debug, Error)]
pub enum ExperimentError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Data(Box<DataError>),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),
    #[error(transparent)]
    Eval(Box<EvalError>),
    #[error(transparent)]
    Pseudo(Box<PseudoError>),
    #[error(transparent)]
    Train(Box<TrainError>),
    #[error(transparent)]
    Report(#[from] ReportError),

    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },

    #[error("{path} can't be read ({problem}); remove the folder {}, its step is then made anew", folder(path).display())]
    Step { path: PathBuf, problem: String },

    #[error(
        "{what} changed since the plan was made, and with it what a step with the planned key would hold; start the command again"
    )]
    Changed { what: String },

    #[error("the pipeline trains outlines, this configuration has model.task = {task}; take one of res/…")]
    NotOutlines { task: String },

    #[error(
        "the configuration of outlines has data.train_transform = close-up, and would be scored with the true boxes given; take one of res/…. A labeller of close-ups is made with --labeller close-up"
    )]
    OutlinesCloseUp,

    #[error(
        "the configuration of {of} has data.train_annotations = {found}, expected instances.json: what a step learns from is what other steps make of it; leave it out, or train with `train`"
    )]
    OwnAnnotations { of: &'static str, found: String },

    #[error(
        "the configuration of REC has train.finetune_from = {found}, but here REC is trained from nothing; leave it out, or train REC with `train` and name its checkpoint with --rec"
    )]
    RecFinetuned { found: String },

    #[error(
        "the configuration of the labeller has train.finetune_from = {found}, that of outlines {expected}; all begin with the same model of step 1: leave it out, and name that one with --rec"
    )]
    LabellerFinetuned { found: String, expected: String },

    #[error("`{set}`: all cells of a table begin with the checkpoint that its `rec` names; change that one")]
    CellFinetuned { set: String },

    #[error(
        "step 1 says boxes, the configuration of REC has another model.task; name one of rec/… with --rec-config, or a checkpoint with --rec"
    )]
    NotBoxes,

    #[error(
        "the configuration of REC has data.dataset = {rec}, that of outlines {res}; both learn from the same records. Train REC with `train`, and name its checkpoint with --rec"
    )]
    OtherData { rec: String, res: String },

    #[error(
        "the sample has {records} masks, and to learn from them which labels are good takes {least}; take a larger ratio, labels by rpp, or all labels (quality 0, without weights)"
    )]
    FewMasks { records: usize, least: usize },

    #[error("{ratio} % is no share to label; expected 1 to 99 (--full adds the fully supervised model)")]
    Ratio { ratio: u32 },

    #[error(
        "cannot read the table {path}: {source}; without a file, `partial-res table` makes the built-in one"
    )]
    NoTable { path: PathBuf, source: std::io::Error },

    #[error("{path}: {problem}")]
    Table { path: String, problem: String },

    #[error("no cell is named {name}; the rows are {known}, a cell is ROW/SEED")]
    UnknownCell { name: String, known: String },
}

/// Errors of the modules below are boxed: together they would be large.
macro_rules! boxed {
    ($($variant:ident($error:ty)),*) => {$(
        impl From<$error> for ExperimentError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )*};
}

boxed!(Data(DataError), Checkpoint(CheckpointError), Eval(EvalError), Pseudo(PseudoError), Train(TrainError));

fn folder(path: &std::path::Path) -> &std::path::Path {
    path.parent().unwrap_or(path)
}

impl ExperimentError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
