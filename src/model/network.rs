//! The whole network.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;

use super::attention::padding_bias;
use super::auxiliary::{Auxiliary, AuxiliaryLosses, Observed};
use super::co_content::CoContent;
use super::darknet::Darknet;
use super::fusion::Fusion;
use super::grid::Grid;
use super::language::Language;
use super::loss::token_loss;
use super::quantise::Sequence;
use super::transformer::{Decoded, Decoder, Encoder, Source};
use super::{Inputs, ModelError, Targets};
use crate::config::{ModelConfig, Task};
use crate::nn::ops::{linear, modulate, positions};
use crate::nn::{Arithmetic, GroupNorm, Linear, Parameters, Pass, init, lookup, table};

/// What an image gives before any words are read; many expressions can share it.
#[derive(Clone, Debug)]
pub struct Visual {
    /// The fused map before its tanh, cell by cell: `[images, h * w, C]`.
    cells: Tensor,
    grid: Grid,
}

/// The encoder's memory of an image and an expression, one row each.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// `[B, N, D]`: the cells, then the language token if there is one.
    pub memory: Tensor,
    /// Sine code of the cells, zero for the language token: `[B, N, D]`.
    pub position: Tensor,
    pub grid: Grid,
    pub(super) source: Source,
    pub(super) co_content: Option<CoContent>,
}

/// Partial-RES or, with its additions switched off, SeqTR.
#[derive(Clone, Debug)]
pub struct Network {
    pub(super) cfg: ModelConfig,
    arithmetic: Arithmetic,
    darknet: Darknet,
    language: Language,
    encoder: Encoder,
    pub(super) decoder: Decoder,
    /// `[bins + 1, D]`.
    tokens: Tensor,
    task_prompt: Option<Tensor>,
    input_weight: Tensor,
    input_bias: Tensor,
    input_norm: GroupNorm,
    predictor: [Linear; 3],
    /// Start of the box and of the outline in the multi-task sequence, `[2, D]`.
    task_tokens: Option<Tensor>,
    fusion: Fusion,
    auxiliary: Auxiliary,
}

/// The training loss and what it is the weighted sum of; scalars. Auxiliary losses that are
/// switched off are absent.
#[derive(Clone, Debug)]
pub struct Losses {
    pub total: Tensor,
    pub tokens: Tensor,
    pub auxiliary: AuxiliaryLosses,
    /// `[B, L, bins + 1]`.
    pub logits: Tensor,
    /// What the logits should say.
    pub sequences: Vec<Sequence>,
}

impl Network {
    /// A network to be trained, with initial values drawn from `seed`, and its parameters.
    ///
    /// # Errors
    /// [`ModelError::Config`] for sizes that don't fit.
    pub fn create(
        cfg: &ModelConfig,
        vocabulary: usize,
        seed: u64,
        device: &Device,
    ) -> std::result::Result<(Self, Parameters), ModelError> {
        let parameters = Parameters::new(seed, device, Arc::new(cfg.clone()));
        Ok((Self::new(cfg, vocabulary, parameters.builder())?, parameters))
    }

    /// A network over the tensors of `vb`. `vocabulary` counts the rows of the word table.
    ///
    /// # Errors
    /// [`ModelError::Config`] for sizes that don't fit; an error of `vb` for missing tensors.
    pub fn new(
        cfg: &ModelConfig,
        vocabulary: usize,
        vb: VarBuilder,
    ) -> std::result::Result<Self, ModelError> {
        cfg.check().map_err(Box::new)?;
        Ok(Self::build(cfg, vocabulary, &vb)?)
    }

    fn build(cfg: &ModelConfig, vocabulary: usize, vb: &VarBuilder) -> Result<Self> {
        let d = cfg.d_model;
        let channels = cfg.darknet.widths[5];
        // Modules are made in the order of the reference's state_dict.
        let darknet = Darknet::new(&cfg.darknet, vb.pp("vis_enc"))?;
        let language = Language::new(&cfg.language, vocabulary, vb.pp("lan_enc"))?;
        let head = vb.pp("head");
        let transformer = head.pp("transformer");
        let encoder = Encoder::new(cfg, transformer.pp("encoder"))?;
        let decoder = Decoder::new(cfg, transformer.clone())?;
        let tokens = table(cfg.bins + 1, d, transformer.pp("query_embedding"))?;
        let task_prompt = match cfg.task_prompt {
            true => Some(table(1, d, transformer.pp("task_prompt"))?),
            false => None,
        };
        let projection = transformer.pp("input_proj");
        let input_weight = projection.pp("conv").get_with_hints(
            (d, channels, 1, 1),
            "weight",
            init::kaiming_fan_out(d, 1, 0.0),
        )?;
        let input_bias = projection.pp("conv").get_with_hints(d, "bias", init::ZEROS)?;
        let input_norm = GroupNorm::new(cfg.input_groups, d, projection.pp("gn"))?;
        let layer = |i: usize, outputs| {
            Linear::new(d, outputs, init::fan_in(d), init::fan_in(d), head.pp("predictor").pp(i).pp("fc"))
        };
        let predictor = [layer(0, d)?, layer(1, d)?, layer(2, cfg.bins + 1)?];
        let task_tokens = match cfg.task {
            Task::MultiTask => Some(table(2, d, head.pp("task_embedding"))?),
            Task::Segmentation | Task::Detection => None,
        };
        Ok(Self {
            cfg: cfg.clone(),
            arithmetic: Arithmetic::F32,
            darknet,
            language,
            encoder,
            decoder,
            tokens,
            task_prompt,
            input_weight,
            input_bias,
            input_norm,
            predictor,
            task_tokens,
            fusion: Fusion::new(&cfg.darknet, vb.pp("fusion"))?,
            auxiliary: Auxiliary::new(cfg, vb.pp("auxiliary"))?,
        })
    }

    pub fn config(&self) -> &ModelConfig {
        &self.cfg
    }

    /// The same network for evaluations in this arithmetic, in f32 before.
    pub fn in_arithmetic(self, arithmetic: Arithmetic) -> Self {
        Self { arithmetic, ..self }
    }

    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// An evaluation in this network's arithmetic, after [`Arithmetic::allow`].
    pub fn evaluation(&self) -> Pass {
        Pass::evaluation().in_bf16(self.arithmetic == Arithmetic::Bf16)
    }

    /// Runs the convolutions: images `[images, 3, H, W]`, RGB 0..255, and their sizes without
    /// padding.
    ///
    /// # Errors
    /// [`ModelError::Batch`] when H or W isn't a multiple of the backbone's stride.
    pub fn visual(
        &self,
        images: &Tensor,
        image_hw: &[(usize, usize)],
        pass: &Pass,
    ) -> std::result::Result<Visual, ModelError> {
        let (_, _, height, width) = images.dims4()?;
        let stride = self.cfg.darknet.stride();
        if height % stride != 0 || width % stride != 0 {
            return Err(ModelError::Batch {
                what: "images of",
                found: format!("{height} x {width} pixels"),
                expected: format!("multiples of {stride}"),
            });
        }
        let fused = self.fusion.forward(&self.darknet.forward(images, pass)?, pass)?;
        let (_, _, h, w) = fused.dims4()?;
        let cells = positions(&fused)?;
        Ok(Visual { cells, grid: Grid::new(h, w, (height, width), image_hw) })
    }

    /// Reads the words into the image: row i combines image `image_of[i]` with `words[i]`.
    pub fn encode(&self, visual: &Visual, image_of: &[u32], words: &Tensor, pass: &Pass) -> Result<Encoded> {
        let pooled = self.language.forward(words, pass)?;
        let language = pooled.tanh()?;
        pass.watch(|| "fusion_lang".into(), &language.unsqueeze(1)?);
        let grid = visual.grid.select(image_of);
        let features = modulate(&visual.cells, &language, image_of, self.cfg.language_token)?;
        pass.watch(|| "fusion".into(), &features.narrow(1, 0, grid.cells())?);
        let mut position = grid.sine_code(self.cfg.d_model, features.device())?;
        pass.watch(|| "position".into(), &position);
        let extra = usize::from(self.cfg.language_token);
        if self.cfg.language_token {
            position = position.pad_with_zeros(1, 0, 1)?;
        }
        let projected = linear(&features, &self.input_weight.flatten_from(1)?, &self.input_bias)?;
        let mut x = self.input_norm.forward(&projected)?;
        pass.watch(|| "input_proj".into(), &x);
        if self.cfg.sine_in_values {
            x = (x + &position)?;
        }
        let bias = padding_bias(&grid, extra, x.device())?;
        let memory = self.encoder.forward(x, &position, bias.as_ref(), pass)?;
        let source = self.decoder.source(&memory, &position, bias.as_ref(), &grid)?;
        let co_content = match self.cfg.co_content {
            true => Some(CoContent::new(self.cfg.co_content_axes, self.cfg.bins, &memory, &grid)?),
            false => None,
        };
        Ok(Encoded { memory, position, grid, source, co_content })
    }

    /// Runs images and words up to the memory.
    ///
    /// # Errors
    /// [`ModelError::Batch`] when rows and images don't fit together.
    pub fn forward(&self, inputs: &Inputs, pass: &Pass) -> std::result::Result<Encoded, ModelError> {
        inputs.check()?;
        let visual = self.visual(&inputs.images, &inputs.image_hw, pass)?;
        Ok(self.encode(&visual, &inputs.image_of, &inputs.words, pass)?)
    }

    /// Teacher forcing: logits `[B, L, bins + 1]` of each position given the true tokens before.
    pub fn teacher(&self, encoded: &Encoded, sequences: &[Sequence], pass: &Pass) -> Result<Tensor> {
        let (logits, _) = self.teacher_looking(encoded, sequences, pass)?;
        Ok(logits)
    }

    /// Teacher forcing, and where each decoder layer looked, `[B, heads, L, N]`.
    fn teacher_looking(
        &self,
        encoded: &Encoded,
        sequences: &[Sequence],
        pass: &Pass,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        let x = self.embed(encoded, sequences)?;
        let Decoded { hidden, attention } = self.decoder.forward(&x, &encoded.source, None, pass)?;
        let logits = self.logits(&hidden)?;
        pass.watch(|| "logits".into(), &logits);
        Ok((logits, attention))
    }

    /// The training loss.
    ///
    /// # Errors
    /// [`ModelError::Batch`] when inputs or targets don't fit together or lack what the task needs.
    pub fn loss(
        &self,
        inputs: &Inputs,
        targets: &Targets,
        pass: &Pass,
    ) -> std::result::Result<Losses, ModelError> {
        self.loss_of_share(inputs, targets, None, pass)
    }

    /// The same of a share of a batch, whose token loss has the `divisor` of
    /// [`token_loss`](super::token_loss).
    ///
    /// # Errors
    /// As [`Network::loss`].
    pub fn loss_of_share(
        &self,
        inputs: &Inputs,
        targets: &Targets,
        divisor: Option<f32>,
        pass: &Pass,
    ) -> std::result::Result<Losses, ModelError> {
        inputs.check()?;
        targets.check(&self.cfg, inputs.image_of.len())?;
        let visual = self.visual(&inputs.images, &inputs.image_hw, pass)?;
        let encoded = self.encode(&visual, &inputs.image_of, &inputs.words, pass)?;
        let sequences = Sequence::of_targets(&self.cfg, targets);
        let (logits, attention) = self.teacher_looking(&encoded, &sequences, pass)?;
        let tokens = token_loss(&self.cfg, &logits, &sequences, targets.weights.as_deref(), divisor)?;
        let observed = Observed {
            fused: &visual.cells,
            image_of: &inputs.image_of,
            memory: &encoded.memory,
            attention: &attention,
            grid: &encoded.grid,
        };
        let auxiliary = self.auxiliary.losses(&self.cfg, observed, targets, &sequences)?;
        let total = auxiliary.add_to(&(&tokens * self.cfg.loss.token_weight)?, &self.cfg.auxiliary)?;
        Ok(Losses { total, tokens, auxiliary, logits, sequences })
    }

    /// The decoder's input: a start, then the tokens (quirks 12 and 59).
    fn embed(&self, encoded: &Encoded, sequences: &[Sequence]) -> Result<Tensor> {
        let rows = sequences.len();
        let phase = |from: usize, to: usize| {
            let tokens: Vec<Vec<u32>> = sequences.iter().map(|row| row.tokens[from..to].to_vec()).collect();
            self.embed_tokens(encoded.co_content.as_ref(), &tokens, 0)
        };
        let n = sequences.first().map_or(0, |row| row.tokens.len());
        match self.cfg.task {
            Task::MultiTask => {
                let (of_box, of_outline) =
                    (self.start(Task::Detection, rows)?, self.start(Task::Segmentation, rows)?);
                Tensor::cat(&[&of_box, &phase(0, 4)?, &of_outline, &phase(4, n)?], 1)
            }
            task @ (Task::Segmentation | Task::Detection) => {
                Tensor::cat(&[&self.start(task, rows)?, &phase(0, n)?], 1)
            }
        }
    }

    /// Embeddings of tokens with their co-content features, `[B, n, D]`; `first` tokens of the
    /// phase came before.
    pub(super) fn embed_tokens(
        &self,
        co_content: Option<&CoContent>,
        tokens: &[Vec<u32>],
        first: usize,
    ) -> Result<Tensor> {
        let embedded = lookup(&self.tokens, &Tensor::new(tokens.to_vec(), self.tokens.device())?)?;
        match co_content {
            Some(co_content) => embedded + co_content.features(tokens, first)?,
            None => Ok(embedded),
        }
    }

    /// What the decoder reads before a box or an outline, `[rows, 1, D]`.
    pub(super) fn start(&self, phase: Task, rows: usize) -> Result<Tensor> {
        let d = self.cfg.d_model;
        let row = match (&self.task_tokens, &self.task_prompt, phase) {
            (Some(tokens), _, Task::Detection) => tokens.narrow(0, 0, 1)?,
            (Some(tokens), _, Task::Segmentation | Task::MultiTask) => tokens.narrow(0, 1, 1)?,
            (None, Some(prompt), Task::Segmentation) => prompt.clone(),
            (None, _, _) => Tensor::zeros((1, d), self.tokens.dtype(), self.tokens.device())?,
        };
        row.unsqueeze(0)?.broadcast_as((rows, 1, d))?.contiguous()
    }

    /// The same network for decoding token by token, as the tensors are now.
    pub(super) fn for_decoding(&self) -> Result<Self> {
        let [first, second, third] = &self.predictor;
        let predictor = [first.for_few_rows()?, second.for_few_rows()?, third.for_few_rows()?];
        Ok(Self { decoder: self.decoder.for_few_rows()?, predictor, ..self.clone() })
    }

    /// Hidden states `[.., D]` -> `[.., bins + 1]`.
    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let x = self.predictor[0].forward_relu(hidden)?;
        let x = self.predictor[1].forward_relu(&x)?;
        self.predictor[2].forward(&x)
    }
}
