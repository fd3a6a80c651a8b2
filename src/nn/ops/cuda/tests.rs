//! The kernels against those of the CPU, values and gradients. All but the first need a GPU and are ignored without being
//! asked for: `cargo test --release --features cuda,cudnn --lib -- --include-ignored cuda`. Without a GPU
//! `tools/check-cuda --always --emulate` runs them.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::testing::{assert_close, random, values};
use super::launch::ptx;
use crate::nn::ops;
use crate::nn::ops::channels_last::{from_pixels, pixels};
use crate::random::Stream;

/// NVRTC needs no GPU.
#[test]
fn the_kernels_compile() {
    let ptx = ptx().unwrap();
    assert!(ptx.contains("\n.version 7.0\n.target "), "{}", &ptx[..400]);
    for name in ["dropout", "normalise_bf16", "layer_norm", "gru_step", "point_bias", "square_sums"] {
        assert!(ptx.contains(&format!(".entry {name}(")), "{name}");
    }
}

fn gpu() -> Result<Device> {
    Device::new_cuda(0)
}

/// Whether `f` says on the GPU what it says on the CPU: without gradients and, for each set of tracked inputs, with
/// them.
#[track_caller]
fn same(f: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor], tolerance: f64) -> Result<()> {
    let gpu = gpu()?;
    let on = |device: &Device, tracked: &dyn Fn(usize) -> bool| -> Result<(Tensor, Vec<Option<Tensor>>)> {
        let vars =
            inputs.iter().map(|t| Var::from_tensor(&t.to_device(device)?)).collect::<Result<Vec<_>>>()?;
        let tensor = |(i, var): (usize, &Var)| {
            if tracked(i) { var.as_tensor().clone() } else { var.as_detached_tensor() }
        };
        let tensors: Vec<Tensor> = vars.iter().enumerate().map(tensor).collect();
        let y = f(&tensors)?;
        if !y.track_op() {
            return Ok((y, vec![None; inputs.len()]));
        }
        let weight = random("weight of the outputs", y.shape())?.to_device(device)?;
        let grads = (&y * weight)?.sum_all()?.backward()?;
        Ok((y, vars.iter().map(|var| grads.get(var).cloned()).collect()))
    };
    let one = (0..inputs.len()).map(|one| vec![one]);
    for tracked in [vec![], (0..inputs.len()).collect()].into_iter().chain(one) {
        let tracked = |i: usize| tracked.contains(&i);
        let ((here, expected), (there, found)) = (on(&Device::Cpu, &tracked)?, on(&gpu, &tracked)?);
        assert_eq!(here.dims(), there.dims());
        assert_close(&there, &values(&here), tolerance);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.is_some(), expected.is_some(), "the gradient of input {i}");
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_eq!(found.dims(), expected.dims());
                assert_close(found, &values(expected), tolerance);
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn dropout_draws_what_the_cpu_draws() -> Result<()> {
    let stream = Stream::new(3, "dropout");
    same(|t| ops::dropout(&t[0], 0.3, &stream), &[random("x", 100_001)?], 0.0)
}

fn leaky(slope: Option<f64>) -> ops::Rule {
    ops::Rule { eps: 1e-2, slope, joint: false }
}

#[test]
#[ignore = "needs a GPU"]
fn batch_norm() -> Result<()> {
    for shape in [[3, 5, 20, 20], [2, 3, 1, 1], [1, 4, 100, 301]] {
        let x = (random("x", shape.to_vec())? + 10.0)?;
        let inputs = [x, random("w", shape[1])?, random("b", shape[1])?, random("residual", shape.to_vec())?];
        // Two values of a channel have differences to their mean that are what rounding left of them.
        for slope in [None, Some(0.1)] {
            let norm = |t: &[Tensor], residual: Option<&Tensor>| {
                Ok(ops::batch_norm_train(&t[0], &t[1], &t[2], leaky(slope), residual)?.output)
            };
            same(|t| norm(t, None), &inputs[..3], 2e-4)?;
            same(|t| norm(t, Some(&t[3])), &inputs, 2e-4)?;
        }
    }
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
            let there = x.to_device(&gpu)?.to_dtype(dtype)?;
            let (w_there, b_there) = (w.to_device(&gpu)?, b.to_device(&gpu)?);
            for added in [false, true] {
                let residual = |x| added.then_some(x);
                let expected = ops::batch_norm_train(&x, &w, &b, leaky(Some(0.1)), residual(&x))?;
                let found =
                    ops::batch_norm_train(&there, &w_there, &b_there, leaky(Some(0.1)), residual(&there))?;
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
    }
    Ok(())
}

/// What is done with images whose channels lie last is what is done with others.
#[test]
#[ignore = "needs a GPU"]
fn channels_last() -> Result<()> {
    let gpu = gpu()?;
    // Channels one by one and four at once, within a block and in several, rows of one part and of several.
    for shape in [[2, 5, 6, 8], [2, 3, 40, 50], [3, 40, 6, 4], [1, 264, 10, 14], [2, 8, 300, 120]] {
        let [n, c, h, w] = shape;
        let x = (random("x", shape.to_vec())? + 10.0)?;
        let [weight, bias] = [random("w", c)?.to_device(&gpu)?, random("b", c)?.to_device(&gpu)?];
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 0.0)] {
            let planes = x.to_device(&gpu)?.to_dtype(dtype)?;
            let turned = super::turned(&planes.reshape((n, c, h * w))?, dtype)?;
            let last = from_pixels(&turned.reshape((n, h, w, c))?)?;
            assert!(pixels(&last).is_some());
            assert_close(&ops::in_planes(&last)?, &values(&planes), 0.0);
            assert_close(&ops::positions(&last)?, &values(&ops::positions(&planes)?), 0.0);
            for side in [1, 2] {
                let [found, expected] = [&last, &planes].map(|x| ops::average_pool(x, side));
                assert_close(&found?, &values(&expected?), tolerance);
            }
            let [found, expected] = [&last, &planes].map(|x| ops::joined(x, &(x * 2.0)?));
            assert_close(&found?, &values(&expected?), 0.0);
            for added in [false, true] {
                let scaled = |x: &Tensor| ops::scale_shift(x, &weight, &bias, Some(0.1), added.then_some(x));
                let y = scaled(&last)?;
                assert!(pixels(&y).is_some() && y.dtype() == dtype);
                assert_close(&y, &values(&scaled(&planes)?), tolerance);
                let normed = |x: &Tensor| {
                    ops::batch_norm_train(x, &weight, &bias, leaky(Some(0.1)), added.then_some(x))
                };
                let (found, expected) = (normed(&last)?, normed(&planes)?);
                assert!(pixels(&found.output).is_some());
                // A scale that differs in the last bit rounds another way in places.
                let step = if dtype == DType::BF16 { 1e-2 } else { 1e-5 };
                assert_close(&found.output, &values(&expected.output), step);
                assert_close(&found.mean, &values(&expected.mean), 1e-6);
                assert_close(&found.variance, &values(&expected.variance), 1e-5);
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn running_statistics() -> Result<()> {
    let [running, batch] = [random("running", 70)?, random("batch", 70)?];
    let kept = |device: &Device| -> Result<Tensor> {
        let [mean, variance] = [running.to_device(device)?, (&running * 2.0)?.to_device(device)?];
        let [mean, variance] = [Var::from_tensor(&mean)?, Var::from_tensor(&variance)?];
        let kept = ops::Running { mean, variance, batches: Var::new(6i64, device)? };
        let of_batch = batch.to_device(device)?;
        let [mean, variance, output] = [of_batch.clone(), (&of_batch * 3.0)?, of_batch];
        kept.keep(&ops::BatchNormed { output, mean, variance }, 0.1)?;
        assert_eq!(kept.batches.to_scalar::<i64>()?, 7);
        Tensor::cat(&[kept.mean.as_detached_tensor(), kept.variance.as_detached_tensor()], 0)
    };
    assert_close(&kept(&gpu()?)?, &values(&kept(&Device::Cpu)?), 1e-6);
    let [w, b, variance] = [random("w", 70)?, random("b", 70)?, (random("variance", 70)?.sqr()? + 0.1)?];
    for one in 0..2 {
        let folded = |t: &[Tensor]| -> Result<Tensor> {
            Ok(ops::folded(&t[0], &t[1], (&t[2], &t[3]), 1e-5)?[one].clone())
        };
        let inputs = [w.clone(), b.clone(), batch.clone(), variance.clone()];
        let found = folded(&inputs.clone().map(|t| t.to_device(&gpu().expect("a GPU")).expect("moves")))?;
        assert_close(&found, &values(&folded(&inputs)?), 1e-6);
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn scales_and_shifts() -> Result<()> {
    let x = (2, 3, 50, 301);
    let inputs = [random("x", x)?, random("scale", 3)?, random("shift", 3)?, random("residual", x)?];
    same(|t| ops::scale_shift(&t[0], &t[1], &t[2], Some(0.1), None), &inputs[..3], 1e-5)?;
    same(|t| ops::scale_shift(&t[0], &t[1], &t[2], Some(0.1), Some(&t[3])), &inputs, 1e-5)
}

#[test]
#[ignore = "needs a GPU"]
fn point_biases() -> Result<()> {
    let map = ops::Map { height: 3, width: 4, extra: 1, extent: vec![[4.0, 3.0], [2.0, 1.0]] };
    same(|t| ops::point_bias(&t[0], 3, &map), &[random("x", (2, 5, 12))?], 1e-5)
}

#[test]
#[ignore = "needs a GPU"]
fn layer_norms() -> Result<()> {
    // Rows shorter than a warp and longer, and more of them than one block sums.
    for shape in [&[2, 5, 12][..], &[3000, 7], &[9, 256]] {
        let width = shape[shape.len() - 1];
        let inputs = [random("x", shape)?, random("w", width)?, random("b", width)?];
        same(|t| ops::layer_norm(&t[0], &t[1], &t[2], 1e-5), &inputs, 1e-4)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn affine_maps() -> Result<()> {
    for (shape, outputs) in [(&[2, 5, 12][..], 6), (&[2100, 3], 70), (&[7], 2)] {
        let inputs = [
            random("x", shape)?,
            random("w", (outputs + 1, shape[shape.len() - 1]))?,
            random("b", outputs + 1)?,
        ];
        // Parts of a packed weight begin behind its start.
        let part = |t: &Tensor| t.narrow(0, 1, outputs);
        same(|t| ops::linear(&t[0], &part(&t[1])?, &part(&t[2])?), &inputs, 1e-5)?;
        same(|t| ops::linear_relu(&t[0], &part(&t[1])?, &part(&t[2])?), &inputs, 1e-5)?;
        same(|t| ops::linear_part(&t[0], &t[1], &t[2], 1..outputs + 1), &inputs, 1e-5)?;
    }
    Ok(())
}

/// A network that has lost its way must not look sound.
#[test]
#[ignore = "needs a GPU"]
fn what_is_no_number_stays_none() -> Result<()> {
    let (gpu, row) = (gpu()?, Tensor::new(&[[f32::NAN, 1.0], [2.0, 1.0]], &Device::Cpu)?);
    let [w, b] = [random("w", (3, 2))?.to_device(&gpu)?, random("b", 3)?.to_device(&gpu)?];
    let y = ops::linear_relu(&row.to_device(&gpu)?, &w, &b)?.to_vec2::<f32>()?;
    assert!(y[0].iter().all(|y| y.is_nan()) && y[1].iter().all(|y| y.is_finite()), "{y:?}");
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn attention() -> Result<()> {
    let [q, k, v] = [random("q", (2, 5, 12))?, random("k", (2, 40, 12))?, random("v", (2, 40, 12))?];
    let look = |t: &[Tensor], bias: Option<&Tensor>| {
        ops::attention_mix(&ops::attention_weights(&t[0], &t[1], bias, 3)?, &t[2])
    };
    same(|t| look(t, None), &[q.clone(), k.clone(), v.clone()], 1e-5)?;
    for shape in [&[2, 3, 5, 40][..], &[2, 1, 1, 40], &[5, 40]] {
        let inputs = [q.clone(), k.clone(), v.clone(), random("bias", shape)?];
        same(|t| look(t, Some(&t[3])), &inputs, 1e-5)?;
    }
    // Some hidden, for one image all but one.
    let hidden = (0..80).map(|i| if i > 40 || i == 3 { f32::NEG_INFINITY } else { 0.0 }).collect();
    let hidden = Tensor::from_vec(hidden, (2, 1, 1, 40), &Device::Cpu)?;
    let hide = |t: &[Tensor]| look(t, Some(&hidden.to_device(t[0].device())?));
    same(hide, &[q.clone(), k.clone(), v.clone()], 1e-5)?;
    // Keys and values laid out once for many queries, and the first of a buffer that has room for more.
    let ready = |t: &[Tensor]| {
        let [k, v] = [&t[1], &t[2]].map(|t| t.detach());
        look(&[t[0].clone(), ops::ready_keys(&k, 3)?, ops::ready_values(&v, 3)?], None)
    };
    same(ready, &[q.clone(), k.clone(), v.clone()], 1e-5)?;
    for n in [1, 7] {
        let first = |t: &[Tensor]| look(&[t[0].clone(), t[1].narrow(1, 0, n)?, t[2].narrow(1, 0, n)?], None);
        same(first, &[q.clone(), k.clone(), v.clone()], 1e-5)?;
        same(first, &[q.narrow(1, 2, 1)?, k.clone(), v.clone()], 1e-5)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn recurrent_units() -> Result<()> {
    for (rows, steps, hidden) in [(3, 5, 6), (2, 1, 4), (40, 3, 9)] {
        let inputs = [
            random("words", (rows, steps, 4))?,
            random("input weight", (3 * hidden, 4))?,
            random("hidden weight", (3 * hidden, hidden))?,
            random("input bias", 3 * hidden)?,
            random("hidden bias", 3 * hidden)?,
        ];
        for reverse in [false, true] {
            let read = |t: &[Tensor]| {
                let [input_weight, hidden_weight, input_bias, hidden_bias] = [&t[1], &t[2], &t[3], &t[4]];
                let weights = ops::GruWeights { input_weight, hidden_weight, input_bias, hidden_bias };
                ops::gru(&t[0], weights, reverse)
            };
            same(read, &inputs, 1e-5)?;
        }
    }
    Ok(())
}

/// Averages of many sizes, in one launch.
#[test]
#[ignore = "needs a GPU"]
fn averages() -> Result<()> {
    let sizes = [3, 40_000, 1, 1 << 14, (1 << 14) + 1, 70, 2 << 14];
    let blended = |device: &Device| -> Result<Vec<Tensor>> {
        let here = |name: &str, n: usize| random(name, n)?.to_device(device);
        let averages = sizes.iter().map(|&n| here("average", n + 1)).collect::<Result<Vec<_>>>()?;
        // Behind the start of their buffers.
        let averages =
            averages.iter().map(|t| t.narrow(0, 1, t.elem_count() - 1)).collect::<Result<Vec<_>>>()?;
        let values = sizes.iter().map(|&n| here("value", n)).collect::<Result<Vec<_>>>()?;
        ops::blend(&averages.iter().zip(&values).collect::<Vec<_>>(), [0.75, 0.5])?;
        Ok(averages)
    };
    for (found, expected) in blended(&gpu()?)?.iter().zip(blended(&Device::Cpu)?) {
        assert_close(found, &values(&expected), 1e-6);
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn sums_of_squares() -> Result<()> {
    let [x, y] = [random("x", 200_003)?, random("y", (3, 4))?];
    let found = super::square_sums(&[&x.to_device(&gpu()?)?, &y.to_device(&gpu()?)?])?;
    assert_eq!(found.dims(), [14]);
    let sum = |t: &Tensor| -> f64 { values(t).iter().map(|x| x * x).sum() };
    let found = values(&found);
    assert!((found[..13].iter().sum::<f64>() / sum(&x) - 1.0).abs() < 1e-5);
    assert!((found[13] / sum(&y) - 1.0).abs() < 1e-5);
    Ok(())
}
