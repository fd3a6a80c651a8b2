//! Reading checkpoints.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use super::locate::{Place, locate};
use super::manifest::{MANIFEST, Manifest};
use super::store::{CONFIG, EMA, MODEL, OPTIMIZER, STATE, VOCABULARY, steps};
use super::{CheckpointError, TrainState, load_all};
use crate::config::Config;
use crate::model::Network;
use crate::model::info::parts;
use crate::report::Weights;
use crate::text::Vocabulary;

/// A checkpoint whose files were all compared with their checksums.
#[derive(Debug)]
pub struct Checkpoint {
    pub folder: PathBuf,
    pub config: Config,
    pub vocabulary: Vocabulary,
    /// Progress and the history of scores.
    pub state: TrainState,
    /// What the user must be told: a damaged checkpoint for which this one stands in.
    pub warnings: Vec<String>,
    manifest: Manifest,
}

impl Checkpoint {
    /// Opens the checkpoint at `path`: a checkpoint folder, a pointer (`latest`, `det_best`,
    /// `segm_best`), or a run or its `checkpoints` folder, which mean `latest`.
    ///
    /// Where `latest` is meant and its checkpoint is damaged, the one before is opened and
    /// `warnings` says so. A damaged checkpoint that was named itself, or is the best one, is an
    /// error: other weights in its place would give other scores.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        match locate(path)? {
            Place::Newest { folder, up_to } => Self::newest(folder, up_to),
            Place::One(folder) => match Manifest::check(&folder)? {
                Ok(manifest) => Self::read(folder, manifest, Vec::new()),
                Err(problem) => {
                    let advice = match whole_neighbours(&folder) {
                        names if names.is_empty() => "no other is beside it".to_owned(),
                        names => format!("whole ones beside it: {}", names.join(", ")),
                    };
                    Err(CheckpointError::Damaged { folder, problem, advice })
                }
            },
        }
    }

    fn newest(folder: PathBuf, up_to: usize) -> Result<Self, CheckpointError> {
        let mut damaged = Vec::new();
        for (_, candidate) in steps(&folder)?.into_iter().rev().filter(|&(step, _)| step <= up_to) {
            let problem = match Manifest::check(&candidate) {
                Ok(Ok(manifest)) => {
                    let stands_in = |problem| format!("{problem}; {} is used instead", candidate.display());
                    let warnings = damaged.into_iter().map(stands_in).collect();
                    return Self::read(candidate, manifest, warnings);
                }
                Ok(Err(problem)) => problem,
                Err(CheckpointError::NotACheckpoint { .. }) => format!("{MANIFEST} is missing"),
                Err(other) => return Err(other),
            };
            damaged.push(format!("checkpoint {} is damaged: {problem}", candidate.display()));
        }
        Err(CheckpointError::NoneWhole { folder, problems: damaged.join("; ") })
    }

    fn read(folder: PathBuf, manifest: Manifest, warnings: Vec<String>) -> Result<Self, CheckpointError> {
        let text = |name| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|source| CheckpointError::Read { path, source })
        };
        let config = Config::from_toml(&text(CONFIG)?, &folder.join(CONFIG).display().to_string())?;
        let json_error = |name: &str| {
            let (path, by) = (folder.join(name), manifest.program.clone());
            move |source| CheckpointError::Json { path, by, source }
        };
        let vocabulary = serde_json::from_str(&text(VOCABULARY)?).map_err(json_error(VOCABULARY))?;
        let state: TrainState = serde_json::from_str(&text(STATE)?).map_err(json_error(STATE))?;
        if let Some((field, found)) = state.overflow() {
            return Err(CheckpointError::Counter { path: folder.join(STATE), field, found });
        }
        Ok(Self { config, vocabulary, state, warnings, manifest, folder })
    }

    /// The raw or the averaged weights by name, on the CPU.
    pub fn weights(&self, which: Weights) -> Result<HashMap<String, Tensor>, CheckpointError> {
        let name = match which {
            Weights::Raw => MODEL,
            Weights::Ema if self.has_average() => EMA,
            Weights::Ema => return Err(CheckpointError::NoAverage { folder: self.folder.clone() }),
        };
        self.tensors(name)
    }

    /// Whether there are averaged weights.
    pub fn has_average(&self) -> bool {
        self.manifest.files.contains_key(EMA)
    }

    /// The weights that scores are reported of: averaged if there are any, else raw.
    pub fn best_weights(&self) -> Weights {
        if self.has_average() { Weights::Ema } else { Weights::Raw }
    }

    /// Whether the file of the weights is large enough for the network of the configuration. Asked before
    /// memory is taken for that network: the folder may come from anywhere.
    pub fn check_size(&self) -> Result<(), CheckpointError> {
        let parts = parts(&self.config.model, self.vocabulary.len(), 0, (0, 0));
        let parameters: usize = parts.iter().map(|part| part.parameters).sum();
        let path = self.folder.join(MODEL);
        let bytes = match fs::metadata(&path) {
            Ok(file) => file.len(),
            Err(source) => return Err(CheckpointError::Read { path, source }),
        };
        // Two bytes are half precision.
        match 2 * parameters as u64 <= bytes {
            true => Ok(()),
            false => Err(CheckpointError::Size { path, parameters, bytes }),
        }
    }

    /// The network with one set of its weights, for inference.
    pub fn network(&self, which: Weights, device: &Device) -> Result<Network, CheckpointError> {
        self.check_size()?;
        let (words, model) = (self.vocabulary.len(), &self.config.model);
        let (_, parameters) = Network::create(model, words, 0, device)?;
        load_all(&parameters, self, which, model)?;
        Ok(Network::new(model, words, parameters.inference())?)
    }

    /// What `train::Adam::restore` takes.
    pub fn optimizer(&self) -> Result<HashMap<String, Tensor>, CheckpointError> {
        if !self.folder.join(OPTIMIZER).exists() {
            return Err(CheckpointError::NoOptimizer { folder: self.folder.clone() });
        }
        self.tensors(OPTIMIZER)
    }

    /// SHA-256 of the file of these weights, hexadecimal; identifies them in what is made with them.
    pub fn hash(&self, which: Weights) -> Option<&str> {
        let name = if which == Weights::Raw { MODEL } else { EMA };
        self.manifest.files.get(name).map(|entry| entry.sha256.as_str())
    }

    fn tensors(&self, name: &str) -> Result<HashMap<String, Tensor>, CheckpointError> {
        let path = self.folder.join(name);
        candle_core::safetensors::load(&path, &Device::Cpu)
            .map_err(|source| CheckpointError::Tensors { path, source })
    }
}

fn whole_neighbours(folder: &Path) -> Vec<String> {
    let beside = folder.parent().and_then(|parent| steps(parent).ok()).unwrap_or_default();
    let whole = beside.into_iter().filter(|(_, path)| matches!(Manifest::check(path), Ok(Ok(_))));
    whole.filter_map(|(_, path)| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
}
