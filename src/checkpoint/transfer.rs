//! Weights of a checkpoint into a network.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use super::{Checkpoint, CheckpointError};
use crate::config::ModelConfig;
use crate::model::{POSITION_TABLE, WORD_TABLE};
use crate::nn::{LoadReport, Parameters, ShapeMismatch};
use crate::report::Weights;
use crate::text::Vocabulary;

/// More lines would hide the message's beginning.
const MAX_LINES: usize = 12;

/// A checkpoint of another architecture.
#[derive(Debug, Error)]
pub struct Mismatch {
    pub folder: PathBuf,
    pub report: LoadReport,
    /// `key: value in the checkpoint, value here`.
    pub config: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "checkpoint {} is of another network:", self.folder.display())?;
        let shape = |m: &ShapeMismatch| {
            format!("{}: {:?} in the checkpoint, {:?} in this network", m.name, m.found, m.expected)
        };
        list(f, "tensors of another shape", &self.report.wrong_shape, shape)?;
        list(f, "missing in the checkpoint", &self.report.missing, String::clone)?;
        list(f, "unknown to this network", &self.report.unexpected, String::clone)?;
        list(f, "keys that differ, of which some will be the reason", &self.config, String::clone)?;
        write!(f, "set these keys as in the checkpoint, or begin from another checkpoint")
    }
}

fn list<T>(f: &mut fmt::Formatter<'_>, title: &str, items: &[T], line: impl Fn(&T) -> String) -> fmt::Result {
    if !items.is_empty() {
        writeln!(f, "{title} ({}):", items.len())?;
    }
    for item in items.iter().take(MAX_LINES) {
        writeln!(f, "  {}", line(item))?;
    }
    if items.len() > MAX_LINES {
        writeln!(f, "  and {} more", items.len() - MAX_LINES)?;
    }
    Ok(())
}

/// What fine-tuning took over. Its `Display` names the tensors that were not; all others of the network were.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    pub from: PathBuf,
    pub loaded: Vec<String>,
    /// In the checkpoint but not used, with the reason.
    pub dropped: Vec<(String, &'static str)>,
    /// Of the network, left at their initial values.
    pub initial: Vec<String>,
}

impl Transfer {
    /// One line.
    pub fn summary(&self) -> String {
        format!(
            "from {}: {} tensors loaded, {} dropped, {} left at their start",
            self.from.display(),
            self.loaded.len(),
            self.dropped.len(),
            self.initial.len()
        )
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.summary())?;
        for (name, reason) in &self.dropped {
            write!(f, "\ndropped  {name} ({reason})")?;
        }
        for name in &self.initial {
            write!(f, "\ninitial  {name}")?;
        }
        Ok(())
    }
}

/// Copies all weights; the network must be the checkpoint's own.
pub fn load_all(
    parameters: &Parameters,
    checkpoint: &Checkpoint,
    which: Weights,
    model: &ModelConfig,
) -> Result<(), CheckpointError> {
    let report = parameters.load(&checkpoint.weights(which)?)?;
    if report.is_complete() { Ok(()) } else { Err(mismatch(checkpoint, report, model)) }
}

/// Begins a training from the weights of another one (quirk 51; the reference takes the raw ones).
///
/// The word table is dropped unless the vocabularies are identical, the position table if its
/// length differs; tensors that only one side has are dropped or left at their start. Any other
/// difference in shape is an error.
pub fn finetune(
    parameters: &Parameters,
    checkpoint: &Checkpoint,
    which: Weights,
    model: &ModelConfig,
    vocabulary: &Vocabulary,
) -> Result<Transfer, CheckpointError> {
    let mut weights = checkpoint.weights(which)?;
    let mut dropped = Vec::new();
    if *vocabulary != checkpoint.vocabulary && weights.remove(WORD_TABLE).is_some() {
        dropped.push((WORD_TABLE.to_owned(), "another vocabulary"));
    }
    if rows(parameters, POSITION_TABLE) != weights.get(POSITION_TABLE).and_then(|t| t.dim(0).ok())
        && weights.remove(POSITION_TABLE).is_some()
    {
        dropped.push((POSITION_TABLE.to_owned(), "another sequence length"));
    }
    let report = parameters.load(&weights)?;
    if !report.wrong_shape.is_empty() {
        let report = LoadReport { wrong_shape: report.wrong_shape, ..LoadReport::default() };
        return Err(mismatch(checkpoint, report, model));
    }
    dropped.extend(report.unexpected.into_iter().map(|name| (name, "not in this network")));
    let from = checkpoint.folder.clone();
    Ok(Transfer { from, loaded: report.loaded, dropped, initial: report.missing })
}

fn rows(parameters: &Parameters, name: &str) -> Option<usize> {
    parameters.get(name).and_then(|parameter| parameter.var.dim(0).ok())
}

fn mismatch(checkpoint: &Checkpoint, report: LoadReport, ours: &ModelConfig) -> CheckpointError {
    let config = differences(&checkpoint.config.model, ours);
    CheckpointError::Mismatch(Box::new(Mismatch { folder: checkpoint.folder.clone(), report, config }))
}

/// Keys of `[model]` with different values.
fn differences(theirs: &ModelConfig, ours: &ModelConfig) -> Vec<String> {
    let flat = |config: &ModelConfig| {
        let mut leaves = Vec::new();
        let value = toml::Value::try_from(config).expect("a ModelConfig is plain data");
        flatten("model", &value, &mut leaves);
        leaves.into_iter().collect::<std::collections::BTreeMap<_, _>>()
    };
    let (theirs, ours) = (flat(theirs), flat(ours));
    let differs = |(key, here): (&String, &String)| {
        let there = theirs.get(key)?;
        (there != here).then(|| format!("{key}: {there} in the checkpoint, {here} here"))
    };
    ours.iter().filter_map(differs).collect()
}

fn flatten(key: &str, value: &toml::Value, leaves: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(name, value)| flatten(&format!("{key}.{name}"), value, leaves));
        }
        leaf => leaves.push((key.to_owned(), leaf.to_string())),
    }
}
