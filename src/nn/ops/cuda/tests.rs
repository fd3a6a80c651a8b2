//! The kernels against those of the CPU. All but the first need a GPU and are ignored without being asked for:
//! `cargo test --release --features cuda,cudnn --lib -- --include-ignored cuda`.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::testing::{assert_close, random, values};
use super::*;
use crate::nn::ops;
use crate::random::Stream;

/// NVRTC needs no GPU.
#[test]
fn the_kernels_compile() {
    let ptx = ptx().unwrap();
    for name in [
        "dropout",
        "finish_f32",
        "finish_bf16",
        "plane_moments_f32",
        "plane_moments_bf16",
        "adam_moments",
        "adam_parameter",
        "blend",
        "point_bias",
        "add_row",
        "gru_step",
    ] {
        assert!(ptx.contains(&format!(".entry {name}(")), "{name}");
    }
}

fn gpu() -> Result<Device> {
    Device::new_cuda(0)
}

#[test]
#[ignore = "needs a GPU"]
fn dropout_draws_what_the_cpu_draws() -> Result<()> {
    let (x, gpu, stream) = (random("x", 100_001)?, gpu()?, Stream::new(3, "dropout"));
    let (here, there) = (Var::from_tensor(&x)?, Var::from_tensor(&x.to_device(&gpu)?)?);
    let [a, b] = [&here, &there].map(|x| ops::dropout(x, 0.3, &stream));
    let (a, b) = (a?, b?);
    assert_eq!(values(&a), values(&b));
    let [a, b] = [a.sum_all()?.backward()?, b.sum_all()?.backward()?];
    assert_eq!(values(a.get(&here).unwrap()), values(b.get(&there).unwrap()));
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn batch_norm_of_frozen_layers() -> Result<()> {
    let gpu = gpu()?;
    for shape in [[3, 5, 20, 20], [2, 3, 1, 1], [1, 4, 300, 301]] {
        let x = (random("x", shape.to_vec())? + 10.0)?;
        let [w, b] = [random("w", shape[1])?, random("b", shape[1])?];
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 1e-2)] {
            // At 10 the steps of bf16 are 1/16: both must see what is left of x.
            let x = if dtype == DType::BF16 { ops::in_bf16(&x)? } else { x.clone() };
            let expected = ops::batch_norm_train(&x, &w, &b, 1e-5, Some(0.1), false)?;
            let there = x.to_device(&gpu)?.to_dtype(dtype)?;
            let (w, b) = (w.to_device(&gpu)?, b.to_device(&gpu)?);
            let found = ops::batch_norm_train(&there, &w, &b, 1e-5, Some(0.1), false)?;
            assert_eq!(found.output.dtype(), dtype);
            for (found, expected) in [
                (&found.output, &expected.output),
                (&found.mean, &expected.mean),
                (&found.variance, &expected.variance),
            ] {
                assert_close(found, &values(expected), tolerance);
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn what_evaluation_fuses() -> Result<()> {
    let gpu = gpu()?;
    let map = ops::Map { height: 3, width: 4, extra: 1, extent: vec![[4.0, 3.0], [2.0, 1.0]] };
    let x = random("x", (2, 5, 12))?;
    let found = ops::point_bias(&x.to_device(&gpu)?, 3, &map)?;
    assert_close(&found, &values(&ops::point_bias(&x, 3, &map)?), 1e-5);

    let [w, b] = [random("w", 12)?, random("b", 12)?];
    let norm = |device: &Device| -> Result<Tensor> {
        ops::layer_norm(&x.to_device(device)?, &w.to_device(device)?, &b.to_device(device)?, 1e-5)
    };
    assert_close(&norm(&gpu)?, &values(&norm(&Device::Cpu)?), 1e-5);

    let [q, k] = [random("q", (2, 5, 12))?, random("k", (2, 7, 12))?];
    let look = |device: &Device| {
        let [q, k] = [q.to_device(device)?, k.to_device(device)?];
        let looked = ops::attention_weights(&q, &ops::ready_keys(&k, 3)?, None, 3)?;
        ops::attention_mix(&looked, &ops::ready_values(&k, 3)?)
    };
    assert_close(&look(&gpu)?, &values(&look(&Device::Cpu)?), 1e-5);

    let words = random("words", (3, 5, 4))?;
    let weights = [
        random("input weight", (18, 4))?,
        random("hidden weight", (18, 6))?,
        random("input bias", 18)?,
        random("hidden bias", 18)?,
    ];
    let read = |device: &Device, reverse: bool| -> Result<Tensor> {
        let [w, u, b, c] = &weights.clone().map(|t| t.to_device(device));
        let [w, u, b, c] = [w, u, b, c].map(|t| t.as_ref().expect("moves"));
        let weights = ops::GruWeights { input_weight: w, hidden_weight: u, input_bias: b, hidden_bias: c };
        ops::gru(&words.to_device(device)?, weights, reverse)
    };
    for reverse in [false, true] {
        assert_close(&read(&gpu, reverse)?, &values(&read(&Device::Cpu, reverse)?), 1e-5);
    }

    let w = random("weight", (6, 12))?;
    for linear in [ops::linear, ops::linear_relu] {
        let on = |device: &Device| {
            linear(&x.to_device(device)?, &w.to_device(device)?, &random("bias", 6)?.to_device(device)?)
        };
        assert_close(&on(&gpu)?, &values(&on(&Device::Cpu)?), 1e-5);
    }
    Ok(())
}
