//! The averaged weights and a network that uses them.

use candle_core::{DType, Device};
use candle_nn::VarBuilder;

use super::{Ema, TrainError};
use crate::config::Config;
use crate::model::Network;
use crate::nn::Parameters;

/// An [`Ema`] whose weights an own network shares, always up to date.
pub struct Average {
    pub ema: Ema,
    pub network: Network,
}

impl Average {
    pub fn new(
        config: &Config,
        words: usize,
        parameters: &Parameters,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let ema = Ema::new(&parameters.all(), config.train.ema_decay)?;
        let builder = VarBuilder::from_tensors(ema.weights(), DType::F32, device);
        Ok(Self { network: Network::new(&config.model, words, builder)?, ema })
    }

    pub fn update(&mut self) -> candle_core::Result<()> {
        self.ema.update()
    }
}
