//! What happened to each tensor.

use std::fmt;
use std::path::PathBuf;

use crate::model::WORD_TABLE;
use crate::nn::{LoadReport, ShapeMismatch};

/// Names of the averaged weights' tensors begin with this in reports and in `--allow`.
const EMA: &str = "ema:";

/// Every tensor of file and network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(LoadReport);

impl Listing {
    pub(super) fn new(report: LoadReport) -> Self {
        Self(report)
    }

    /// Adds what happened to the averaged weights.
    pub(super) fn add_ema(&mut self, Self(ema): Self) {
        let named = |names: Vec<String>| names.into_iter().map(|name| format!("{EMA}{name}"));
        self.0.loaded.extend(named(ema.loaded));
        self.0.missing.extend(named(ema.missing));
        self.0.unexpected.extend(named(ema.unexpected));
        let shapes = ema.wrong_shape.into_iter();
        self.0.wrong_shape.extend(shapes.map(|m| ShapeMismatch { name: format!("{EMA}{}", m.name), ..m }));
    }

    /// Whether all that went wrong is allowed.
    pub(super) fn judge(&self, allowed: impl Fn(&str) -> bool, words: usize) -> Result<(), Box<Mismatch>> {
        let mut bad = self.0.clone();
        bad.missing.retain(|name| !allowed(name));
        bad.unexpected.retain(|name| !allowed(name));
        bad.wrong_shape.retain(|mismatch| !allowed(&mismatch.name));
        if bad.is_complete() {
            return Ok(());
        }
        let is_point = |name: &String| name.contains(".point.") || name.ends_with("task_prompt.weight");
        let table = bad.wrong_shape.iter().find(|m| m.name == WORD_TABLE);
        let advice = if let Some(rows) = table.and_then(|table| table.found.first()) {
            format!(
                "the vocabulary has {words} words, the checkpoint {rows}: name the --vocabulary it was trained with"
            )
        } else if bad.missing.iter().any(is_point) {
            "this looks like a checkpoint of SeqTR: name a configuration of its network, such as --config \
             rec/refcoco-unc"
                .to_owned()
        } else if bad.unexpected.iter().any(is_point) {
            "this looks like a checkpoint of Partial-RES: name its configuration, such as --config res/refcoco-unc"
                .to_owned()
        } else {
            "name the configuration it was trained with, and its vertices (--set model.vertices=12)"
                .to_owned()
        };
        Err(Box::new(Mismatch { listing: Self(bad), loaded: self.0.loaded.len(), advice }))
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.0.loaded {
            writeln!(f, "loaded       {name}")?;
        }
        for name in &self.0.missing {
            writeln!(f, "missing      {name}")?;
        }
        for name in &self.0.unexpected {
            writeln!(f, "unexpected   {name}")?;
        }
        for ShapeMismatch { name, expected, found } in &self.0.wrong_shape {
            writeln!(f, "wrong shape  {name}: {found:?}, the network has {expected:?}")?;
        }
        Ok(())
    }
}

/// Tensors that don't fit and are not allowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Only those.
    pub listing: Listing,
    loaded: usize,
    advice: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listing(report) = &self.listing;
        let Self { loaded, advice, .. } = self;
        let counts = [report.missing.len(), report.unexpected.len(), report.wrong_shape.len()];
        let [missing, unexpected, wrong] = counts;
        writeln!(
            f,
            "{loaded} tensors fit, {missing} are missing, {unexpected} unexpected, {wrong} of another shape:"
        )?;
        write!(f, "{}", self.listing)?;
        write!(f, "{advice}; or --allow NAME (or BEGINNING*) for what may be left out or stay initial")
    }
}

/// What was converted. `Display` lists every tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointReport {
    pub out: PathBuf,
    pub listing: Listing,
    /// What else the user should know.
    pub notes: Vec<String>,
    /// Finished epochs.
    pub epoch: usize,
    /// Finished steps of the optimizer; 0 if unknown.
    pub step: usize,
    /// Best box accuracy and mIoU.
    pub best: [Option<f64>; 2],
    pub has_ema: bool,
    pub has_optimizer: bool,
}

impl fmt::Display for CheckpointReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.listing)?;
        let Listing(report) = &self.listing;
        let (loaded, left) = (report.loaded.len(), report.missing.len() + report.wrong_shape.len());
        writeln!(
            f,
            "{loaded} tensors loaded, {left} left at their start, {} left out",
            report.unexpected.len()
        )?;
        let has = |there: bool| if there { "yes" } else { "no" };
        let (ema, optimizer) = (has(self.has_ema), has(self.has_optimizer));
        writeln!(f, "averaged weights: {ema}; optimizer state: {optimizer}")?;
        let score = |best: Option<f64>| best.map_or("-".to_owned(), |best| format!("{best:.2}"));
        let [boxes, masks] = self.best.map(score);
        write!(f, "epoch {}, step {}; best box accuracy {boxes}, best mIoU {masks}", self.epoch, self.step)?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}
