//! What a model's answers are worth.
//!
//! [`answer`] asks a network about the expressions of a plan and judges each answer in two ways at
//! once; [`standard_scores`] and [`reference_scores`] make the figures of both protocols. Beside them
//! stand three marks: [`blind`] (what a model that ignores the words could reach), a run with swapped
//! expressions, and [`ceiling`] (what perfect tokens would reach). [`evaluate`] does all of it; with a second
//! [`Look`] the answers are those of a labeller, in close-ups of what the evaluated network finds.
//!
//! | | standard | reference (quirks 22 to 26) |
//! | --- | --- | --- |
//! | frame | original image: vertices are scaled, then rasterised | network's padded image, truth resized to it |
//! | IoU | plain | intersection over *prediction* for objects of several polygons |
//! | two vertices | an empty mask | a box x, y, width, height |
//! | expressions | every one | the first of each record |
//! | P@t, box accuracy | share with IoU > t | mean over batch means of IoU >= t |
//! | boxes of a segmentation network | around the outline's vertices | none |

mod answers;
mod draw;
mod error;
mod evaluate;
mod look;
mod marks;
mod metrics;
mod place;
mod predict;
mod predictions;
mod shape;
mod summary;
mod truth;
mod within;

pub use answers::{Judged, Questions, answer, answer_batches};
pub use draw::draw_answer;
pub use error::EvalError;
pub use evaluate::{Drawings, EvalOptions, evaluate};
pub use look::Look;
pub use marks::{blind, ceiling};
pub use metrics::{Outcome, ReferenceOutcome, box_iou, reference_scores, standard_scores};
pub use place::check_place;
pub use predict::{Prediction, predict};
pub use predictions::PredictionWriter;
pub use shape::{Place, Shape};
pub use summary::{Mark, MarkScores, SplitReport, WeightScores, write_json};
pub use truth::Truth;
pub use within::WithinBoxes;
