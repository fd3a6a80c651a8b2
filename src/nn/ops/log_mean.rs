//! The likelihood of a distribution under the mean of several.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::jobs::map_rows;
use super::storage::{is_f32_on_cpu, read, slice, tensor};

/// `sum wanted log(mean_h p + floor)`, a scalar, over the first positions of `p` `[b, h, l, n]`. Of these,
/// `wanted` has `[b, l, positions]` row by row.
pub fn log_mean(p: &Tensor, wanted: &[f32], positions: usize, floor: f64) -> Result<Tensor> {
    let (b, h, l, n) = p.dims4()?;
    if positions > n || wanted.len() != b * l * positions || h == 0 {
        bail!("log mean: {} numbers over {positions} positions of {:?}", wanted.len(), p.shape())
    }
    if is_f32_on_cpu(p) {
        let op = LogMean { wanted: wanted.to_vec(), positions, floor: floor as f32 };
        return p.contiguous()?.apply_op1(op);
    }
    let wanted = Tensor::from_slice(wanted, (b, l, positions), p.device())?.to_dtype(p.dtype())?;
    ((p.narrow(3, 0, positions)?.mean(1)? + floor)?.log()? * wanted)?.sum_all()
}

struct LogMean {
    wanted: Vec<f32>,
    positions: usize,
    floor: f32,
}

impl LogMean {
    /// The mean over heads, plus the floor, at one position; `p` begins at the query of the first head.
    fn mean(&self, p: &[f32], [h, l, n]: [usize; 3], position: usize) -> f32 {
        let sum: f32 = (0..h).map(|head| p[head * l * n + position]).sum();
        sum / h as f32 + self.floor
    }
}

impl CustomOp1 for LogMean {
    fn name(&self) -> &'static str {
        "log mean"
    }

    fn cpu_fwd(&self, p: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, h, l, n) = layout.shape().dims4()?;
        let p = slice(p, layout)?;
        let sums: Vec<f64> = map_rows(&self.wanted, self.positions, 64, |row, wanted| {
            let p = &p[(row / l * h * l + row % l) * n..];
            let terms = wanted.iter().enumerate().filter(|(_, wanted)| **wanted != 0.0);
            terms.map(|(i, &wanted)| f64::from(wanted) * f64::from(self.mean(p, [h, l, n], i).ln())).sum()
        });
        Ok((CpuStorage::F32(vec![sums.iter().sum::<f64>() as f32]), ().into()))
    }

    fn bwd(&self, p: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, h, l, n) = p.dims4()?;
        let share = grad.to_scalar::<f32>()? / h as f32;
        let mut dp = vec![0f32; p.elem_count()];
        read([p], |[p]| {
            for (row, wanted) in self.wanted.chunks(self.positions.max(1)).enumerate() {
                let start = (row / l * h * l + row % l) * n;
                for (i, &wanted) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted != 0.0) {
                    let gradient = share * wanted / self.mean(&p[start..], [h, l, n], i);
                    (0..h).for_each(|head| dp[start + head * l * n + i] = gradient);
                }
            }
        })?;
        Ok(Some(tensor(dp, p.shape(), p)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, random, values};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        let p = (random("p", (2, 3, 4, 6))?.abs()? + 0.1)?;
        let mut wanted: Vec<f32> =
            values(&random("wanted", 2 * 4 * 5)?).iter().map(|&w| w.abs() as f32).collect();
        wanted[3] = 0.0;
        check(|t| log_mean(&t[0], &wanted, 5, 1e-3), &[p], 1e-5)
    }
}
