//! Pseudo labels: which referents get masks by hand, what a network says about the others, and which
//! of that is good enough to train on.
//!
//! [`sample`] draws `instances_sample_<ratio>.json`; [`label`] writes `predictions.jsonl`; [`pick`]
//! keeps those that are good enough ([`Criterion`]) and writes `instances_sample_<ratio>_box_pick.json`.
//! All three work on annotation files and leave records as they stand. [`rank`] measures labels by true
//! masks, where those are known.

mod calibration;
mod comparison;
mod draw;
mod error;
mod fit;
mod judge;
mod label;
mod material;
mod pick;
mod predictions;
mod projection;
mod ranking;
mod sample;
mod subset;

pub use calibration::{Calibration, LEAST_EXAMPLES};
pub use comparison::{Comparison, Entrant};
pub use draw::draw_verdicts;
pub use error::PseudoError;
pub use fit::fit_to_box;
pub use judge::{Judge, Judgement, outlines};
pub use label::{Labelled, Labelling, label, usual_batch_size};
pub use pick::{Criterion, Masks, PickOptions, Picked, QUALITY, Verdict, pick, pick_file, predictions_file};
pub use predictions::{Asked, Candidate, Header, Method, Prediction, Predictions};
pub use projection::{box_mask, projection_term};
pub use ranking::{Contest, Order, Ranking, Worth, rank};
pub use sample::{Drawn, NewSample, SampleOptions, draw, sample, sample_file, sample_into};
pub use subset::{provenance_path, refuse_to_replace, sha256};

use judge::encloses_area;
