//! DarkNet-53 without its classifier.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::DarknetConfig;
use crate::nn::ops::{for_tensor_cores, in_planes};
use crate::nn::{ConvUnit, Pass};

/// Squeeze to half the channels, expand again.
#[derive(Clone, Debug)]
struct Pair {
    squeeze: ConvUnit,
    expand: ConvUnit,
}

#[derive(Clone, Debug)]
enum Module {
    Unit(ConvUnit),
    Stage { pairs: Vec<Pair>, skip: bool },
}

impl Module {
    fn stage(channels: usize, pairs: usize, skip: bool, vb: VarBuilder) -> Result<Self> {
        let pairs = (0..pairs)
            .map(|i| {
                let vb = vb.pp("module_list").pp(i);
                Ok(Pair {
                    squeeze: ConvUnit::new(channels, channels / 2, 1, 1, vb.pp(0))?,
                    expand: ConvUnit::new(channels / 2, channels, 3, 1, vb.pp(1))?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self::Stage { pairs, skip })
    }

    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        match self {
            Self::Unit(unit) => unit.forward(x, pass),
            Self::Stage { pairs, skip } => pairs.iter().try_fold(x.clone(), |x, pair| {
                let squeezed = pair.squeeze.forward(&x, pass)?;
                if *skip {
                    pair.expand.forward_onto(&x, &squeezed, pass)
                } else {
                    pair.expand.forward(&squeezed, pass)
                }
            }),
        }
    }

    /// As [`Module::forward`], from and to bf16 ([`in_bf16`]).
    fn forward_bf16(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        match self {
            Self::Unit(unit) => unit.forward_bf16(None, x, pass),
            Self::Stage { pairs, skip } => pairs.iter().try_fold(x.clone(), |x, pair| {
                let squeezed = pair.squeeze.forward_bf16(None, &x, pass)?;
                pair.expand.forward_bf16(skip.then_some(&x), &squeezed, pass)
            }),
        }
    }
}

/// Outputs of the last three stages; in evaluation in bf16 and with channels last, where these were wanted
/// ([`for_tensor_cores`]).
#[derive(Clone, Debug)]
pub struct Levels {
    /// `[B, widths[3], H / 8, W / 8]` at the full size's strides.
    pub low: Tensor,
    /// `[B, widths[4], H / 16, W / 16]`.
    pub middle: Tensor,
    /// `[B, widths[5], H / 32, W / 32]`, after the tail.
    pub top: Tensor,
}

/// The backbone: 14 numbered modules, the odd ones from 1 to 9 open the stages that follow them.
#[derive(Clone, Debug)]
pub struct Darknet {
    modules: Vec<Module>,
    /// So many from the front are not trained.
    frozen: usize,
}

impl Darknet {
    pub fn new(cfg: &DarknetConfig, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("darknet");
        let unit = |i: usize, inputs, outputs, kernel, stride| {
            ConvUnit::new(inputs, outputs, kernel, stride, vb.pp(i)).map(Module::Unit)
        };
        let mut modules = vec![unit(0, 3, cfg.widths[0], 3, 1)?];
        for stage in 0..5 {
            let (inputs, outputs) = (cfg.widths[stage], cfg.widths[stage + 1]);
            modules.push(unit(modules.len(), inputs, outputs, 3, cfg.strides[stage])?);
            modules.push(Module::stage(outputs, cfg.blocks[stage], true, vb.pp(modules.len()))?);
        }
        let top = cfg.widths[5];
        modules.push(Module::stage(top, cfg.tail, false, vb.pp(11))?);
        modules.push(unit(12, top, top / 2, 1, 1)?);
        modules.push(unit(13, top / 2, top, 3, 1)?);
        Ok(Self { modules, frozen: cfg.frozen })
    }

    /// Images `[B, 3, H, W]`, RGB 0..255 (quirk 1), which bf16 holds exactly where a pass wants it.
    pub fn forward(&self, images: &Tensor, pass: &Pass) -> Result<Levels> {
        let mut x = if pass.is_constant(self.frozen > 0) {
            for_tensor_cores(images, pass.is_bf16(self.frozen > 0))?
        } else {
            images.clone()
        };
        let mut outputs = Vec::with_capacity(3);
        for (i, module) in self.modules.iter().enumerate() {
            let frozen = i < self.frozen;
            x = if pass.is_bf16(frozen) {
                module.forward_bf16(&x, pass)?
            } else if pass.is_constant(frozen) {
                module.forward(&x, pass)?
            } else {
                module.forward(&in_planes(&x)?, pass)?
            };
            if matches!(i, 6 | 8) {
                outputs.push(x.clone());
            }
        }
        outputs.push(x);
        // What follows is trained.
        if pass.is_training() {
            outputs = outputs.iter().map(in_planes).collect::<Result<_>>()?;
        }
        let [low, middle, top] = <[Tensor; 3]>::try_from(outputs).expect("DarkNet has 14 modules");
        let levels = Levels { low, middle, top };
        pass.watch(|| "level0".into(), &levels.low);
        pass.watch(|| "level1".into(), &levels.middle);
        pass.watch(|| "level2".into(), &levels.top);
        Ok(levels)
    }
}
