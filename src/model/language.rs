//! The expression's vector.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::LanguageConfig;
use crate::nn::{BiGru, Pass, lookup, table};

/// Word vectors, a bidirectional GRU, the maximum over the words.
///
/// The GRU reads the padded row, so its backward direction starts inside the padding; only the
/// pooling leaves padding out (quirk 4).
#[derive(Clone, Debug)]
pub struct Language {
    words: Tensor,
    gru: BiGru,
}

impl Language {
    /// `vocabulary` counts the rows of the word table, padding and unknown included.
    pub fn new(cfg: &LanguageConfig, vocabulary: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            words: table(vocabulary, cfg.word_dim, vb.pp("embedding"))?,
            gru: BiGru::new(cfg.word_dim, cfg.hidden, vb.pp("lstm"))?,
        })
    }

    /// Word indices `[B, T]` u32, 0 = padding -> `[B, 2 * hidden]`. A row without any word is zero.
    pub fn forward(&self, words: &Tensor, pass: &Pass) -> Result<Tensor> {
        let states = self.gru.forward(&lookup(&self.words, words)?)?;
        let real = words.ne(0u32)?.to_dtype(DType::F32)?;
        let any = real.max_keepdim(1)?;
        // A row without words pools over all of it and is then set to zero.
        let pooled_over = real.broadcast_eq(&any)?;
        let infinite = Tensor::full(f32::NEG_INFINITY, real.shape(), real.device())?;
        let penalty = pooled_over.where_cond(&real.zeros_like()?, &infinite)?;
        let pooled = states.broadcast_add(&penalty.unsqueeze(2)?)?.max(1)?.broadcast_mul(&any)?;
        pass.watch(|| "lan_enc".into(), &pooled);
        Ok(pooled)
    }
}
