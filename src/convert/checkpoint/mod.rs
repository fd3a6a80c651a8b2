//! PyTorch checkpoints of SeqTR and Partial-RES to a run folder of ours.

mod groups;
mod optimizer;
mod report;
mod tensors;

use std::path::Path;

use candle_core::Device;

use super::{ConvertError, Output};
use crate::checkpoint::{Pointer, Snapshot, TrainState};
use crate::config::{Config, Task};
use crate::formats::pickle::Value;
use crate::formats::torch::{Container, TorchFile};
use crate::model::Network;
use crate::text::Vocabulary;
use crate::train::RunFolder;

pub use report::{CheckpointReport, Mismatch};

/// Entries of a checkpoint that have a meaning here, or have none that is lost.
const KNOWN: [&str; 11] = [
    "state_dict",
    "ema_state_dict",
    "optimizer",
    "scheduler",
    "epoch",
    "d_acc",
    "miou",
    "best_d_acc",
    "best_miou",
    "lr",
    "amp",
];

/// What to convert and how.
#[derive(Clone, Debug)]
pub struct CheckpointRequest<'a> {
    pub file: &'a Path,
    /// Of the network that the checkpoint is of, and of the run to go on with.
    pub config: Config,
    /// The vocabulary that it was trained with.
    pub vocabulary: Vocabulary,
    /// The run folder to be made.
    pub out: &'a Path,
    /// Names, or beginnings that end with `*`, of tensors that may be left out or stay initial, and
    /// `optimizer`.
    pub allow: Vec<String>,
    pub output: Output,
}

impl CheckpointRequest<'_> {
    fn allows(&self, name: &str) -> bool {
        self.allow.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => pattern == name,
        })
    }
}

/// Reads a checkpoint and writes a run folder with it as the latest checkpoint, which `eval`,
/// `predict`, `--finetune-from` and `--resume` take.
///
/// # Errors
/// Every tensor must be known to the network, there and of its shape, unless `allow` names it.
pub fn convert_checkpoint(request: CheckpointRequest) -> Result<CheckpointReport, ConvertError> {
    request.output.check_folder(request.out)?;
    let path = request.file;
    let bytes = std::fs::read(path).map_err(|source| ConvertError::Read { path: path.into(), source })?;
    let torch = |source| ConvertError::Torch { path: path.into(), source: Box::new(source) };
    let container = Container::open(&bytes).map_err(torch)?;
    let file = container.read().map_err(torch)?;
    let content = |problem: String| ConvertError::Content { path: path.into(), problem };

    let root = file.root();
    let state_dict = match file.get(root, "state_dict") {
        Some(dict) => dict,
        // A state dict alone, as published weights often are.
        None if file
            .pairs(root)
            .is_some_and(|pairs| pairs.iter().any(|(_, v)| file.tensor(*v).is_some())) =>
        {
            root
        }
        None => {
            return Err(content(format!(
                "{} without state_dict, expected a checkpoint",
                file.describe(root)
            )));
        }
    };

    let words = request.vocabulary.len();
    let mut config = request.config.clone();
    let (_, parameters) = Network::create(&config.model, words, config.train.seed, &Device::Cpu)?;
    let (model, mut listing) = tensors::take(&file, state_dict, &parameters, None).map_err(content)?;
    let ema = match file.get(root, "ema_state_dict") {
        None | Some(Value::None) => None,
        Some(dict) => {
            let (ema, of_ema) = tensors::take(&file, dict, &parameters, Some(&model)).map_err(content)?;
            listing.add_ema(of_ema);
            Some(ema)
        }
    };
    listing
        .judge(|name| request.allows(name), words)
        .map_err(|mismatch| ConvertError::Mismatch { path: path.into(), mismatch })?;

    let mut notes = Vec::new();
    if config.train.ema != ema.is_some() {
        config.train.ema = ema.is_some();
        notes.push(format!("train.ema = {}: the file's own", config.train.ema));
    }
    let mut state = progress(&file, config.model.task);
    let optimizer = match file.get(root, "optimizer") {
        None | Some(Value::None) => None,
        Some(_) if request.allows("optimizer") => None,
        Some(dict) => {
            let read = optimizer::take(&file, dict, &parameters.trainable(), &mut config.train, &mut notes);
            let (tensors, steps) = read.map_err(|problem| {
                content(format!("the optimizer's state: {problem}; --allow optimizer leaves it out"))
            })?;
            (state.step, state.ema_updates) = (steps, steps as u64);
            Some(tensors)
        }
    };
    // What the file says must make sense, or the checkpoint could be written but not read.
    let config = config.with(&[]).map_err(|error| {
        content(format!("the optimizer's settings: {error}; --allow optimizer leaves them out"))
    })?;
    let unused = file.pairs(root).unwrap_or_default().iter().filter_map(|(key, _)| file.text(*key));
    let unused =
        if root == state_dict { Vec::new() } else { unused.filter(|k| !KNOWN.contains(k)).collect() };
    notes.extend(unused.into_iter().map(|key| format!("entry `{key}` is not used")));

    let best = match config.model.task {
        Task::Detection => Pointer::DetBest,
        Task::Segmentation | Task::MultiTask => Pointer::SegmBest,
    };
    let report = CheckpointReport {
        out: request.out.into(),
        listing,
        notes,
        epoch: state.epoch,
        step: state.step,
        best: [state.best_det, state.best_segm],
        has_ema: ema.is_some(),
        has_optimizer: optimizer.is_some(),
    };
    request.output.folder(request.out, |folder| {
        let run = RunFolder::at(folder.into(), &config)?;
        let vocabulary = &request.vocabulary;
        let snapshot = Snapshot { config: &config, vocabulary, state: &state, model, ema, optimizer };
        run.checkpoints()?.save(&snapshot, &[best], 1)?;
        Ok(())
    })?;
    Ok(report)
}

/// Finished epochs and the scores of these weights: the best that is there. The reference counts epochs from 0 and saves
/// the best of the epochs before beside them, which is theirs where they have none.
fn progress(file: &TorchFile, task: Task) -> TrainState {
    let number =
        |key| file.get(file.root(), key).and_then(|value| file.number(value)).filter(|n| n.is_finite());
    let best = |present, before| number(present).or_else(|| number(before));
    TrainState {
        epoch: number("epoch").map_or(0, |epoch| (epoch + 1.0).clamp(0.0, 1e9) as usize),
        best_det: best("d_acc", "best_d_acc").filter(|_| task != Task::Segmentation),
        best_segm: best("miou", "best_miou").filter(|_| task != Task::Detection),
        ..TrainState::default()
    }
}
