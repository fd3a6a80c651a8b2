//! The recurrence of a gated recurrent unit, a product and a kernel for each word.

use candle_core::backend::BackendStorage;
use candle_core::{CudaStorage, Layout, Result, Tensor, bail};

use super::launch::{Operand, demand, launch, made, over, product, room, size, view};
use super::linear::column_sums;

/// Rows, words and the width of a state.
fn sizes(gates: &[usize]) -> Result<[usize; 3]> {
    let &[rows, words, width] = gates else { bail!("gru: gates {gates:?}") };
    if width % 3 != 0 {
        bail!("gru: gates {gates:?}")
    }
    Ok([rows, words, width / 3])
}

/// `[outputs, inputs]` turned, as a batch of one.
fn turned(u: &Layout) -> Result<Layout> {
    let (outputs, inputs) = u.shape().dims2()?;
    Layout::contiguous_with_offset((1, outputs, inputs), u.start_offset()).transpose(1, 2)
}

/// The states `[n, steps, hidden]` of gates `[n, steps, 3 hidden]` that hold the part of the input, with `u`
/// `[3 hidden, hidden]` and `c` `[3 hidden]`; `order` has the words and those read before them.
pub fn recurrence(
    [gates, u, c]: [Operand; 3],
    order: impl Iterator<Item = (usize, Option<usize>)>,
) -> Result<CudaStorage> {
    let [rows, words, hidden] = sizes(gates.1.dims())?;
    demand(3 * hidden, c.1.shape().elem_count())?;
    let (device, across) = (gates.0.device(), turned(u.1)?);
    let (gates, c) = (view::<f32>(gates)?, view::<f32>(c)?);
    let (n, of_hidden, of_words) = ((rows * hidden) as u64, size(hidden)?, size(words)?);
    // SAFETY: the kernel writes every word's states, and the latest before they are read.
    let (mut states, state) =
        unsafe { (room::<f32>(device, rows * words * hidden)?, room::<f32>(device, rows * hidden)?) };
    let (mut state, of_rows) =
        (CudaStorage::wrap_cuda_slice(state, device.clone()), Layout::contiguous((1, rows, hidden)));
    for (t, before) in order {
        let recurrent = match before {
            Some(_) => Some(product((&state, &of_rows), (u.0, &across))?),
            None => None,
        };
        // Before the first word there is none and none is read; any memory does as its address.
        let recurrent = recurrent.as_ref().map(|product| product.as_cuda_slice::<f32>()).transpose()?;
        let recurrent = recurrent.map_or_else(|| gates.slice(..), |product| product.slice(..));
        let (t, first, state) = (size(t)?, u32::from(before.is_none()), state.as_cuda_slice_mut::<f32>()?);
        // SAFETY: gates and states are of so many rows and words, the product and the state of so many rows.
        unsafe {
            launch!(
                device,
                "gru_step",
                over(rows * hidden),
                &n,
                &of_hidden,
                &of_words,
                &t,
                &first,
                &gates,
                &recurrent,
                &c,
                state,
                &mut states,
            )
        };
    }
    Ok(CudaStorage::wrap_cuda_slice(states, device.clone()))
}

/// The gradients of the gates, of u and of c; `order` has the words in the order of reading.
pub fn recurrence_gradients(
    [gates, u, c, states, grad]: [&Tensor; 5],
    reverse: bool,
    order: impl DoubleEndedIterator<Item = (usize, Option<usize>)>,
) -> Result<[Tensor; 3]> {
    let [rows, words, hidden] = sizes(gates.dims())?;
    demand(3 * hidden, c.elem_count())?;
    demand(rows * words * hidden, grad.elem_count())?;
    let (u, previous) = (u.detach(), previous(states, reverse)?);
    let by_word = previous.reshape((rows * words, hidden))?;
    // U h of all words at once.
    let recurrent = by_word.matmul(&u.t()?)?;
    let of_gates = rows * words * 3 * hidden;
    // The gradients of the gates, and behind them those of U h + c.
    let both =
        made([gates, &recurrent, c, &previous, grad, &u], (2, rows * words, 3 * hidden), |operands| {
            let [gates, recurrent, c, previous, grad, u] = operands;
            let device = gates.0.device();
            let matrix = Layout::contiguous_with_offset((1, 3 * hidden, hidden), u.1.start_offset());
            let u = (u.0, &matrix);
            let (gates, recurrent, c) = (view::<f32>(gates)?, view::<f32>(recurrent)?, view::<f32>(c)?);
            let (previous, grad) = (view::<f32>(previous)?, view::<f32>(grad)?);
            let (n, of_hidden, of_words) = ((rows * hidden) as u64, size(hidden)?, size(words)?);
            // SAFETY: the kernel writes all words of both, and the others before they are read.
            let (mut both, mut carried, now) = unsafe {
                let (both, carried) =
                    (room::<f32>(device, 2 * of_gates)?, room::<f32>(device, rows * hidden)?);
                (both, carried, room::<f32>(device, rows * 3 * hidden)?)
            };
            let (mut now, of_rows) = (
                CudaStorage::wrap_cuda_slice(now, device.clone()),
                Layout::contiguous((1, rows, 3 * hidden)),
            );
            let mut through: Option<CudaStorage> = None;
            for (t, before) in order.rev() {
                // From the last word nothing comes and nothing is read; any memory does as its address.
                let above = through.as_ref().map(|product| product.as_cuda_slice::<f32>()).transpose()?;
                let above = above.map_or_else(|| grad.slice(..), |product| product.slice(..));
                let (t, last) = (size(t)?, u32::from(through.is_none()));
                let (mut d_gates, mut d_recurrent) = both.split_at_mut(of_gates);
                // SAFETY: all are of so many rows and words, or of so many rows.
                unsafe {
                    launch!(
                        device,
                        "gru_step_gradient",
                        over(rows * hidden),
                        &n,
                        &of_hidden,
                        &of_words,
                        &t,
                        &last,
                        &gates,
                        &recurrent,
                        &c,
                        &previous,
                        &grad,
                        &above,
                        &mut carried,
                        now.as_cuda_slice_mut::<f32>()?,
                        &mut d_gates,
                        &mut d_recurrent,
                    )
                };
                if before.is_some() {
                    through = Some(product((&now, &of_rows), u)?);
                }
            }
            Ok(CudaStorage::wrap_cuda_slice(both, device.clone()))
        })?;
    let d_recurrent = both.get(1)?;
    let d_gates = both.get(0)?.reshape(gates.shape())?;
    Ok([d_gates, d_recurrent.t()?.matmul(&by_word)?, column_sums(&d_recurrent)?])
}

/// Each state at the place of the word that is read after it.
fn previous(states: &Tensor, reverse: bool) -> Result<Tensor> {
    let (_, words, hidden) = states.dims3()?;
    let n = states.elem_count();
    made([states], states.shape(), |[states]| {
        let (device, states) = (states.0.device(), view::<f32>(states)?);
        let (count, hidden, words, reverse) = (n as u64, size(hidden)?, size(words)?, u32::from(reverse));
        // SAFETY: the kernel writes all of it.
        let mut previous = unsafe { room::<f32>(device, n) }?;
        // SAFETY: both have n elements.
        unsafe {
            launch!(
                device,
                "gru_previous",
                over(n),
                &count,
                &hidden,
                &words,
                &reverse,
                &states,
                &mut previous
            )
        };
        Ok(CudaStorage::wrap_cuda_slice(previous, device.clone()))
    })
}
