//! Losses beside the tokens': where the referent is, where the decoder looks, what an object is.
//!
//! None is in the reference. A small network left to the token loss alone first learns the
//! distribution of coordinates and stays there for long; these say in every cell what matters.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::Targets;
use super::aim::Aim;
use super::grid::Grid;
use super::loss::goals;
use super::quantise::Sequence;
use crate::config::{AuxiliaryConfig, ModelConfig};
use crate::nn::ops::{SoftTarget, cross_entropy, log_mean};
use crate::nn::{Linear, init};

/// Weight of the L1 part of box losses, as in DETR.
const L1_WEIGHT: f64 = 5.0;
/// Keeps the logarithm of an attention probability finite.
const FLOOR: f64 = 1e-6;

/// The heads of the auxiliary losses; both are dropped in files of the reference's shape.
#[derive(Clone, Debug)]
pub struct Auxiliary {
    /// Each cell of the memory -> a logit and a box (x1, y1, x2, y2 in shares of the padded size).
    grounding: Option<Linear>,
    /// Each cell of the fused map -> classes of each label, distances to the box's four sides.
    pretext: Option<Linear>,
}

/// What the losses look at.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// `[images, cells, C]`.
    pub fused: &'a Tensor,
    pub image_of: &'a [u32],
    /// `[B, N, D]`.
    pub memory: &'a Tensor,
    /// Of each decoder layer, `[B, heads, L, N]`.
    pub attention: &'a [Tensor],
    /// Of the rows.
    pub grid: &'a Grid,
}

/// Scalars, before their weights; absent where the weight is 0.
#[derive(Clone, Debug, Default)]
pub struct AuxiliaryLosses {
    pub grounding: Option<Tensor>,
    pub grounding_box: Option<Tensor>,
    pub attention: Option<Tensor>,
    pub pretext: Option<Tensor>,
}

impl AuxiliaryLosses {
    /// Those that are on, by name.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        let all = [
            ("grounding", &self.grounding),
            ("grounding box", &self.grounding_box),
            ("attention", &self.attention),
            ("pretext", &self.pretext),
        ];
        all.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?)))
    }

    /// The weighted sum with another loss.
    pub fn add_to(&self, loss: &Tensor, cfg: &AuxiliaryConfig) -> Result<Tensor> {
        let parts = [
            (&self.grounding, cfg.grounding_weight),
            (&self.grounding_box, cfg.grounding_box_weight),
            (&self.attention, cfg.attention_weight),
            (&self.pretext, cfg.pretext_weight),
        ];
        parts.iter().try_fold(loss.clone(), |sum, (part, weight)| match part {
            Some(part) => sum + (part * *weight)?,
            None => Ok(sum),
        })
    }
}

impl Auxiliary {
    pub fn new(cfg: &ModelConfig, vb: VarBuilder) -> Result<Self> {
        let head = |on: bool, inputs: usize, outputs: usize, name: &str| match on {
            true => Linear::new(inputs, outputs, init::fan_in(inputs), init::fan_in(inputs), vb.pp(name))
                .map(Some),
            false => Ok(None),
        };
        let auxiliary = &cfg.auxiliary;
        let labels = auxiliary.pretext_classes.iter().sum::<usize>();
        Ok(Self {
            grounding: head(auxiliary.has_grounding(), cfg.d_model, 5, "grounding")?,
            pretext: head(auxiliary.has_pretext(), cfg.darknet.widths[5], labels + 4, "pretext")?,
        })
    }

    /// The losses that are on.
    pub fn losses(
        &self,
        cfg: &ModelConfig,
        observed: Observed,
        targets: &Targets,
        sequences: &[Sequence],
    ) -> Result<AuxiliaryLosses> {
        let mut losses = AuxiliaryLosses::default();
        let (true, Some(boxes)) = (cfg.auxiliary.is_on(), &targets.boxes) else { return Ok(losses) };
        let aim = Aim::new(observed.grid, boxes, &targets.pad_hw);
        if let Some(head) = &self.grounding {
            let cells = observed.memory.narrow(1, 0, observed.grid.cells())?;
            let said = head.forward(&cells)?;
            if cfg.auxiliary.grounding_weight > 0.0 {
                losses.grounding = Some(grounding(&said.narrow(2, 0, 1)?, observed.grid, &aim)?);
            }
            if cfg.auxiliary.grounding_box_weight > 0.0 {
                losses.grounding_box = Some(grounding_box(&said.narrow(2, 1, 4)?, &aim)?);
            }
        }
        if cfg.auxiliary.attention_weight > 0.0 {
            losses.attention = Some(attention(cfg, observed, &aim, sequences)?);
        }
        if let Some(head) = &self.pretext {
            let rows = Tensor::new(observed.image_of, observed.fused.device())?;
            let said = head.forward(observed.fused)?.index_select(&rows, 0)?;
            losses.pretext = Some(pretext(cfg, &said, &aim, targets.labels.as_deref())?);
        }
        Ok(losses)
    }
}

/// Divergence of the cells' softmax `[B, cells, 1]` from the aim, over valid cells; mean over rows.
fn grounding(logits: &Tensor, grid: &Grid, aim: &Aim) -> Result<Tensor> {
    let (b, cells, _) = logits.dims3()?;
    let hidden: Vec<f32> =
        grid.padding.iter().flatten().map(|&ignored| if ignored { -1e4 } else { 0.0 }).collect();
    let logits = (logits.squeeze(2)? + Tensor::from_vec(hidden, (b, cells), logits.device())?)?;
    let weight = 1.0 / b as f32;
    let targets = aim
        .weights
        .iter()
        .map(|row| {
            let peaks = (0u32..).zip(row.iter().copied()).filter(|(_, p)| *p > 0.0).collect();
            SoftTarget { weight, others: 0.0, peaks }
        })
        .collect();
    let entropy: f32 = aim.weights.iter().map(|row| entropy(row)).sum::<f32>() * weight;
    cross_entropy(&logits, targets)? - f64::from(entropy)
}

/// Boxes of all cells `[B, cells, 4]`, around the middle of the image, against the referent's,
/// weighted by the aim.
fn grounding_box(said: &Tensor, aim: &Aim) -> Result<Tensor> {
    let (b, _, _) = said.dims3()?;
    let said = (said + 0.5)?;
    let target = aim.boxes(&said)?.unsqueeze(1)?;
    let distance = said.broadcast_sub(&target)?.abs()?.sum(D::Minus1)?;
    let loss = ((distance * L1_WEIGHT)? + giou_loss(&said, &target.broadcast_as(said.shape())?)?)?;
    (loss * aim.tensor(&said)?)?.sum_all()? / b as f64
}

/// 1 - generalised IoU of boxes `[.., 4]`.
fn giou_loss(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let low = |t: &Tensor| t.narrow(D::Minus1, 0, 2);
    let high = |t: &Tensor| t.narrow(D::Minus1, 2, 2);
    let area = |sides: Tensor| -> Result<Tensor> {
        sides.narrow(D::Minus1, 0, 1)?.mul(&sides.narrow(D::Minus1, 1, 1)?)?.squeeze(D::Minus1)
    };
    let common = area((high(a)?.minimum(&high(b)?)? - low(a)?.maximum(&low(b)?)?)?.relu()?)?;
    let area_a = area((high(a)? - low(a)?)?.relu()?)?;
    let area_b = area((high(b)? - low(b)?)?.relu()?)?;
    let union = (((area_a + area_b)? - &common)? + 1e-6)?;
    let hull = (area((high(a)?.maximum(&high(b)?)? - low(a)?.minimum(&low(b)?)?)?)? + 1e-6)?;
    (common.div(&union)?.affine(-1.0, 1.0)? + (&hull - &union)?.div(&hull)?)?.contiguous()
}

/// Divergence of the heads' mean attention from the aim, mean over rows, queries and layers. A
/// query that is to say a vertex aims half at it.
fn attention(cfg: &ModelConfig, observed: Observed, aim: &Aim, sequences: &[Sequence]) -> Result<Tensor> {
    let cells = observed.grid.cells();
    let mut wanted = Vec::new();
    for (row, sequence) in sequences.iter().enumerate() {
        for goal in goals(cfg, sequence) {
            match goal.vertex {
                Some(vertex) => wanted.extend(aim.halfway_to(row, vertex, observed.grid)),
                None => wanted.extend(&aim.weights[row]),
            }
        }
    }
    let queries = wanted.len() / (sequences.len() * cells).max(1);
    let count = (sequences.len() * queries) as f64;
    let entropy = f64::from(wanted.chunks(cells).map(entropy).sum::<f32>()) / count;
    let layers = observed.attention.len() as f64;
    let zero = Tensor::zeros((), observed.memory.dtype(), observed.memory.device())?;
    let sum = observed
        .attention
        .iter()
        .try_fold(zero, |sum, looked| sum + log_mean(looked, &wanted, cells, FLOOR)?)?;
    (sum * (-1.0 / (layers * count)))? - entropy
}

/// Cross entropy of each label and L1 of the distances to the box's sides, weighted by the aim;
/// mean over rows. `said` is `[B, cells, classes + 4]`.
fn pretext(cfg: &ModelConfig, said: &Tensor, aim: &Aim, labels: Option<&[Vec<u32>]>) -> Result<Tensor> {
    let (b, cells, _) = said.dims3()?;
    let mut first = 0;
    let mut sum = Tensor::zeros((), said.dtype(), said.device())?;
    for (field, &classes) in cfg.auxiliary.pretext_classes.iter().enumerate() {
        let mut targets = Vec::with_capacity(b * cells);
        for (row, weights) in aim.weights.iter().enumerate() {
            let label = labels.map_or(u32::MAX, |labels| labels[row][field]);
            targets.extend(weights.iter().map(|&weight| {
                let known = label != u32::MAX;
                SoftTarget {
                    weight: if known { weight / b as f32 } else { 0.0 },
                    others: 0.0,
                    peaks: if known { vec![(label, 1.0)] } else { Vec::new() },
                }
            }));
        }
        sum = (sum + cross_entropy(&said.narrow(2, first, classes)?.contiguous()?, targets)?)?;
        first += classes;
    }
    let distance = (said.narrow(2, first, 4)? - aim.sides(said)?)?.abs()?.sum(D::Minus1)?;
    sum + ((distance * aim.tensor(said)?)?.sum_all()? * (L1_WEIGHT / b as f64))?
}

/// Of a distribution, in nats.
fn entropy(distribution: &[f32]) -> f32 {
    -distribution.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn number(tensor: &Tensor) -> f32 {
        tensor.to_scalar().unwrap()
    }

    /// A map of 2 x 3 cells of 8 pixels whose last column is padding, and an object in it.
    fn scene() -> (Grid, Aim) {
        let grid = Grid::new(2, 3, (16, 24), &[(16, 16)]);
        let aim = Aim::new(&grid, &[[2.0, 1.0, 10.0, 7.0]], &[(16, 16)]);
        (grid, aim)
    }

    #[test]
    fn the_aim_lies_on_the_object() {
        let (grid, aim) = scene();
        let weights = &aim.weights[0];
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!([weights[2], weights[5]], [0.0; 2]);
        // The box's middle is (6, 4) and both deviations are half a cell: exp(-1/8) to exp(-9/8).
        assert!((weights[0] / weights[1] - 1f32.exp()).abs() < 1e-4);
        assert!((weights[0] / weights[3] - 2f32.exp()).abs() < 1e-4);
        let half = aim.halfway_to(0, [0.75, 0.75], &grid);
        assert!((half.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(half[4] > half[3] && half[2] == 0.0);
    }

    #[test]
    fn perfect_answers_cost_nothing() -> Result<()> {
        let (grid, aim) = scene();
        let logits: Vec<f32> = aim.weights[0].iter().map(|p| p.max(1e-30).ln()).collect();
        let logits = Tensor::from_vec(logits, (1, 6, 1), &Device::Cpu)?;
        assert!(number(&grounding(&logits, &grid, &aim)?).abs() < 1e-5);
        assert!(number(&grounding(&logits.zeros_like()?, &grid, &aim)?) > 0.1);

        let truth = aim.boxes(&logits)?.reshape((1, 1, 4))?.broadcast_as((1, 6, 4))?.contiguous()?;
        assert!(number(&grounding_box(&(&truth - 0.5)?, &aim)?).abs() < 1e-4);
        let moved = grounding_box(&(&truth - 0.25)?, &aim)?;
        // L1 5 (4 x 0.25); boxes 0.5 x 0.375 that overlap by 0.25 x 0.125 in a hull of 0.75 x 0.625.
        let (common, union, hull) = (0.03125, 0.34375, 0.46875);
        let expected = 5.0 + 1.0 - common / union + (hull - union) / hull;
        assert!((number(&moved) - expected).abs() < 1e-4, "{}", number(&moved));
        Ok(())
    }

    #[test]
    fn unknown_labels_cost_nothing() -> Result<()> {
        let (_, aim) = scene();
        let mut cfg = ModelConfig::default();
        cfg.auxiliary.pretext_classes = vec![3, 2];
        let sides = aim.sides(&Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu)?)?;
        let said = Tensor::cat(&[&Tensor::zeros((1, 6, 5), sides.dtype(), &Device::Cpu)?, &sides], 2)?;
        let loss =
            |labels: [u32; 2]| pretext(&cfg, &said, &aim, Some(&[labels.to_vec()])).map(|x| number(&x));
        assert!(loss([u32::MAX; 2])?.abs() < 1e-6);
        assert!((loss([2, u32::MAX])? - 3f32.ln()).abs() < 1e-5);
        assert!((loss([0, 1])? - 6f32.ln()).abs() < 1e-5);
        Ok(())
    }
}
