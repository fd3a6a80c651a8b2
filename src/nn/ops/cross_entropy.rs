//! Weighted cross entropy against soft targets.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::math::exp;
use super::simd::{sum1, wide};
use super::softmax::{largest, log_softmax};
use super::storage::{is_f32_on_cpu, read, slice, tensor};

/// The target distribution of a row of logits: the same for all classes, more for some. It need not
/// sum to 1 (quirk 16).
#[derive(Clone, Debug, PartialEq)]
pub struct SoftTarget {
    /// Of the row in the sum.
    pub weight: f32,
    /// Of every class.
    pub others: f32,
    /// Class and what it has beyond `others`. A class should not appear twice.
    pub peaks: Vec<(u32, f32)>,
}

/// `-sum_r weight_r sum_c target_rc log_softmax(logits)_rc` for `logits` `[..., classes]` with a target
/// for each row; a scalar.
pub fn cross_entropy(logits: &Tensor, targets: Vec<SoftTarget>) -> Result<Tensor> {
    let classes = logits.dims().last().copied().unwrap_or(0);
    if targets.len() * classes != logits.elem_count() || classes == 0 {
        bail!("cross entropy: {} targets for logits {:?}", targets.len(), logits.shape())
    }
    if let Some(&(class, _)) = targets.iter().flat_map(|t| &t.peaks).find(|(c, _)| *c as usize >= classes) {
        bail!("cross entropy: target class {class} of {classes}")
    }
    if is_f32_on_cpu(logits) {
        return logits.contiguous()?.apply_op1(CrossEntropy { targets, classes });
    }
    composed(logits, &targets, classes)
}

/// The targets go to the device as they are, a few numbers a row, not class by class.
fn composed(logits: &Tensor, targets: &[SoftTarget], classes: usize) -> Result<Tensor> {
    let (rows, most) = (targets.len(), targets.iter().map(|t| t.peaks.len()).max().unwrap_or(0));
    let (mut places, mut peaks) = (Vec::with_capacity(rows * most), Vec::with_capacity(rows * most));
    for target in targets {
        let padded = target.peaks.iter().copied().chain(std::iter::repeat((0, 0.0))).take(most);
        for (class, more) in padded {
            places.push(class);
            peaks.push(more * target.weight);
        }
    }
    let others: Vec<f32> = targets.iter().map(|target| target.others * target.weight).collect();
    let upload = |values: Vec<f32>, columns: usize| {
        Tensor::from_vec(values, (rows, columns), logits.device())?.to_dtype(logits.dtype())
    };
    let logs = log_softmax(&logits.reshape((rows, classes))?)?;
    let sum = logs.sum_keepdim(1)?.mul(&upload(others, 1)?)?.sum_all()?;
    if most == 0 {
        return sum.neg();
    }
    let places = Tensor::from_vec(places, (rows, most), logits.device())?;
    (sum + logs.gather(&places, 1)?.mul(&upload(peaks, most)?)?.sum_all()?)?.neg()
}

struct CrossEntropy {
    targets: Vec<SoftTarget>,
    classes: usize,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = slice(logits, layout)?.par_chunks(self.classes).zip(&self.targets);
        let losses: Vec<f64> = rows.with_min_len(4).map(|(row, target)| target.loss(row)).collect();
        Ok((CpuStorage::F32(vec![losses.iter().sum::<f64>() as f32]), ().into()))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.to_scalar::<f32>()?;
        let mut out = vec![0f32; logits.elem_count()];
        read([logits], |[logits]| {
            out.par_chunks_mut(self.classes)
                .zip(logits.par_chunks(self.classes))
                .zip(&self.targets)
                .with_min_len(4)
                .for_each(|((out, row), target)| target.gradient(row, grad, out));
        })?;
        Ok(Some(tensor(out, logits.shape(), logits)?))
    }
}

impl SoftTarget {
    fn loss(&self, row: &[f32]) -> f64 {
        let (largest, exponentials, distances) = row_sums(row);
        let log_sum = f64::from(exponentials).ln();
        let of_class = |class: u32| f64::from(row[class as usize] - largest) - log_sum;
        let peaks: f64 = self.peaks.iter().map(|&(class, more)| f64::from(more) * of_class(class)).sum();
        let all = f64::from(self.others) * (f64::from(distances) - row.len() as f64 * log_sum);
        -f64::from(self.weight) * (peaks + all)
    }

    fn gradient(&self, row: &[f32], grad: f32, out: &mut [f32]) {
        let (largest, exponentials, _) = row_sums(row);
        let total = self.others * row.len() as f32 + self.peaks.iter().map(|(_, more)| more).sum::<f32>();
        let grad = grad * self.weight;
        smooth_gradient(row, [largest, grad * total / exponentials, grad * self.others], out);
        for &(class, more) in &self.peaks {
            out[class as usize] -= grad * more;
        }
    }
}

wide! {
    /// The largest logit, the sum of the exponentials of the distances from it, and of the distances.
    fn row_sums(row: &[f32]) -> (f32, f32, f32) {
        let largest = largest(row);
        (largest, sum1(row, #[inline(always)] |x| exp(x - largest)), sum1(row, |x| x - largest))
    }

    fn smooth_gradient(row: &[f32], factors: [f32; 3], out: &mut [f32]) {
        let [largest, scale, others] = factors;
        for (out, &x) in out.iter_mut().zip(row) {
            *out = scale * exp(x - largest) - others;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check, golden, random, values};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        let targets: Vec<SoftTarget> = [(0.0, 0.5), (0.01, 1.0), (0.02, -2.0)]
            .into_iter()
            .map(|(others, weight)| SoftTarget { weight, others, peaks: vec![(3, 0.4), (18, 0.3)] })
            .collect();
        let logits = (random("logits", (3, 19))? * 6.0)?;
        check(|t| cross_entropy(&t[0], targets.clone()), &[logits], 1e-6)
    }

    /// Label smoothing as in quirk 16 with weights per token.
    #[test]
    fn equals_the_reference() -> Result<()> {
        let golden = golden()?;
        let (logits, classes) = (candle_core::Var::from_tensor(&golden["loss.logits"])?, 11);
        let tokens = golden["loss.targets"].flatten_all()?.to_vec1::<i64>()?;
        let weights = golden["loss.weight"].flatten_all()?.to_vec1::<f32>()?;
        let others = 0.1 / classes as f32;
        let targets = tokens.iter().zip(weights).map(|(&token, weight)| SoftTarget {
            weight: weight / tokens.len() as f32,
            others,
            peaks: vec![(token as u32, 0.9 - others)],
        });
        let loss = cross_entropy(&logits, targets.collect())?;
        assert_close(&loss, &values(&golden["loss.value"]), 1e-6);
        let gradient = loss.backward()?;
        assert_close(gradient.get(&logits).unwrap(), &values(&golden["loss.grad"]), 1e-6);
        Ok(())
    }

    #[test]
    fn impossible_targets_are_refused() {
        let logits = random("logits", (1, 4)).unwrap();
        let target = SoftTarget { weight: 1.0, others: 0.0, peaks: vec![(4, 1.0)] };
        let error = |targets| cross_entropy(&logits, targets).err().unwrap().to_string();
        assert!(error(vec![target]).contains("target class 4 of 4"));
        assert!(error(vec![]).contains("0 targets"));
    }
}
