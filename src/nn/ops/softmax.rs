//! Softmax over the last dimension: composed, and the kernels of a row.

use candle_core::{D, Result, Tensor};

use super::math::exp;
use super::simd::{LANES, sum1, sum2, wide};

/// `softmax(x + bias)` over the last dimension, composed; `bias` broadcasts to the shape of `x`.
pub fn softmax(x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let x = bias.map_or_else(|| Ok(x.clone()), |bias| x.broadcast_add(bias))?;
    // The maximum only steadies the exponentials and is no part of the graph.
    let exponentials = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?.exp()?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
}

/// Logarithm of the softmax over the last dimension, composed.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// The largest value; negative infinity when there is none.
#[inline(always)]
pub fn largest(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], block[i]);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = larger(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    rest.iter().fold(lanes[0], |m, &x| larger(m, x))
}

wide! {
    /// `row = by row + bias`.
    pub fn add_scaled(row: &mut [f32], by: f32, bias: &[f32]) {
        for (x, &bias) in row.iter_mut().zip(bias) {
            *x = by * *x + bias;
        }
    }

    pub fn scale(values: &mut [f32], by: f32) {
        for x in values {
            *x *= by;
        }
    }

    /// The logarithm of the softmax of finite numbers, at one place.
    pub fn log_softmax_at(row: &[f32], place: usize) -> f32 {
        let largest = largest(row);
        (row[place] - largest) - sum1(row, |x| exp(x - largest)).ln()
    }

    /// In place; a row that is hidden as a whole gives zeros.
    pub fn softmax_row(row: &mut [f32]) {
        let largest = largest(row);
        if largest == f32::NEG_INFINITY {
            return row.fill(0.0);
        }
        for x in row.iter_mut() {
            *x = exp(*x - largest);
        }
        let scale = 1.0 / sum1(row, |x| x);
        for x in row.iter_mut() {
            *x *= scale;
        }
    }

    pub fn softmax_gradient(y: &[f32], grad: &[f32], dx: &mut [f32]) {
        let mean = sum2(y, grad, |y, g| y * g);
        for ((dx, &y), &grad) in dx.iter_mut().zip(y).zip(grad) {
            *dx = y * (grad - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_wherever_it_is() {
        for place in 0..37 {
            let mut row = [-200.0; 37];
            row[place] = 1.0;
            assert_eq!(largest(&row), 1.0);
        }
    }

    #[test]
    fn logarithms_large_and_near_nothing() {
        let many: Vec<f32> = (0..67).map(|i| 90.0 + (i % 7) as f32).collect();
        for (row, place) in [(&many[..], 5), (&[40.0, 30.0], 0), (&[40.0, 30.0], 1)] {
            let largest = f64::from(row.iter().copied().fold(0.0, f32::max));
            let sum: f64 = row.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
            let expected = f64::from(row[place]) - largest - sum.ln();
            assert!((f64::from(log_softmax_at(row, place)) / expected - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn hidden_places_are_zero() {
        let mut row = [0.5, f32::NEG_INFINITY, 0.5];
        softmax_row(&mut row);
        assert_eq!(row, [0.5, 0.0, 0.5]);
        let mut hidden = [f32::NEG_INFINITY; 3];
        softmax_row(&mut hidden);
        assert_eq!(hidden, [0.0; 3]);
    }
}
