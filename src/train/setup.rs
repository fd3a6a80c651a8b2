//! Beginning a training, or going on with one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::average::Average;
use super::{Adam, RunFolder, TrainError, Trainer};
use crate::checkpoint::{Checkpoint, TrainState, finetune, load_all};
use crate::config::{Config, Task};
use crate::data::{Dataset, INSTANCES};
use crate::model::{BACKBONE, Network, WORD_TABLE};
use crate::nn::{Parameters, Role};
use crate::parallel::{ParallelError, world};
use crate::report::{Log, Weights, write_results};
use crate::text::Vocabulary;

const RANDOM_BACKBONE: &str = "WARNING: the first modules of the backbone are random and frozen \
    (model.darknet.frozen): nothing says what to begin from; --set train.backbone=FILE takes what \
    `cargo convert darknet` makes of darknet.weights, --finetune-from a checkpoint";
const RANDOM_WORDS: &str = "WARNING: the word table is random and frozen: no word vectors lie beside the \
    annotations, and no checkpoint to begin from has the same vocabulary; `cargo convert vectors` makes them";

const OTHER_WORDS: &str = "the network reads them all as one unknown word. The vocabulary beside the annotations \
    is of other data; without it one is built from them";

impl Trainer {
    /// A new training in `run`. With `train.finetune_from` it begins from that checkpoint's
    /// `weights` (the reference takes the raw ones), else from `train.backbone` and the word
    /// vectors as far as they are there.
    pub fn begin(
        config: Config,
        run: RunFolder,
        weights: Weights,
        device: &Device,
        log: Log,
    ) -> Result<Self, TrainError> {
        let (train, val) = datasets(&config, None)?;
        let log = if world().is_root() { log.with_file(&run.log())? } else { log };
        for split in [&train, &val] {
            let coverage = split.coverage_by(split.vocabulary());
            if coverage.is_poor() {
                log.line(format!("WARNING: {}: {coverage}; {OTHER_WORDS}", split.split_name()))?;
            }
        }
        let trainer =
            Self::assemble(config, run, train, val, device, log, |config, train, parameters, log| {
                let mut random_words = !config.model.language.trainable_words;
                if let Some(vectors) = train.word_vectors()? {
                    load_word_vectors(config, &vectors, parameters, train.vocabulary())?;
                    random_words = false;
                }
                if let Some(path) = &config.train.backbone {
                    let count = load_backbone(path, parameters)?;
                    log.line(format!("backbone from {}: {count} tensors", path.display()))?;
                }
                if let Some(path) = &config.train.finetune_from {
                    let checkpoint = Checkpoint::open(path)?;
                    checkpoint.warnings.iter().try_for_each(|warning| log.line(warning))?;
                    let transfer =
                        finetune(parameters, &checkpoint, weights, &config.model, train.vocabulary())?;
                    log.line(transfer.to_string())?;
                    random_words &= transfer.loaded.iter().all(|name| name != WORD_TABLE);
                }
                if random_words {
                    log.line(RANDOM_WORDS)?;
                }
                let from = config.train.backbone.as_ref().or(config.train.finetune_from.as_ref());
                if config.model.darknet.frozen > 0 && from.is_none() {
                    log.line(RANDOM_BACKBONE)?;
                }
                Ok(())
            })?;
        Ok(trainer)
    }

    /// Goes on from a checkpoint of a run, exactly where it was written, with the configuration
    /// in `checkpoint.config`. What the run did afterwards is forgotten.
    pub fn resume(checkpoint: &Checkpoint, device: &Device, log: Log) -> Result<Self, TrainError> {
        let run = RunFolder::of_checkpoint(&checkpoint.folder)?;
        let log = if world().is_root() { log.with_file(&run.log())? } else { log };
        checkpoint.warnings.iter().try_for_each(|warning| log.line(warning))?;
        checkpoint.check_size()?;
        let config = checkpoint.config.clone();
        let (train, val) = datasets(&config, Some(&checkpoint.vocabulary))?;
        let load = |config: &Config, _: &Dataset, parameters: &Parameters, _: &Log| {
            Ok(load_all(parameters, checkpoint, Weights::Raw, &config.model)?)
        };
        let mut trainer = Self::assemble(config, run, train, val, device, log, load)?;
        trainer.adam.restore(&checkpoint.optimizer()?)?;
        trainer.state = checkpoint.state.clone();
        trainer.store.forget_lost(&mut trainer.state);
        if let Some(average) = &mut trainer.average {
            average.ema.restore(&checkpoint.weights(Weights::Ema)?, trainer.state.ema_updates)?;
        }
        if world().is_root() {
            write_results(&trainer.run.results(), &trainer.state.scores)?;
            if trainer.run.update(&trainer.config)? {
                trainer.log.line("the configuration is another one now: config.toml has it")?;
            }
        }
        let TrainState { epoch, batch, step, .. } = trainer.state;
        let from = checkpoint.folder.display();
        trainer.log.line(format!("resumed from {from}: epoch {}, batch {batch}, step {step}", epoch + 1))?;
        Ok(trainer)
    }

    /// `load` sets the initial weights, before anything copies them.
    fn assemble(
        config: Config,
        run: RunFolder,
        train: Arc<Dataset>,
        val: Arc<Dataset>,
        device: &Device,
        log: Log,
        load: impl FnOnce(&Config, &Dataset, &Parameters, &Log) -> Result<(), TrainError>,
    ) -> Result<Self, TrainError> {
        check_same_data(&config, [&train, &val])?;
        let lock = if world().is_root() { run.lock()? } else { None };
        let words = train.vocabulary().len();
        let (network, parameters) = Network::create(&config.model, words, config.train.seed, device)?;
        load(&config, &train, &parameters, &log)?;
        check_equal_weights(&parameters)?;
        let inference = Network::new(&config.model, words, parameters.inference())?;
        let trainable = parameters.trainable();
        let buffers = parameters.all().into_iter().filter(|p| p.role == Role::Buffer).collect();
        let adam = Adam::new(&trainable, &config.train)?;
        let average =
            config.train.ema.then(|| Average::new(&config, words, &parameters, device)).transpose()?;
        let store = run.checkpoints()?;
        let (device, state) = (device.clone(), TrainState::default());
        Ok(Self {
            config,
            device,
            run,
            store,
            log,
            train,
            val,
            network,
            inference,
            parameters,
            trainable,
            buffers,
            adam,
            average,
            state,
            _lock: lock,
        })
    }
}

/// Processes that learn different things, or in different ways, would drift apart.
fn check_same_data(config: &Config, datasets: [&Dataset; 2]) -> Result<(), TrainError> {
    if world().is_alone() {
        return Ok(());
    }
    world().check_same("another configuration", config.without_places().to_toml().as_bytes())?;
    for dataset in datasets {
        let annotations = dataset.annotations();
        let what = format!("other annotations in {}", annotations.path().display());
        world().check_same(&what, annotations.text().as_bytes())?;
    }
    let vocabulary = serde_json::to_vec(datasets[0].vocabulary()).expect("plain data");
    Ok(world().check_same("another vocabulary", &vocabulary)?)
}

/// Processes that begin with different weights would never agree again.
fn check_equal_weights(parameters: &Parameters) -> Result<(), TrainError> {
    if world().is_alone() {
        return Ok(());
    }
    // On the CPU: to sum a scalar, such as a count of batches, candle asks CUDA for no bytes, which it may refuse.
    let sum = |tensor: Tensor| {
        let values = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?;
        Ok(values.to_vec1::<f64>()?.iter().sum())
    };
    let own: Vec<f64> = parameters
        .all()
        .into_iter()
        .map(|p| sum(p.var.as_detached_tensor()))
        .collect::<candle_core::Result<_>>()?;
    let sums = world().share_f64(&own);
    match sums
        .iter()
        .position(|other| other.iter().map(|sum| sum.to_bits()).ne(sums[0].iter().map(|sum| sum.to_bits())))
    {
        Some(rank) => Err(ParallelError::OtherWeights { rank }.into()),
        None => Ok(()),
    }
}

fn datasets(
    config: &Config,
    vocabulary: Option<&Vocabulary>,
) -> Result<(Arc<Dataset>, Arc<Dataset>), TrainError> {
    let data = &config.data;
    let mut train = Dataset::open(data, &data.train_annotations, "train")?;
    if let Some(vocabulary) = vocabulary {
        train = train.with_vocabulary(vocabulary.clone());
    }
    if train.is_empty() {
        return Err(TrainError::Empty { path: train.annotations().path().to_owned() });
    }
    check_labels(config, &train)?;
    let lacking = train.referents().iter().filter(|referent| !referent.has_mask()).count();
    if lacking > 0 && config.model.task != Task::Detection {
        let path = train.annotations().path().to_owned();
        return Err(TrainError::NoMasks { path, lacking, of: train.len() });
    }
    let val = if data.train_annotations == INSTANCES {
        train.split(&data.val_split)?
    } else {
        Dataset::open(data, INSTANCES, &data.val_split)?.with_vocabulary(train.vocabulary().clone())
    };
    if val.is_empty() {
        let (path, split) = (val.annotations().path().to_owned(), val.split_name().to_owned());
        return Err(TrainError::EmptyVal { path, split });
    }
    Ok((Arc::new(train), Arc::new(val)))
}

/// Labels of the pretext task must be as many as the network has classes for; some may not occur.
fn check_labels(config: &Config, train: &Dataset) -> Result<(), TrainError> {
    let (auxiliary, found) = (&config.model.auxiliary, train.label_classes());
    let expected = &auxiliary.pretext_classes;
    let fit = found.len() == expected.len() && found.iter().zip(expected).all(|(found, most)| found <= most);
    if fit || !auxiliary.has_pretext() || expected.is_empty() {
        return Ok(());
    }
    Err(TrainError::Labels {
        path: train.annotations().path().to_owned(),
        fields: config.data.labels.clone(),
        found: found.to_vec(),
        expected: expected.clone(),
    })
}

fn load_word_vectors(
    config: &Config,
    vectors: &crate::text::WordVectors,
    parameters: &Parameters,
    vocabulary: &Vocabulary,
) -> Result<(), TrainError> {
    let (rows, dim) = (vocabulary.len(), config.model.language.word_dim);
    let (found_rows, found_dim) = (vectors.rows(), vectors.dim());
    if (found_rows, found_dim) != (rows, dim) {
        return Err(TrainError::WordVectors { found_rows, found_dim, rows, dim });
    }
    let table = Tensor::from_slice(vectors.values(), (rows, dim), &Device::Cpu)?;
    parameters.load(&HashMap::from([(WORD_TABLE.to_owned(), table)]))?;
    Ok(())
}

/// Weights of the backbone alone, by their names in the network; returns how many.
fn load_backbone(path: &Path, parameters: &Parameters) -> Result<usize, TrainError> {
    let wrong = |problem| TrainError::Backbone { path: path.into(), problem };
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| wrong(e.to_string()))?;
    let report = parameters.load(&tensors)?;
    if let Some(mismatch) = report.wrong_shape.first() {
        let (name, found, expected) = (&mismatch.name, &mismatch.found, &mismatch.expected);
        return Err(wrong(format!("{name} has shape {found:?}, model.darknet needs {expected:?}")));
    }
    let lacking = report.missing.iter().find(|name| name.starts_with(BACKBONE));
    if let Some(name) = lacking.or(report.unexpected.first()) {
        return Err(wrong(format!("{name} is only in one of file and network")));
    }
    Ok(report.loaded.len())
}
