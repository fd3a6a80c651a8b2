//! The recurrence of a gated recurrent unit, with PyTorch's gates.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::jobs::for_rows;
use super::linear::{column_sums, linear, repeat_row};
use super::math::{sigmoid, tanh};
use super::matrix::{Matrix, Target, all_threads, multiply, product};
use super::simd::wide;
use super::storage::{has_kernels, read, slice, tensor, with_scratch};

/// Values that are worth a job of their own.
const JOB: usize = 1 << 11;

/// Parameters of one direction of a GRU; the rows are those of the reset, update and new gates.
#[derive(Clone, Copy)]
pub struct GruWeights<'a> {
    /// [3 hidden, inputs]
    pub input_weight: &'a Tensor,
    /// [3 hidden, hidden]
    pub hidden_weight: &'a Tensor,
    /// [3 hidden]
    pub input_bias: &'a Tensor,
    /// [3 hidden]; the new gate's part is inside the product with the reset gate.
    pub hidden_bias: &'a Tensor,
}

/// The states `[n, steps, hidden]` of a GRU over `x` `[n, steps, inputs]`, from zero, forward or from the
/// last step to the first:
///
/// `r, z = sigmoid(W x + b + U h + c)`, `n = tanh(W x + b + r (U h + c))`, `h' = (1 - z) n + z h`.
pub fn gru(x: &Tensor, weights: GruWeights, reverse: bool) -> Result<Tensor> {
    let gates = linear(x, weights.input_weight, weights.input_bias)?;
    let (_, steps, width) = gates.dims3()?;
    let (hidden_width, hidden) = weights.hidden_weight.dims2()?;
    if width != 3 * hidden || hidden_width != width || weights.hidden_bias.dims() != [width] {
        bail!("gru: gates {:?} and hidden weight {:?}", gates.shape(), weights.hidden_weight.shape())
    }
    let (u, c) = (weights.hidden_weight, weights.hidden_bias);
    if has_kernels([&gates, u, c]) {
        return gates.apply_op3(&u.contiguous()?, &c.contiguous()?, Recurrence { reverse });
    }
    let mut h = gates.narrow(1, 0, 1)?.narrow(2, 0, hidden)?.zeros_like()?.squeeze(1)?;
    let mut states = Vec::with_capacity(steps);
    for i in 0..steps {
        let t = if reverse { steps - 1 - i } else { i };
        let from_input = gates.narrow(1, t, 1)?.squeeze(1)?.chunk(3, 1)?;
        let from_hidden = linear(&h, u, c)?.chunk(3, 1)?;
        let gate = |i: usize| candle_nn::ops::sigmoid(&(&from_input[i] + &from_hidden[i])?);
        let new = (&from_input[2] + (gate(0)? * &from_hidden[2])?)?.tanh()?;
        h = (&new + (gate(1)? * (h - &new)?)?)?;
        states.push(h.clone());
    }
    if reverse {
        states.reverse();
    }
    Tensor::stack(&states, 1)
}

/// From gates [n, steps, 3 hidden] that hold the part of the input.
struct Recurrence {
    reverse: bool,
}

#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    steps: usize,
    hidden: usize,
}

impl Sizes {
    fn of(gates: &Shape) -> Result<Self> {
        let (rows, steps, width) = gates.dims3()?;
        Ok(Self { rows, steps, hidden: width / 3 })
    }

    fn rows_per_job(self) -> usize {
        JOB.div_ceil(self.hidden.max(1))
    }
}

impl Recurrence {
    /// Pairs of steps: the one that is made and the one before, if any.
    fn order(&self, steps: usize) -> impl DoubleEndedIterator<Item = (usize, Option<usize>)> {
        let reverse = self.reverse;
        let place = move |i: usize| if reverse { steps - 1 - i } else { i };
        (0..steps).map(move |i| (place(i), i.checked_sub(1).map(place)))
    }

    fn forward(&self, gates: &[f32], u: &[f32], c: &[f32], sizes: Sizes) -> Vec<f32> {
        let Sizes { rows, steps, hidden } = sizes;
        let mut states = vec![0f32; rows * steps * hidden];
        let u = Matrix::new(u, 3 * hidden, hidden).transposed();
        let mut recurrent = repeat_row(c, rows);
        for (t, before) in self.order(steps) {
            if let Some(before) = before {
                recurrent.chunks_exact_mut(3 * hidden).for_each(|row| row.copy_from_slice(c));
                let h = Matrix::with_stride(&states[before * hidden..], rows, hidden, steps * hidden);
                let target = Target { data: &mut recurrent, stride: 3 * hidden, add: true };
                multiply(h, u, target, all_threads());
            }
            for_rows(&mut states, steps * hidden, sizes.rows_per_job(), |row, states| {
                let gates = &gates[(row * steps + t) * 3 * hidden..][..3 * hidden];
                let recurrent = &recurrent[row * 3 * hidden..][..3 * hidden];
                if let Some(before) = before {
                    states.copy_within(before * hidden..(before + 1) * hidden, t * hidden);
                }
                step(gates, recurrent, &mut states[t * hidden..(t + 1) * hidden]);
            });
        }
        states
    }

    /// Gradients of the gates, of u and of c.
    fn backward(&self, [gates, u, c, states, grad]: [&[f32]; 5], sizes: Sizes) -> [Vec<f32>; 3] {
        let Sizes { rows, steps, hidden } = sizes;
        let width = 3 * hidden;
        let mut previous = vec![0f32; states.len()];
        for (previous, states) in
            previous.chunks_exact_mut(steps * hidden).zip(states.chunks_exact(steps * hidden))
        {
            for (t, before) in self.order(steps) {
                let Some(before) = before else { continue };
                previous[t * hidden..(t + 1) * hidden]
                    .copy_from_slice(&states[before * hidden..(before + 1) * hidden]);
            }
        }
        let u = Matrix::new(u, width, hidden);
        let all_previous = Matrix::new(&previous, rows * steps, hidden);
        // U h + c of all steps at once, replaced step by step by its gradient.
        let mut recurrent = repeat_row(c, rows * steps);
        let target = Target { data: &mut recurrent, stride: width, add: true };
        multiply(all_previous, u.transposed(), target, all_threads());
        let mut d_gates = vec![0f32; gates.len()];
        with_scratch(rows * hidden, |carried| {
            carried.fill(0.0);
            for (t, before) in self.order(steps).rev() {
                let at = |width: usize| t * width..(t + 1) * width;
                let run = |row: usize, d_gates: &mut [f32], recurrent: &mut [f32], carried: &mut [f32]| {
                    let gates = &gates[row * steps * width..][at(width)];
                    let [h, grad] = [&previous, grad].map(|s: &[f32]| &s[row * steps * hidden..][at(hidden)]);
                    let gradients = [&mut d_gates[at(width)], &mut recurrent[at(width)], carried];
                    step_gradient([gates, h, grad], gradients);
                };
                let size = steps * width;
                if rows <= sizes.rows_per_job() {
                    let parts = d_gates.chunks_mut(size).zip(recurrent.chunks_mut(size));
                    let parts = parts.zip(carried.chunks_mut(hidden)).enumerate();
                    parts.for_each(|(row, ((d_gates, r), c))| run(row, d_gates, r, c));
                } else {
                    let parts = d_gates.par_chunks_mut(size).zip(recurrent.par_chunks_mut(size));
                    let parts = parts.zip(carried.par_chunks_mut(hidden)).with_min_len(sizes.rows_per_job());
                    parts.enumerate().for_each(|(row, ((d_gates, r), c))| run(row, d_gates, r, c));
                }
                if before.is_some() {
                    let d_recurrent =
                        Matrix::with_stride(&recurrent[t * width..], rows, width, steps * width);
                    multiply(
                        d_recurrent,
                        u,
                        Target { data: carried, stride: hidden, add: true },
                        all_threads(),
                    );
                }
            }
        });
        let d_recurrent = Matrix::new(&recurrent, rows * steps, width);
        let d_u = product(d_recurrent.transposed(), all_previous, all_threads());
        let d_c = column_sums(&recurrent, width);
        [d_gates, d_u, d_c]
    }
}

impl CustomOp3 for Recurrence {
    fn name(&self) -> &'static str {
        "gru"
    }

    fn cpu_fwd(
        &self,
        gates: &CpuStorage,
        gates_layout: &Layout,
        u: &CpuStorage,
        u_layout: &Layout,
        c: &CpuStorage,
        c_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::of(gates_layout.shape())?;
        let (gates, u, c) = (slice(gates, gates_layout)?, slice(u, u_layout)?, slice(c, c_layout)?);
        let states = self.forward(gates, u, c, sizes);
        Ok((CpuStorage::F32(states), (sizes.rows, sizes.steps, sizes.hidden).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        gates: &CudaStorage,
        gates_layout: &Layout,
        u: &CudaStorage,
        u_layout: &Layout,
        c: &CudaStorage,
        c_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let sizes = Sizes::of(gates_layout.shape())?;
        let all = [(gates, gates_layout), (u, u_layout), (c, c_layout)];
        let states = super::cuda::recurrence(all, self.order(sizes.steps))?;
        Ok((states, (sizes.rows, sizes.steps, sizes.hidden).into()))
    }

    fn bwd(
        &self,
        gates: &Tensor,
        u: &Tensor,
        c: &Tensor,
        states: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::of(gates.shape())?;
        #[cfg(feature = "cuda")]
        if gates.device().is_cuda() {
            let all = [gates, u, c, states, grad];
            let [d_gates, d_u, d_c] =
                super::cuda::recurrence_gradients(all, self.reverse, self.order(sizes.steps))?;
            return Ok((Some(d_gates), Some(d_u), Some(d_c)));
        }
        let [d_gates, d_u, d_c] = read([gates, u, c, states, grad], |slices| self.backward(slices, sizes))?;
        let like = |data, t: &Tensor| tensor(data, t.shape(), t).map(Some);
        Ok((like(d_gates, gates)?, like(d_u, u)?, like(d_c, c)?))
    }
}

wide! {
    /// `h` holds the state before and then the new one.
    fn step(gates: &[f32], recurrent: &[f32], h: &mut [f32]) {
        let width = h.len();
        let (gr, gz, gn) = (&gates[..width], &gates[width..2 * width], &gates[2 * width..3 * width]);
        let (ur, uz, un) = (&recurrent[..width], &recurrent[width..2 * width], &recurrent[2 * width..3 * width]);
        for i in 0..width {
            let n = tanh(gn[i] + sigmoid(gr[i] + ur[i]) * un[i]);
            h[i] = n + sigmoid(gz[i] + uz[i]) * (h[i] - n);
        }
    }

    /// `values`: gates, state before, gradient from above. `gradients`: of the gates, of the recurrent
    /// part (which it replaces), and of the state: in what comes from later, out what goes on.
    fn step_gradient(values: [&[f32]; 3], gradients: [&mut [f32]; 3]) {
        let ([gates, h, grad], [d_gates, recurrent, carried]) = (values, gradients);
        let width = h.len();
        let (gr, gz, gn) = (&gates[..width], &gates[width..2 * width], &gates[2 * width..3 * width]);
        let (dr, rest) = d_gates.split_at_mut(width);
        let (dz, dn) = rest.split_at_mut(width);
        let (ur, rest) = recurrent.split_at_mut(width);
        let (uz, un) = rest.split_at_mut(width);
        let (dn, un, carried, grad) = (&mut dn[..width], &mut un[..width], &mut carried[..width], &grad[..width]);
        for i in 0..width {
            let (r, z) = (sigmoid(gr[i] + ur[i]), sigmoid(gz[i] + uz[i]));
            let n = tanh(gn[i] + r * un[i]);
            let dh = grad[i] + carried[i];
            dz[i] = dh * (h[i] - n) * z * (1.0 - z);
            dn[i] = dh * (1.0 - z) * (1.0 - n * n);
            dr[i] = dn[i] * un[i] * r * (1.0 - r);
            ur[i] = dr[i];
            uz[i] = dz[i];
            un[i] = dn[i] * r;
            carried[i] = dh * z;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check, golden, random, values};
    use super::*;

    #[test]
    fn values_and_gradients() -> Result<()> {
        for (rows, steps, hidden) in [(3, 4, 5), (1, 1, 2), (2, 3, 18)] {
            let inputs = [
                random("x", (rows, steps, 4))?,
                random("w", (3 * hidden, 4))?,
                random("u", (3 * hidden, hidden))?,
                random("b", 3 * hidden)?,
                random("c", 3 * hidden)?,
            ];
            for reverse in [false, true] {
                let states = |t: &[Tensor]| {
                    let [input_weight, hidden_weight] = [&t[1], &t[2]];
                    let [input_bias, hidden_bias] = [&t[3], &t[4]];
                    gru(&t[0], GruWeights { input_weight, hidden_weight, input_bias, hidden_bias }, reverse)
                };
                check(states, &inputs, 1e-5)?;
            }
        }
        Ok(())
    }

    #[test]
    fn equals_the_reference() -> Result<()> {
        let golden = golden()?;
        let ids = golden["gru.ids"].flatten_all()?;
        let x = golden["gru.w.embedding.weight"].index_select(&ids, 0)?.reshape((3, 5, 7))?;
        let direction = |suffix: &str, reverse| {
            let get = |name: &str| &golden[&format!("gru.w.lstm.{name}_l0{suffix}")];
            let weights = GruWeights {
                input_weight: get("weight_ih"),
                hidden_weight: get("weight_hh"),
                input_bias: get("bias_ih"),
                hidden_bias: get("bias_hh"),
            };
            gru(&x, weights, reverse)
        };
        let states = Tensor::cat(&[direction("", false)?, direction("_reverse", true)?], 2)?;
        assert_close(&states, &values(&golden["gru.out"]), 1e-6);
        Ok(())
    }
}
