//! What the tests of the operations share.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Shape, Tensor, Var};

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

/// Values and gradients of `f` in f32 against f64: values against the composed operation, gradients
/// of both against central differences of the f64 values. `f` should depend on all inputs.
#[track_caller]
pub fn check(f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor], tolerance: f64) -> Result<()> {
    let wide: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F64)).collect::<Result<_>>()?;
    let expected = f(&wide)?;
    let weight = random("weight of the outputs", expected.shape())?;
    let weight_f64 = weight.to_dtype(DType::F64)?;
    let found = f(inputs)?;
    assert_eq!(found.dims(), expected.dims());
    assert_close(&found, &values(&expected), tolerance);

    let gradients = |inputs: &[Tensor], weight: &Tensor| -> Result<Vec<Tensor>> {
        let vars: Vec<Var> = inputs.iter().map(Var::from_tensor).collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let grads = (f(&tensors)? * weight)?.sum_all()?.backward()?;
        Ok(vars.iter().map(|v| grads.get(v).expect("a gradient").clone()).collect())
    };
    let (ours, composed) = (gradients(inputs, &weight)?, gradients(&wide, &weight_f64)?);
    for (index, input) in wide.iter().enumerate() {
        let step = 1e-5;
        let mut differences = Vec::new();
        let flat = values(input);
        for place in 0..flat.len() {
            let loss = |offset: f64| -> Result<f64> {
                let mut moved = flat.clone();
                moved[place] += offset;
                let mut inputs = wide.clone();
                inputs[index] = Tensor::from_vec(moved, input.shape(), &Device::Cpu)?;
                (f(&inputs)? * &weight_f64)?.sum_all()?.to_scalar()
            };
            differences.push((loss(step)? - loss(-step)?) / (2.0 * step));
        }
        assert_close(&composed[index], &differences, 1e-6);
        assert_close(&ours[index], &differences, tolerance);
    }
    Ok(())
}

/// Single operations recorded from the reference (PyTorch, f32), by name.
pub fn golden() -> Result<HashMap<String, Tensor>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/optim/optim.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu)
}
