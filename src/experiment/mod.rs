//! The paper's experiment as steps that are made once.
//!
//! A [`Step`] is a training, a sample, a labelling, a pick or an evaluation. Its key is a hash of what
//! decides about its result: kind, settings, the content of the files it reads, the keys of the steps it
//! needs, and a version of its code; not paths, workers or how often something is logged. [`StepStore`]
//! has a folder for each key, so that nothing is made twice, whoever asks for it, and a changed setting
//! repeats only what depends on it. [`Recipe`] knows which steps lead to which model; [`Plan`] says what
//! is to be done; [`Workplace`] does it. [`Summary`] reports one experiment, [`table`] many.
//!
//! A training's model is its last checkpoint (averaged weights if there are any), never the best on
//! `val`: no choice is made with scores that are reported.

mod error;
mod make;
mod networks;
mod origin;
mod outcome;
mod plan;
mod probe;
mod recipe;
mod refusals;
mod run;
mod settings;
mod source;
mod step;
mod store;
mod summary;
pub mod table;
mod work;

pub use error::ExperimentError;
pub use make::{Made, Workplace};
pub use origin::{Given, GivenContent, Origin};
pub use outcome::{Done, LabelQuality, Outcome, SplitScores, Trained};
pub use plan::Plan;
pub use probe::rows_per_second;
pub use recipe::{Arm, Rec, Recipe, Supervision, labeller_config};
pub use refusals::check_outlines;
pub use run::Ran;
pub use source::{Content, DataSource};
pub use step::{CODE, Step, in_order};
pub use store::{Claim, State, StepStore};
pub use summary::{Summary, SummaryRow};
pub use work::{
    Annotated, Asked, ByQuality, Evaluation, Kind, LabelMethod, Labels, Picking, Sampling, Training, Work,
};
