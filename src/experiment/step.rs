//! Steps and their keys.

use std::sync::Arc;

use serde_json::{Value, json};

use super::origin::Origin;
use super::source::TRAIN;
use super::work::{Annotated, Evaluation, Kind, Sampling, Work};
use crate::config::{DataConfig, Transform};
use crate::pseudo::{Method, sha256};

/// A piece of work whose result depends on nothing but its key.
#[derive(Clone, Debug)]
pub struct Step {
    pub work: Work,
    /// What went into the key, for people.
    pub inputs: Value,
    /// SHA-256 of the inputs, hexadecimal.
    pub key: String,
}

/// The code that this program was built from, as far as results depend on it.
pub const CODE: &str = env!("PARTIAL_RES_CODE");

impl Step {
    pub fn new(work: Work) -> Arc<Self> {
        let kind = work.kind();
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
                if !labels.expressions.is_first() {
                    settings["expressions"] = json!(labels.expressions);
                }
                padding(&mut settings, &labels.config.data);
                (settings, json!({"data": labels.source.content, "checkpoint": labels.by.key}))
            }
            Work::Pick(picking) => {
                let settings = json!({"ratio": picking.ratio, "method": picking.method});
                let annotations = &picking.source.content.annotations;
                let (sample, labels) = (&picking.sample.key, &picking.labels.key);
                (settings, json!({"annotations": annotations, "sample": sample, "labels": labels}))
            }
            Work::Evaluate(evaluation) => {
                let Evaluation { source, of, second_look, splits } = &**evaluation;
                let mut settings = json!({"splits": splits, "weights": of.weights});
                padding(&mut settings, &of.data);
                let mut inputs = json!({"data": source.content, "checkpoint": of.network.key()});
                // The key of a training stands for these.
                if let Origin::Given(given) = &of.network {
                    inputs["config"] = json!(given.content.config);
                    inputs["vocabulary"] = json!(given.content.vocabulary);
                }
                // Absent in keys of before.
                if let Some(labeller) = second_look {
                    settings["second_look"] = json!({"weights": labeller.weights});
                    inputs["labeller"] = json!(labeller.network.key());
                }
                (settings, inputs)
            }
        };
        let inputs =
            json!({"kind": kind.name(), "version": kind.version(), "settings": settings, "inputs": inputs});
        let key = sha256(inputs.to_string());
        Arc::new(Self { work, inputs, key })
    }

    pub fn kind(&self) -> Kind {
        self.work.kind()
    }

    /// The name of its folder.
    pub fn name(&self) -> String {
        format!("{}-{}", self.kind().name(), &self.key[..12])
    }

    /// What must be made before.
    pub fn needs(&self) -> Vec<&Arc<Step>> {
        match &self.work {
            Work::Train(training) => {
                let from = training.from.as_ref().and_then(Origin::step);
                let annotations = match &training.annotations {
                    Annotated::Some(step) => Some(step),
                    Annotated::All => None,
                };
                from.into_iter().chain(annotations).collect()
            }
            Work::Sample(_) => Vec::new(),
            Work::Label(labels) => vec![&labels.by],
            Work::Pick(picking) => vec![&picking.sample, &picking.labels],
            Work::Evaluate(evaluation) => {
                let networks = [Some(&evaluation.of), evaluation.second_look.as_ref()];
                networks.into_iter().flatten().filter_map(|asked| asked.network.step()).collect()
            }
        }
    }

    /// For people.
    pub fn title(&self) -> String {
        match &self.work {
            Work::Train(training) => training.title(),
            Work::Sample(sampling) => format!("sample {} % of the masks", sampling.ratio),
            Work::Label(labels) => format!("label all referents by {}", labels.by.title()),
            Work::Pick(picking) => format!("pick labels{picking}"),
            Work::Evaluate(evaluation) => {
                let title = |network: &Origin| network.step().map_or("REC".to_owned(), |step| step.title());
                let first = title(&evaluation.of.network);
                match &evaluation.second_look {
                    None => format!("evaluate {first}"),
                    Some(second) => format!("evaluate {first}, second look by {}", title(&second.network)),
                }
            }
        }
    }
}

/// Images are padded to a square; those of before, in keys without this, each to its own size. Close-ups are squares.
fn padding(settings: &mut Value, data: &DataConfig) {
    if data.train_transform != Transform::CloseUp {
        settings["padding"] = json!("square");
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
