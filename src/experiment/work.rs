//! What steps do.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::origin::{Given, Origin};
use super::settings::settings;
use super::source::DataSource;
use super::{ExperimentError, Step};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, DataConfig, Task, Transform};
use crate::eval::EvalError;
use crate::pseudo::{self, Masks, Method};
use crate::report::Weights;

/// What a step does.
#[derive(Clone, Debug)]
pub enum Work {
    Train(Box<Training>),
    Sample(Sampling),
    Label(Box<Labels>),
    Pick(Picking),
    Evaluate(Box<Evaluation>),
}

/// A training. `data.train_annotations` and `train.finetune_from` of its configuration are set when it
/// is made.
#[derive(Clone, Debug)]
pub struct Training {
    pub config: Config,
    pub source: Arc<DataSource>,
    pub from: Option<Origin>,
    /// SHA-256 of the backbone that it begins with where it begins from no checkpoint.
    pub backbone: Option<String>,
    pub annotations: Annotated,
}

/// What a training learns from.
#[derive(Clone, Debug)]
pub enum Annotated {
    All,
    /// What this step wrote.
    Some(Arc<Step>),
}

/// Drawing the referents whose masks may be used.
#[derive(Clone, Debug)]
pub struct Sampling {
    pub source: Arc<DataSource>,
    /// Percent.
    pub ratio: u32,
    pub seed: u64,
}

/// Outlining every referent with the last checkpoint of a training.
#[derive(Clone, Debug)]
pub struct Labels {
    pub source: Arc<DataSource>,
    pub config: Config,
    pub by: Arc<Step>,
    pub weights: Weights,
    pub method: Method,
    pub expressions: pseudo::Asked,
}

/// Choosing from outlines.
#[derive(Clone, Debug)]
pub struct Picking {
    pub source: Arc<DataSource>,
    pub ratio: u32,
    pub sample: Arc<Step>,
    pub labels: Arc<Step>,
    pub method: LabelMethod,
}

/// How masks of the referents without one are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum LabelMethod {
    /// The paper's resampling of pseudo points: outlines by the network of step 2, kept where the
    /// projection term is below the threshold.
    Rpp { threshold: f64, masks: Masks },
    /// Outlines by the network of step 2, said within the known boxes and fitted to them.
    Boxes(ByQuality),
    /// Outlines within the known boxes by a labeller of its own, which learns from close-ups of the
    /// sample's referents.
    CloseUp(ByQuality),
}

/// Labels that are kept where the IoU to expect is not below `quality`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ByQuality {
    pub quality: f64,
    pub masks: Masks,
    /// Whether each counts in training as much as the IoU that is expected of it. Absent in keys of before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub weights: bool,
    /// Of several candidates the one of which most is expected. Absent in keys of before.
    #[serde(skip_serializing_if = "pseudo::Asked::is_first")]
    pub expressions: pseudo::Asked,
}

/// Scoring a network.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub source: Arc<DataSource>,
    pub of: Asked,
    /// A labeller that outlines close-ups of what the network finds; its outlines are scored.
    pub second_look: Option<Asked>,
    pub splits: Vec<String>,
}

/// A network, which of its weights are asked, and with what data.
#[derive(Clone, Debug)]
pub struct Asked {
    pub network: Origin,
    pub weights: Weights,
    pub data: DataConfig,
}

impl Asked {
    /// The last checkpoint of a training with this configuration.
    pub(super) fn trained(step: &Arc<Step>, config: &Config) -> Self {
        let network = Origin::Made(Arc::clone(step));
        Self { network, weights: best_weights(config), data: config.data.clone() }
    }

    /// A checkpoint with its best weights, asked about the data set of `data`.
    pub(super) fn given(path: &Path, data: &DataConfig) -> Result<Self, ExperimentError> {
        let checkpoint = Checkpoint::open(path)?;
        if checkpoint.config.data.train_transform == Transform::CloseUp {
            return Err(EvalError::NeedsBox.into());
        }
        let weights = checkpoint.best_weights();
        let network = Origin::Given(Given::of(&checkpoint, weights)?);
        Ok(Self { network, weights, data: elsewhere(&checkpoint.config.data, data) })
    }
}

/// What a configuration says about images and words, with the places of another one.
pub(super) fn elsewhere(data: &DataConfig, place: &DataConfig) -> DataConfig {
    DataConfig {
        root: place.root.clone(),
        dataset: place.dataset.clone(),
        images: place.images.clone(),
        workers: place.workers,
        ..data.clone()
    }
}

/// Works whose code has a version of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rec,
    Res,
    Labeller,
    Sample,
    Label,
    Pick,
    Evaluate,
}

impl Kind {
    /// What it is called in keys and folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rec => "rec",
            Self::Res => "res",
            Self::Labeller => "labeller",
            Self::Sample => "sample",
            Self::Label => "label",
            Self::Pick => "pick",
            Self::Evaluate => "evaluate",
        }
    }

    /// Raised where its code gives other results than before by more than rounding. Every finished step says
    /// by which [`CODE`](super::CODE) it was made, and a plan names those that were made by another one: whoever
    /// forgets to raise a version here is reminded there.
    pub(super) fn version(self) -> u32 {
        match self {
            Self::Rec => 1,
            Self::Res => 1,
            Self::Labeller => 1,
            Self::Sample => 1,
            Self::Label => 1,
            Self::Pick => 1,
            Self::Evaluate => 1,
        }
    }
}

impl Work {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Train(training) => training.kind(),
            Self::Sample(_) => Kind::Sample,
            Self::Label(_) => Kind::Label,
            Self::Pick(_) => Kind::Pick,
            Self::Evaluate(_) => Kind::Evaluate,
        }
    }

    /// The data set that it reads.
    pub(super) fn source(&self) -> &DataSource {
        match self {
            Self::Train(training) => &training.source,
            Self::Sample(sampling) => &sampling.source,
            Self::Label(labels) => &labels.source,
            Self::Pick(picking) => &picking.source,
            Self::Evaluate(evaluation) => &evaluation.source,
        }
    }
}

impl Picking {
    /// How often labels were made till then.
    fn round(&self) -> usize {
        let Work::Label(labels) = &self.labels.work else { return 1 };
        let Work::Train(training) = &labels.by.work else { return 1 };
        match &training.annotations {
            Annotated::Some(step) => match &step.work {
                Work::Pick(before) => before.round() + 1,
                _ => 1,
            },
            Annotated::All => 1,
        }
    }
}

/// What tells its labels from others: `, RPP` or `, close-ups, round 2`.
impl fmt::Display for Picking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_quality = match self.method {
            LabelMethod::Rpp { .. } => {
                f.write_str(", RPP")?;
                None
            }
            LabelMethod::Boxes(by) => {
                f.write_str(", within boxes")?;
                Some(by)
            }
            LabelMethod::CloseUp(by) => {
                f.write_str(", close-ups")?;
                Some(by)
            }
        };
        if by_quality.is_some_and(|by| by.expressions == pseudo::Asked::All) {
            f.write_str(", all expressions")?;
        }
        if by_quality.is_some_and(|by| by.weights) {
            f.write_str(", weighted")?;
        }
        match self.round() {
            1 => Ok(()),
            round => write!(f, ", round {round}"),
        }
    }
}

impl Training {
    pub(super) fn kind(&self) -> Kind {
        match self.config.model.task {
            Task::Detection => Kind::Rec,
            Task::Segmentation | Task::MultiTask if self.is_labeller() => Kind::Labeller,
            Task::Segmentation | Task::MultiTask => Kind::Res,
        }
    }

    /// For people.
    pub(super) fn title(&self) -> String {
        let masks = match &self.annotations {
            _ if self.config.model.task == Task::Detection => return "REC".to_owned(),
            Annotated::All if self.is_labeller() => return "labeller on all masks".to_owned(),
            Annotated::All => return "RES on all masks".to_owned(),
            Annotated::Some(step) => step,
        };
        match &masks.work {
            Work::Sample(sampling) if self.is_labeller() => {
                format!("labeller on {} % of the masks", sampling.ratio)
            }
            Work::Sample(sampling) => format!("RES on {} % of the masks", sampling.ratio),
            Work::Pick(picking) if self.is_labeller() => format!("labeller on masks and labels{picking}"),
            Work::Pick(picking) => format!("RES on masks and labels{picking}"),
            Work::Train(_) | Work::Label(_) | Work::Evaluate(_) => "RES".to_owned(),
        }
    }

    /// Whether its network sees boxes.
    fn is_labeller(&self) -> bool {
        self.config.data.train_transform == Transform::CloseUp
    }

    /// Steps of the optimizer in all; at most so many where the number of rows isn't known yet.
    pub fn steps(&self) -> usize {
        let train = &self.config.train;
        let share = |ratio: u32| (self.source.referents * ratio as usize).div_ceil(100);
        let rows = match &self.annotations {
            Annotated::All => self.source.referents,
            Annotated::Some(step) => match &step.work {
                Work::Sample(sampling) => share(sampling.ratio),
                _ => self.source.referents,
            },
        };
        let of_epoch = match train.epoch_steps {
            0 => rows.div_ceil(train.batch_size).div_ceil(train.accumulate),
            steps => steps,
        };
        train.epochs * of_epoch
    }

    /// Rows (expressions) of all steps.
    pub fn rows(&self) -> usize {
        self.steps() * self.config.train.batch_size * self.config.train.accumulate
    }

    pub(super) fn inputs(&self) -> (Value, Value) {
        let annotations = match &self.annotations {
            Annotated::All => &self.source.content.annotations,
            Annotated::Some(step) => &step.key,
        };
        let from = self.from.as_ref().map(Origin::key);
        let mut inputs = json!({"data": self.source.content, "train": annotations, "from": from});
        // Absent in keys of before.
        if let Some(backbone) = &self.backbone {
            inputs["backbone"] = json!(backbone);
        }
        (settings(&self.config), inputs)
    }
}

/// The weights that are asked after a training: the averaged ones if there are any.
pub(super) fn best_weights(config: &Config) -> Weights {
    if config.train.ema { Weights::Ema } else { Weights::Raw }
}
