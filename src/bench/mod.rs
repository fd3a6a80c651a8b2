//! How fast a network runs on a machine, what the machine could do, and whether it computes right there.

mod batch;
pub mod golden;
mod machine;
mod preparation;
mod speed;

pub use machine::{cpu_seconds, matrix_rate, peak_memory};
pub use preparation::preparation;
pub use speed::{Phase, Sizes, evaluation, training};

/// The middle value; the mean of both for an even number.
///
/// # Panics
/// For no values.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!([median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])], [2.0, 2.5]);
    }
}
