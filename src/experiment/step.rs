//! Steps and their keys.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::ExperimentError;
use super::settings::settings;
use super::source::{DataSource, TRAIN};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, Task, Transform};
use crate::pseudo::{Masks, Method, sha256};
use crate::report::Weights;

/// A piece of work whose result depends on nothing but its key.
#[derive(Clone, Debug)]
pub struct Step {
    pub work: Work,
    /// What went into the key, for people.
    pub inputs: Value,
    /// SHA-256 of the inputs, hexadecimal.
    pub key: String,
}

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
    pub annotations: Annotated,
}

/// The weights that a training begins with; always the raw ones, as in the reference.
#[derive(Clone, Debug)]
pub enum Origin {
    Given {
        path: PathBuf,
        /// Of the file of the weights.
        sha256: String,
    },
    /// The last checkpoint of a training.
    Made(Arc<Step>),
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
    /// Outlines within the known boxes by a labeller of its own, which learns from close-ups of the
    /// sample's referents; kept where the IoU to expect is not below `quality`.
    CloseUp { quality: f64, masks: Masks },
}

/// Scoring the last checkpoint of a training.
#[derive(Clone, Debug)]
pub struct Evaluation {
    pub source: Arc<DataSource>,
    pub config: Config,
    pub of: Arc<Step>,
    pub weights: Weights,
    pub splits: Vec<String>,
}

/// Raised where a step's code gives other results than before; one for each kind.
const VERSIONS: [(&str, u32); 7] =
    [("rec", 1), ("res", 1), ("labeller", 1), ("sample", 1), ("label", 1), ("pick", 1), ("evaluate", 1)];

impl Origin {
    /// Identifies the checkpoint by its content.
    pub fn given(path: PathBuf) -> Result<Self, ExperimentError> {
        let checkpoint = Checkpoint::open(&path)?;
        let sha256 = checkpoint.hash(Weights::Raw).unwrap_or_default().to_owned();
        Ok(Self::Given { path, sha256 })
    }
}

impl Step {
    pub fn new(work: Work) -> Arc<Self> {
        let kind = kind(&work);
        let version = VERSIONS.iter().find(|(name, _)| *name == kind).map(|(_, version)| version);
        let (settings, inputs) = match &work {
            Work::Train(training) => training.inputs(),
            Work::Sample(Sampling { source, ratio, seed }) => {
                let settings = json!({"split": TRAIN, "ratio": ratio, "seed": seed});
                (settings, json!({"annotations": source.content.annotations}))
            }
            Work::Label(labels) => {
                let mut settings = json!({"split": TRAIN, "weights": labels.weights});
                // Steps of before there was another one keep their keys.
                if labels.method != Method::Greedy {
                    settings["method"] = json!(labels.method);
                }
                (settings, json!({"data": labels.source.content, "checkpoint": labels.by.key}))
            }
            Work::Pick(picking) => {
                let settings = json!({"ratio": picking.ratio, "method": picking.method});
                let annotations = &picking.source.content.annotations;
                let (sample, labels) = (&picking.sample.key, &picking.labels.key);
                (settings, json!({"annotations": annotations, "sample": sample, "labels": labels}))
            }
            Work::Evaluate(evaluation) => {
                let settings = json!({"splits": evaluation.splits, "weights": evaluation.weights});
                (settings, json!({"data": evaluation.source.content, "checkpoint": evaluation.of.key}))
            }
        };
        let inputs = json!({"kind": kind, "version": version, "settings": settings, "inputs": inputs});
        let key = sha256(&inputs.to_string());
        Arc::new(Self { work, inputs, key })
    }

    pub fn kind(&self) -> &'static str {
        kind(&self.work)
    }

    /// The name of its folder.
    pub fn name(&self) -> String {
        format!("{}-{}", self.kind(), &self.key[..12])
    }

    /// What must be made before.
    pub fn needs(&self) -> Vec<&Arc<Step>> {
        match &self.work {
            Work::Train(training) => {
                let from = match &training.from {
                    Some(Origin::Made(step)) => Some(step),
                    Some(Origin::Given { .. }) | None => None,
                };
                let annotations = match &training.annotations {
                    Annotated::Some(step) => Some(step),
                    Annotated::All => None,
                };
                from.into_iter().chain(annotations).collect()
            }
            Work::Sample(_) => Vec::new(),
            Work::Label(labels) => vec![&labels.by],
            Work::Pick(picking) => vec![&picking.sample, &picking.labels],
            Work::Evaluate(evaluation) => vec![&evaluation.of],
        }
    }

    /// For people.
    pub fn title(&self) -> String {
        match &self.work {
            Work::Train(training) => training.title(),
            Work::Sample(sampling) => format!("sample {} % of the masks", sampling.ratio),
            Work::Label(_) => "label all referents".to_owned(),
            Work::Pick(_) => "pick labels".to_owned(),
            Work::Evaluate(evaluation) => match &evaluation.of.work {
                Work::Train(training) => format!("evaluate {}", training.title()),
                _ => "evaluate".to_owned(),
            },
        }
    }
}

/// All steps that these need and they themselves, each once, what is needed first.
pub fn in_order<'a>(wanted: impl IntoIterator<Item = &'a Arc<Step>>) -> Vec<Arc<Step>> {
    fn visit(step: &Arc<Step>, order: &mut Vec<Arc<Step>>) {
        if order.iter().any(|done| done.key == step.key) {
            return;
        }
        step.needs().into_iter().for_each(|needed| visit(needed, order));
        order.push(Arc::clone(step));
    }
    let mut order = Vec::new();
    wanted.into_iter().for_each(|step| visit(step, &mut order));
    order
}

fn kind(work: &Work) -> &'static str {
    match work {
        Work::Train(training) if training.config.model.task == Task::Detection => "rec",
        Work::Train(training) if training.is_labeller() => "labeller",
        Work::Train(_) => "res",
        Work::Sample(_) => "sample",
        Work::Label(_) => "label",
        Work::Pick(_) => "pick",
        Work::Evaluate(_) => "evaluate",
    }
}

impl Training {
    fn title(&self) -> String {
        let masks = match &self.annotations {
            _ if self.config.model.task == Task::Detection => return "REC".to_owned(),
            Annotated::All => return "RES on all masks".to_owned(),
            Annotated::Some(step) => step,
        };
        match &masks.work {
            Work::Sample(sampling) if self.is_labeller() => {
                format!("labeller on {} % of the masks", sampling.ratio)
            }
            Work::Sample(sampling) => format!("RES on {} % of the masks", sampling.ratio),
            _ => "RES on masks and picked labels".to_owned(),
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

    fn inputs(&self) -> (Value, Value) {
        let annotations = match &self.annotations {
            Annotated::All => &self.source.content.annotations,
            Annotated::Some(step) => &step.key,
        };
        let from = self.from.as_ref().map(|from| match from {
            Origin::Given { sha256, .. } => sha256,
            Origin::Made(step) => &step.key,
        });
        (settings(&self.config), json!({"data": self.source.content, "train": annotations, "from": from}))
    }
}

/// The weights that are asked after a training: the averaged ones if there are any.
pub(super) fn best_weights(config: &Config) -> Weights {
    if config.train.ema { Weights::Ema } else { Weights::Raw }
}
