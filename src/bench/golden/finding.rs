//! What a comparison found.

use candle_core::{DType, Device, Result, Tensor};

/// How far values of one kind, all of a case, are from those recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub case: String,
    /// The kind: `gradients (train)`.
    pub what: String,
    /// How many tensors or numbers were compared.
    pub compared: usize,
    /// The largest; NaN where a value is.
    pub difference: f64,
    /// The tensor or number that it belongs to.
    pub at: String,
    /// What is allowed; 0 for what must be equal.
    pub tolerance: f64,
}

impl Finding {
    pub fn holds(&self) -> bool {
        self.difference <= self.tolerance
    }
}

/// Collects those of a case: one for each kind and tolerance.
pub(super) struct Findings {
    case: String,
    list: Vec<Finding>,
}

impl Findings {
    pub fn of(case: &str) -> Self {
        Self { case: case.to_owned(), list: Vec::new() }
    }

    pub fn note(&mut self, what: &str, at: &str, difference: f64, tolerance: f64) {
        let same = |finding: &&mut Finding| finding.what == what && finding.tolerance == tolerance;
        let Some(found) = self.list.iter_mut().find(same) else {
            let (case, what, at) = (self.case.clone(), what.to_owned(), at.to_owned());
            return self.list.push(Finding { case, what, compared: 1, difference, at, tolerance });
        };
        found.compared += 1;
        if !found.difference.is_nan() && (difference.is_nan() || difference > found.difference) {
            (found.difference, found.at) = (difference, at.to_owned());
        }
    }

    pub fn done(self) -> Vec<Finding> {
        self.list
    }
}

/// How far two numbers are apart, as a share of the expected one.
pub(super) fn relative(found: f64, expected: f64) -> f64 {
    (found / expected - 1.0).abs()
}

/// The largest absolute difference of two tensors' elements in their order; NaN if one is, infinite for
/// different numbers of elements.
pub(super) fn difference(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let values = |tensor: &Tensor| {
        tensor.to_device(&Device::Cpu)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()
    };
    if found.elem_count() != expected.elem_count() {
        return Ok(f64::INFINITY);
    }
    let pairs = values(found)?.into_iter().zip(values(expected)?);
    // `f64::max` would pass over a NaN.
    let larger = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
    Ok(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, larger))
}

/// In how many places two lists of rows differ.
pub(super) fn differing<T: PartialEq>(found: &[Vec<T>], expected: &[Vec<T>]) -> f64 {
    let rows = found.len().abs_diff(expected.len());
    let places = found
        .iter()
        .zip(expected)
        .map(|(a, b)| a.len().abs_diff(b.len()) + a.iter().zip(b).filter(|(a, b)| a != b).count());
    (rows + places.sum::<usize>()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_number_never_holds() {
        let mut findings = Findings::of("case");
        for difference in [0.5, f64::NAN, 0.7] {
            findings.note("values", "x", difference, 1.0);
        }
        findings.note("values", "y", 0.5, 0.0);
        let [loose, strict] = &findings.done()[..] else { panic!("one for each tolerance") };
        assert_eq!((loose.compared, loose.holds()), (3, false));
        assert!(!strict.holds());
    }

    #[test]
    fn differences() -> Result<()> {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu);
        assert_eq!(difference(&tensor(&[1.0, 2.0])?, &tensor(&[1.5, 2.0])?)?, 0.5);
        assert!(difference(&tensor(&[f32::NAN, 2.0])?, &tensor(&[1.0, 9.0])?)?.is_nan());
        assert_eq!(difference(&tensor(&[1.0])?, &tensor(&[1.0, 2.0])?)?, f64::INFINITY);
        assert_eq!(differing(&[vec![1, 2], vec![3]], &[vec![1, 3, 4]]), 3.0);
        Ok(())
    }
}
