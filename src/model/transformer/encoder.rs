//! Self-attention over the cells and the language token.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::feed_forward::FeedForward;
use crate::config::ModelConfig;
use crate::model::attention::Attention;
use crate::nn::{LayerNorm, Pass};

#[derive(Clone, Debug)]
struct Layer {
    attention: Attention,
    feed_forward: FeedForward,
    norms: [LayerNorm; 2],
    dropout: f64,
}

impl Layer {
    fn new(cfg: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        let d = cfg.d_model;
        Ok(Self {
            attention: Attention::new(d, cfg.heads, cfg.dropout, vb.pp("self_attn"))?,
            feed_forward: FeedForward::new(d, cfg.feed_forward, cfg.dropout, &vb)?,
            norms: [LayerNorm::new(d, vb.pp("norm1"))?, LayerNorm::new(d, vb.pp("norm2"))?],
            dropout: cfg.dropout,
        })
    }

    fn forward(&self, x: &Tensor, position: &Tensor, bias: Option<&Tensor>, pass: &Pass) -> Result<Tensor> {
        let placed = (x + position)?;
        let memory = self.attention.keys_values(&placed, x)?;
        let (y, _) = self.attention.attend(&placed, &memory, bias, pass)?;
        let x = self.norms[0].forward(&(x + pass.dropout(&y, self.dropout)?)?)?;
        let y = self.feed_forward.forward(&x, pass)?;
        self.norms[1].forward(&(&x + pass.dropout(&y, self.dropout)?)?)
    }
}

/// Post-norm layers; the position code enters queries and keys, never values (quirk 12).
#[derive(Clone, Debug)]
pub struct Encoder {
    layers: Vec<Layer>,
}

impl Encoder {
    pub fn new(cfg: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        let layers =
            (0..cfg.encoder_layers).map(|i| Layer::new(cfg, vb.pp("layers").pp(i))).collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// `[B, N, D]` -> `[B, N, D]`. `bias` is -inf at padded keys, `[B, 1, 1, N]`.
    pub fn forward(
        &self,
        x: Tensor,
        position: &Tensor,
        bias: Option<&Tensor>,
        pass: &Pass,
    ) -> Result<Tensor> {
        self.layers.iter().enumerate().try_fold(x, |x, (i, layer)| {
            let x = layer.forward(&x, position, bias, pass)?;
            pass.watch(|| format!("encoder.{i}"), &x);
            Ok(x)
        })
    }
}
