//! What the tests of the operations share.

use candle_core::{DType, Device, Result, Shape, Tensor};

use crate::random::Stream;

/// Uniform numbers in [-1, 1), the same for the same name.
pub fn random(name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
    let shape = shape.into();
    let mut stream = Stream::new(0, name);
    let data: Vec<f32> = (0..shape.elem_count()).map(|_| stream.range(-1.0, 1.0) as f32).collect();
    Tensor::from_vec(data, shape, &Device::Cpu)
}

pub fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).and_then(|t| t.flatten_all()?.to_vec1()).expect("readable")
}

/// The largest difference, as a share of the largest expected value, is within `tolerance`.
#[track_caller]
pub fn assert_close(found: &Tensor, expected: &[f64], tolerance: f64) {
    let found = values(found);
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |m: f64, e| m.max(e.abs()));
    for (place, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * largest,
            "at {place}: found {f}, expected {e}, largest {largest}"
        );
    }
}
