//! Causal self-attention over the tokens, cross-attention to the memory.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::feed_forward::FeedForward;
use crate::config::ModelConfig;
use crate::model::attention::{Attention, KeysValues, causal_bias};
use crate::model::grid::Grid;
use crate::model::points::PointNet;
use crate::nn::{LayerNorm, Pass, table};

/// What the decoder looks at, with each layer's keys and values made once.
#[derive(Clone, Debug)]
pub struct Source {
    layers: Vec<KeysValues>,
    /// -inf at padded cells, `[B, 1, 1, N]`.
    bias: Option<Tensor>,
    grid: Grid,
    /// Positions of the memory behind the cells.
    extra: usize,
}

impl Source {
    /// The batch rows named by `rows`.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        let index = Tensor::new(rows, self.layers[0].device())?;
        Ok(Self {
            layers: self.layers.iter().map(|layer| layer.select(&index)).collect::<Result<_>>()?,
            bias: self.bias.as_ref().map(|bias| bias.index_select(&index, 0)).transpose()?,
            grid: self.grid.select(rows),
            extra: self.extra,
        })
    }
}

/// Keys and values of the tokens decoded so far, by layer; empty at the start.
#[derive(Debug, Default)]
pub struct Past {
    /// With room for as many tokens as there are positions.
    layers: Vec<KeysValues>,
    tokens: usize,
}

impl Past {
    /// The batch rows named by `rows`.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        let Some(first) = self.layers.first() else { return Ok(Self::default()) };
        let index = Tensor::new(rows, first.device())?;
        let layers = self.layers.iter().map(|layer| layer.select(&index)).collect::<Result<_>>()?;
        Ok(Self { layers, tokens: self.tokens })
    }

    /// Adds what layer `layer` makes of the next tokens; gives back all up to these.
    fn extend(&mut self, layer: usize, next: KeysValues, positions: usize) -> Result<KeysValues> {
        match self.layers.get(layer) {
            Some(before) => before.extend(self.tokens, &next),
            None => {
                self.layers.push(next.with_room(positions)?);
                Ok(next)
            }
        }
    }
}

/// Hidden states and where each layer looked.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// `[B, L, D]`.
    pub hidden: Tensor,
    /// Of each layer's cross-attention, before dropout: `[B, heads, L, N]`.
    pub attention: Vec<Tensor>,
}

#[derive(Clone, Debug)]
struct Layer {
    self_attention: Attention,
    cross_attention: Attention,
    feed_forward: FeedForward,
    norms: [LayerNorm; 3],
    point: Option<PointNet>,
    dropout: f64,
    name: String,
}

impl Layer {
    fn new(cfg: &ModelConfig, index: usize, vb: VarBuilder) -> Result<Self> {
        let d = cfg.d_model;
        // Without point modulation the reference uses the configured dropout here as well (quirk 8).
        let cross_dropout = if cfg.point_modulation { cfg.cross_attention_dropout } else { cfg.dropout };
        let norm = |name: &str| LayerNorm::new(d, vb.pp(name));
        Ok(Self {
            self_attention: Attention::new(d, cfg.heads, cfg.dropout, vb.pp("self_attn"))?,
            cross_attention: Attention::new(d, cfg.heads, cross_dropout, vb.pp("multihead_attn"))?,
            feed_forward: FeedForward::new(d, cfg.feed_forward, cfg.dropout, &vb)?,
            norms: [norm("norm1")?, norm("norm2")?, norm("norm3")?],
            point: match cfg.point_modulation {
                true => Some(PointNet::new(d, cfg.point_hidden, cfg.heads, vb.pp("point"))?),
                false => None,
            },
            dropout: cfg.dropout,
            name: format!("decoder.{index}"),
        })
    }

    fn for_few_rows(&self) -> Result<Self> {
        Ok(Self {
            self_attention: self.self_attention.for_few_rows()?,
            cross_attention: self.cross_attention.for_few_rows()?,
            feed_forward: self.feed_forward.for_few_rows()?,
            point: self.point.as_ref().map(PointNet::for_few_rows).transpose()?,
            ..self.clone()
        })
    }

    /// What is added to the logits of the cross-attention.
    fn bias(&self, x: &Tensor, source: &Source, pass: &Pass) -> Result<Option<Tensor>> {
        let Some(point) = &self.point else { return Ok(source.bias.clone()) };
        let spatial = point.bias(x, &source.grid, source.extra, &self.name, pass)?;
        match &source.bias {
            Some(padding) => spatial.broadcast_add(padding).map(Some),
            None => Ok(Some(spatial)),
        }
    }
}

/// The decoder with its table of positions.
#[derive(Clone, Debug)]
pub struct Decoder {
    layers: Vec<Layer>,
    norm: LayerNorm,
    /// `[positions, D]`.
    positions: Tensor,
}

impl Decoder {
    /// `vb` is the transformer's.
    pub fn new(cfg: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        let layers = (0..cfg.decoder_layers)
            .map(|i| Layer::new(cfg, i, vb.pp("decoder").pp("layers").pp(i)))
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            norm: LayerNorm::new(cfg.d_model, vb.pp("decoder").pp("norm"))?,
            positions: table(cfg.positions(), cfg.d_model, vb.pp("seq_positional_encoding").pp("embedding"))?,
        })
    }

    /// As [`Linear::for_few_rows`](crate::nn::Linear::for_few_rows).
    pub fn for_few_rows(&self) -> Result<Self> {
        let layers = self.layers.iter().map(Layer::for_few_rows).collect::<Result<_>>()?;
        Ok(Self { layers, ..self.clone() })
    }

    /// Prepares a memory `[B, N, D]` and its position code for decoding.
    pub fn source(
        &self,
        memory: &Tensor,
        position: &Tensor,
        bias: Option<&Tensor>,
        grid: &Grid,
    ) -> Result<Source> {
        let placed = (memory + position)?;
        Ok(Source {
            layers: self
                .layers
                .iter()
                .map(|layer| layer.cross_attention.source(&placed, memory))
                .collect::<Result<_>>()?,
            bias: bias.cloned(),
            grid: grid.clone(),
            extra: memory.dim(1)? - grid.cells(),
        })
    }

    /// Decodes embeddings `[B, L, D]`: those after the ones in `past`, which then contains them, or all of a
    /// sequence.
    pub fn forward(
        &self,
        x: &Tensor,
        source: &Source,
        mut past: Option<&mut Past>,
        pass: &Pass,
    ) -> Result<Decoded> {
        let (n, before) = (x.dim(1)?, past.as_ref().map_or(0, |past| past.tokens));
        let position = self.positions.narrow(0, before, n)?;
        let causal = if n > 1 { Some(causal_bias(before, n, x)?) } else { None };
        let mut x = x.clone();
        let mut attention = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let drop = |y: &Tensor| pass.dropout(y, layer.dropout);
            let placed = x.broadcast_add(&position)?;
            let mut own = layer.self_attention.keys_values(&placed, &x)?;
            if let Some(past) = &mut past {
                own = past.extend(i, own, self.positions.dim(0)?)?;
            }
            let (y, _) = layer.self_attention.attend(&placed, &own, causal.as_ref(), pass)?;
            x = layer.norms[0].forward(&(x + drop(&y)?)?)?;
            let bias = layer.bias(&x, source, pass)?;
            let placed = x.broadcast_add(&position)?;
            let (y, looked) =
                layer.cross_attention.attend(&placed, &source.layers[i], bias.as_ref(), pass)?;
            attention.push(looked);
            x = layer.norms[1].forward(&(x + drop(&y)?)?)?;
            let y = layer.feed_forward.forward(&x, pass)?;
            x = layer.norms[2].forward(&(x + drop(&y)?)?)?;
            pass.watch(|| layer.name.clone(), &x);
        }
        if let Some(past) = past {
            past.tokens += n;
        }
        let hidden = self.norm.forward(&x)?;
        pass.watch(|| "decoder.norm".into(), &hidden);
        Ok(Decoded { hidden, attention })
    }
}
