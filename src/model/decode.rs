//! Saying the tokens of a box or an outline, one after the other.

use candle_core::{Device, Result, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use serde::{Deserialize, Serialize};

use super::co_content::CoContent;
use super::network::{Encoded, Network};
use super::transformer::{Past, Source};
use crate::config::Task;
use crate::nn::Pass;
use crate::nn::ops::log_softmax_at;

/// How a token is chosen.
#[derive(Clone, Copy, Debug)]
pub enum Strategy<'a> {
    /// The likeliest.
    Greedy,
    /// Drawn from the likeliest tokens that together exceed the probability `p`, at a
    /// temperature; one seed for each row, so that a row doesn't depend on its batch.
    TopP { p: f64, temperature: f64, seeds: &'a [u64] },
}

/// The part of a sequence that is being spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// x1, y1, x2, y2.
    Box,
    /// x, y of the vertices, then the end token.
    Outline,
}

/// Tokens a decoder may choose from, beside what the network itself excludes.
pub trait Constraint {
    /// Whether row `row` of the batch may say `token` at place `step` of the phase.
    fn allows(&self, row: usize, phase: Phase, step: usize, token: u32) -> bool;
}

/// Tokens and the natural logarithms of the network's probabilities for them, whatever the
/// constraint and the strategy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spoken {
    /// Up to and with the first end token, which a box doesn't have.
    pub tokens: Vec<u32>,
    pub log_probabilities: Vec<f32>,
}

/// What was said about one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Four tokens, for detection and multi-task.
    pub bounds: Option<Spoken>,
    /// For segmentation and multi-task.
    pub outline: Option<Spoken>,
}

impl Network {
    /// Decodes every row. `task` may differ from the network's: one for segmentation can also say
    /// a box and the other way round, as far as its table of positions goes.
    ///
    /// Keys and values are kept, each step feeds one token, a row stops at its end token; that
    /// gives the reference's tokens up to there (quirks 13 and 28).
    ///
    /// # Errors
    /// When the table of positions is too short for the task, when the constraint allows no token
    /// and when logits aren't finite.
    pub fn generate(
        &self,
        encoded: &Encoded,
        task: Task,
        strategy: Strategy,
        constraint: Option<&dyn Constraint>,
    ) -> Result<Vec<Answer>> {
        let rows = encoded.memory.dim(0)?;
        let outline_tokens = 2 * self.cfg.vertices + 1;
        let needed = match task {
            Task::Detection => 4,
            Task::Segmentation => outline_tokens,
            Task::MultiTask => 5 + outline_tokens,
        };
        if needed > self.cfg.positions() || (task == Task::MultiTask) != (self.cfg.task == Task::MultiTask) {
            candle_core::bail!("a network for {:?} can't decode {task:?}", self.cfg.task);
        }
        let mut speaker = Speaker::new(self, encoded, rows, strategy, constraint)?;
        let mut answers = vec![Answer::default(); rows];
        if task != Task::Segmentation {
            let spoken = speaker.phase(Phase::Box, 4)?;
            answers.iter_mut().zip(spoken).for_each(|(answer, said)| answer.bounds = Some(said));
        }
        if task != Task::Detection {
            let spoken = speaker.phase(Phase::Outline, outline_tokens)?;
            answers.iter_mut().zip(spoken).for_each(|(answer, said)| answer.outline = Some(said));
        }
        Ok(answers)
    }
}

struct Speaker<'a> {
    network: Network,
    constraint: Option<&'a dyn Constraint>,
    /// One for each row when drawing.
    samplers: Vec<LogitsProcessor>,
    pass: Pass,
    /// The rows of the batch still being decoded.
    rows: Vec<usize>,
    source: Source,
    co_content: Option<CoContent>,
    past: Past,
    /// A last box token that the decoder hasn't read yet.
    unread: Option<Tensor>,
}

impl<'a> Speaker<'a> {
    fn new(
        network: &Network,
        encoded: &Encoded,
        rows: usize,
        strategy: Strategy,
        constraint: Option<&'a dyn Constraint>,
    ) -> Result<Self> {
        let samplers = match strategy {
            Strategy::Greedy => Vec::new(),
            Strategy::TopP { p, temperature, seeds } if seeds.len() == rows => seeds
                .iter()
                .map(|&seed| LogitsProcessor::from_sampling(seed, Sampling::TopP { p, temperature }))
                .collect(),
            Strategy::TopP { seeds, .. } => {
                candle_core::bail!("{} seeds were given for {rows} rows", seeds.len())
            }
        };
        Ok(Self {
            // Products of a single row pack nothing anyway.
            network: if rows > 1 { network.for_decoding()? } else { network.clone() },
            constraint,
            samplers,
            pass: Pass::evaluation(),
            rows: (0..rows).collect(),
            source: encoded.source.clone(),
            co_content: encoded.co_content.clone(),
            past: Past::default(),
            unread: None,
        })
    }

    /// At most `steps` tokens of every row.
    fn phase(&mut self, phase: Phase, steps: usize) -> Result<Vec<Spoken>> {
        let task = match phase {
            Phase::Box => Task::Detection,
            Phase::Outline => Task::Segmentation,
        };
        let mut spoken = vec![Spoken::default(); self.rows.len()];
        let mut x = self.network.start(task, self.rows.len())?;
        if let Some(unread) = self.unread.take() {
            x = Tensor::cat(&[&unread, &x], 1)?;
        }
        for step in 0..steps {
            let hidden =
                self.network.decoder.forward(&x, &self.source, Some(&mut self.past), &self.pass)?.hidden;
            let last = hidden.narrow(1, hidden.dim(1)? - 1, 1)?.squeeze(1)?;
            let logits = self.network.logits(&last)?.to_vec2::<f32>()?;
            let mut tokens = Vec::with_capacity(logits.len());
            for (row, logits) in self.rows.clone().into_iter().zip(&logits) {
                if ended(&spoken[row], self.network.cfg.end_token(), phase) {
                    tokens.push(vec![self.network.cfg.end_token()]);
                    continue;
                }
                let token = self.choose(row, phase, step, logits)?;
                spoken[row].tokens.push(token);
                spoken[row].log_probabilities.push(log_probability(logits, token));
                tokens.push(vec![token]);
            }
            let going: Vec<usize> = (0..tokens.len())
                .filter(|&i| !ended(&spoken[self.rows[i]], self.network.cfg.end_token(), phase))
                .collect();
            if going.is_empty() {
                break;
            }
            if 2 * going.len() <= tokens.len() {
                self.keep(&going)?;
                tokens = going.iter().map(|&i| tokens[i].clone()).collect();
            }
            x = self.network.embed_tokens(self.co_content.as_ref(), &tokens, step)?;
        }
        if phase == Phase::Box {
            self.unread = Some(x);
        }
        Ok(spoken)
    }

    /// Goes on with some rows of the batch only.
    fn keep(&mut self, places: &[usize]) -> Result<()> {
        let index: Vec<u32> = places.iter().map(|&i| i as u32).collect();
        self.source = self.source.select(&index)?;
        self.past = self.past.select(&index)?;
        if let Some(co_content) = &self.co_content {
            self.co_content = Some(co_content.select(&index)?);
        }
        self.rows = places.iter().map(|&i| self.rows[i]).collect();
        Ok(())
    }

    fn choose(&mut self, row: usize, phase: Phase, step: usize, logits: &[f32]) -> Result<u32> {
        let end = self.network.cfg.end_token();
        // In the multi-task sequence the first four tokens of the outline aren't the end either
        // (quirk 15).
        let no_end = phase == Phase::Box || (self.network.cfg.task == Task::MultiTask && step < 4);
        let allowed = |token: u32| {
            !(no_end && token == end)
                && self.constraint.is_none_or(|constraint| constraint.allows(row, phase, step, token))
        };
        let masked: Vec<f32> = (0u32..)
            .zip(logits)
            .map(|(token, &logit)| if allowed(token) { logit } else { f32::NEG_INFINITY })
            .collect();
        let best = (0u32..)
            .zip(&masked)
            .filter(|(_, logit)| logit.is_finite())
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((best, _)) = best else {
            candle_core::bail!(
                "row {row} has no token to say at step {step}: none is allowed or logits aren't finite"
            )
        };
        match self.samplers.get_mut(row) {
            Some(sampler) => sampler.sample(&Tensor::new(masked, &Device::Cpu)?),
            None => Ok(best),
        }
    }
}

fn ended(spoken: &Spoken, end: u32, phase: Phase) -> bool {
    phase == Phase::Outline && spoken.tokens.last() == Some(&end)
}

fn log_probability(logits: &[f32], token: u32) -> f32 {
    log_softmax_at(logits, token as usize)
}
