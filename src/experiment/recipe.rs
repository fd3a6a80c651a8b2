//! From what a user wants to steps.

use std::sync::Arc;

use super::ExperimentError;
use super::origin::{Origin, file_hash};
use super::refusals::own_annotations;
use super::source::DataSource;
use super::step::Step;
use super::work::{
    Annotated, Asked, Evaluation, LabelMethod, Labels, Picking, Sampling, Training, Work, best_weights,
    elsewhere,
};
use crate::config::{Config, ConfigError, Task, Transform};
use crate::eval::EvalError;
use crate::pseudo::{self, Method};

/// One experiment: a network and how it is trained, the share of masks, the seed.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Of the trainings of outlines.
    pub res: Config,
    /// Of the training of a labeller; see [`labeller_config`].
    pub labeller: Config,
    /// What they all begin with.
    pub rec: Rec,
    pub source: Arc<DataSource>,
    /// Percent of the masks.
    pub ratio: u32,
    /// Of the sample and of the trainings of outlines.
    pub seed: u64,
}

/// Step 1.
#[derive(Clone, Debug)]
pub enum Rec {
    Given(Origin),
    Train {
        config: Box<Config>,
        /// SHA-256 of the file of `train.backbone`.
        backbone: Option<String>,
    },
}

impl Rec {
    /// A training that begins from nothing, or from a backbone, on the boxes of the data set of `res`.
    pub fn train(mut config: Config, res: &Config) -> Result<Self, ExperimentError> {
        if config.model.task != Task::Detection {
            return Err(ExperimentError::NotBoxes);
        }
        if config.data.dataset != res.data.dataset {
            let [rec, res] = [&config, res].map(|config| config.data.dataset.clone());
            return Err(ExperimentError::OtherData { rec, res });
        }
        own_annotations("REC", &config)?;
        if let Some(path) = &config.train.finetune_from {
            return Err(ExperimentError::RecFinetuned { found: path.display().to_string() });
        }
        config.data = elsewhere(&config.data, &res.data);
        let backbone = config.train.backbone.as_ref().map(|path| file_hash(path)).transpose()?;
        Ok(Self::Train { config: Box::new(config), backbone })
    }

    fn origin(&self, source: &Arc<DataSource>) -> Origin {
        match self {
            Self::Given(origin) => origin.clone(),
            Self::Train { config, backbone } => Origin::Made(Step::new(Work::Train(Box::new(Training {
                config: (**config).clone(),
                source: Arc::clone(source),
                from: None,
                backbone: backbone.clone(),
                annotations: Annotated::All,
            })))),
        }
    }
}

/// What the last training learns from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Supervision {
    /// Boxes alone: the model of step 1, which outlines nothing but by a second look.
    Boxes,
    /// The sample's masks.
    Sample,
    /// The sample's masks and labels made with their help.
    Labels {
        method: LabelMethod,
        /// How often labels are made, each time by a network that has learnt from those of the time before;
        /// 1 is the paper.
        rounds: usize,
    },
    /// All masks.
    Full,
}

/// The steps that lead to one model's scores.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Whose learning curve it is; none where a second look is scored.
    pub training: Option<Arc<Step>>,
    pub pick: Option<Arc<Step>>,
    pub evaluation: Arc<Step>,
}

impl Recipe {
    /// `second_look`: scored are outlines by a labeller, in close-ups of what the model finds. It learns from the
    /// same masks: the sample, or all.
    pub fn arm(&self, supervision: Supervision, second_look: bool) -> Result<Arm, ExperimentError> {
        self.check()?;
        if supervision == Supervision::Boxes && !second_look {
            let task = "detection".to_owned();
            return Err(ExperimentError::NotOutlines { task });
        }
        let sample = || {
            let (source, seed) = (Arc::clone(&self.source), self.seed);
            match self.ratio {
                ratio @ 1..100 => Ok(Step::new(Work::Sample(Sampling { source, ratio, seed }))),
                ratio => Err(ExperimentError::Ratio { ratio }),
            }
        };
        let (annotations, pick) = match supervision {
            Supervision::Boxes => (None, None),
            Supervision::Full => (Some(Annotated::All), None),
            Supervision::Sample => (Some(Annotated::Some(sample()?)), None),
            Supervision::Labels { method, rounds } => {
                let sample = sample()?;
                self.can_calibrate(method)?;
                let mut pick = self.pick(&sample, &sample, method);
                for _ in 1..rounds {
                    pick = self.pick(&sample, &pick, method);
                }
                (Some(Annotated::Some(Arc::clone(&pick))), Some(pick))
            }
        };
        let training = annotations.map(|annotations| self.training(&self.res, annotations));
        let of = match &training {
            Some(training) => Asked::trained(training, &self.res),
            None => self.rec_asked()?,
        };
        if second_look && self.labeller.data.train_transform != Transform::CloseUp {
            return Err(EvalError::NotCloser.into());
        }
        let second_look = match (second_look, supervision, self.ratio) {
            (false, _, _) => None,
            (true, Supervision::Full, _) | (true, Supervision::Boxes, 100) => Some(Annotated::All),
            (true, _, _) => Some(Annotated::Some(sample()?)),
        };
        let second_look =
            second_look.map(|masks| Asked::trained(&self.training(&self.labeller, masks), &self.labeller));
        let training = training.filter(|_| second_look.is_none());
        let evaluation = Step::new(Work::Evaluate(Box::new(Evaluation {
            source: Arc::clone(&self.source),
            of,
            second_look,
            splits: self.res.data.test_splits.clone(),
        })));
        Ok(Arm { training, pick, evaluation })
    }

    /// The model of step 1.
    fn rec_asked(&self) -> Result<Asked, ExperimentError> {
        match (&self.rec, self.rec.origin(&self.source)) {
            (_, Origin::Given(given)) => Asked::given(&given.folder, &self.res.data),
            (Rec::Train { config, .. }, Origin::Made(step)) => Ok(Asked::trained(&step, config)),
            (Rec::Given(_), Origin::Made(step)) => Ok(Asked::trained(&step, &self.res)),
        }
    }

    /// Labels by a network that learns from what the step `learnt` wrote.
    fn pick(&self, sample: &Arc<Step>, learnt: &Arc<Step>, method: LabelMethod) -> Arc<Step> {
        let (config, said, expressions) = match method {
            LabelMethod::Rpp { .. } => (&self.res, Method::Greedy, pseudo::Asked::First),
            LabelMethod::Boxes(by) => (&self.res, Method::Boxes, by.expressions),
            LabelMethod::CloseUp(by) => (&self.labeller, Method::Boxes, by.expressions),
        };
        let source = || Arc::clone(&self.source);
        let labels = Labels {
            source: source(),
            config: config.clone(),
            by: self.training(config, Annotated::Some(Arc::clone(learnt))),
            weights: best_weights(config),
            method: said,
            expressions,
        };
        let labels = Step::new(Work::Label(Box::new(labels)));
        let (ratio, sample) = (self.ratio, Arc::clone(sample));
        Step::new(Work::Pick(Picking { source: source(), ratio, sample, labels, method }))
    }

    fn training(&self, config: &Config, annotations: Annotated) -> Arc<Step> {
        let mut config = config.clone();
        config.train.seed = self.seed;
        let source = Arc::clone(&self.source);
        let from = Some(self.rec.origin(&self.source));
        Step::new(Work::Train(Box::new(Training { config, source, from, backbone: None, annotations })))
    }
}

/// The configuration of the labeller that goes with `name`, a configuration for outlines: the built-in one
/// in `label/` that is named like it, else itself with close-ups. `sets` are those of `name`, `own` come
/// after them.
pub fn labeller_config(name: &str, sets: &[String], own: &[String]) -> Result<Config, ConfigError> {
    let twin = name.replacen("res/", "label/", 1);
    let name = if Config::built_in().contains(&twin) { &twin } else { name };
    // A labeller sees close-ups whatever `sets` say about the images of others.
    let close_ups = ["data.train_transform=close-up", "data.referents_per_image=1"].map(str::to_owned);
    Config::load(name, &[sets, &close_ups[..], own].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labeller_sees_close_ups_whatever_others_see() {
        let sets = ["data.train_transform=jitter", "data.referents_per_image=4"].map(str::to_owned);
        for name in ["res/refshapes", "res/refcoco-unc"] {
            let config = labeller_config(name, &sets, &[]).expect("a configuration");
            assert_eq!(
                (config.data.train_transform, config.data.referents_per_image),
                (Transform::CloseUp, 1)
            );
        }
    }

    #[test]
    fn a_backbone_is_known_by_its_content() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut config = Config::default();
        config.model.task = Task::Detection;
        config.train.backbone = Some(file.path().to_owned());
        let hash = |config: &Config| match Rec::train(config.clone(), config).expect("readable") {
            Rec::Train { backbone, .. } => backbone.expect("a backbone"),
            Rec::Given(_) => unreachable!("it is trained"),
        };
        let before = hash(&config);
        std::fs::write(file.path(), "other weights").expect("written");
        assert_ne!(hash(&config), before);
        assert_eq!(super::super::settings::settings(&config)["train"], serde_json::Value::Null);
    }
}
