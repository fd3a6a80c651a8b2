//! cuDNN against the CPU's kernels. All but the first need a GPU and are ignored without being asked for:
//! `cargo test --release --features cuda,cudnn --lib -- --include-ignored cudnn`.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::super::channels_last::{for_tensor_cores, in_planes, pixels};
use super::super::super::testing::{assert_close, random, values};
use super::super::{Conv2d, conv2d, conv2d_bf16, convolve_turned_around};
use super::{MOST_NUMBERS, pieces};

/// (images, channels, height, width, out channels, kernel, stride, padding)
const CASES: [[usize; 8]; 5] = [
    [2, 3, 40, 37, 5, 3, 1, 1],
    [5, 4, 9, 7, 6, 3, 2, 1],
    [3, 64, 20, 21, 32, 1, 1, 0],
    [4, 128, 13, 13, 256, 3, 1, 1],
    [1, 2, 6, 9, 3, 1, 2, 0],
];

#[test]
fn pieces_cover_the_batch() {
    assert!(pieces(5, 1000).eq(std::iter::once(0..5)));
    let large: Vec<_> = pieces(300, 32 * 640 * 640).collect();
    assert_eq!(large, [0..163, 163..300]);
    assert!(large[0].len() * 32 * 640 * 640 <= MOST_NUMBERS);
    assert_eq!(pieces(2, usize::MAX).collect::<Vec<_>>(), [0..1, 1..2]);
}

fn results(device: &Device, dtype: DType, case: [usize; 8]) -> Result<[Tensor; 3]> {
    let [n, c, h, w, o, k, stride, padding] = case;
    let here = |t: Tensor| Var::from_tensor(&t.to_device(device)?.to_dtype(dtype)?);
    let (x, kernels) = (here(random("x", (n, c, h, w))?)?, here(random("w", (o, c, k, k))?)?);
    let y = conv2d(&x, &kernels, stride, padding)?;
    let weight = random("weight", y.shape())?.to_device(device)?.to_dtype(dtype)?;
    let gradients = (&y * weight)?.sum_all()?.backward()?;
    Ok([y, gradients.get(&x).unwrap().clone(), gradients.get(&kernels).unwrap().clone()])
}

#[test]
#[ignore = "needs a GPU"]
fn values_and_gradients() -> Result<()> {
    let gpu = Device::new_cuda(0)?;
    for case in CASES {
        let expected = results(&Device::Cpu, DType::F32, case)?;
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 2e-2)] {
            for (found, expected) in results(&gpu, dtype, case)?.iter().zip(&expected) {
                assert_close(found, &values(expected), tolerance);
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn the_same_every_time() -> Result<()> {
    let gpu = Device::new_cuda(0)?;
    let [first, second] = [(); 2].map(|()| results(&gpu, DType::F32, CASES[3]));
    for (first, second) in first?.iter().zip(&second?) {
        assert_eq!(values(first), values(second));
    }
    Ok(())
}

/// With channels last, in bf16 and in TF32, values are those of channels first, and so is their order.
#[test]
#[ignore = "needs a GPU"]
fn channels_last() -> Result<()> {
    let gpu = Device::new_cuda(0)?;
    for [n, c, h, w, o, k, stride, padding] in CASES {
        let [x, kernels] =
            [random("x", (n, c, h, w))?, random("w", (o, c, k, k))?].map(|t| t.to_device(&gpu));
        let (x, kernels) = (x?, kernels?);
        let expected = values(&conv2d(&x, &kernels, stride, padding)?);
        let rounded = for_tensor_cores(&x, true)?;
        let y = conv2d_bf16(&rounded, &kernels, stride, padding)?;
        assert!(pixels(&rounded).is_some() && pixels(&y).is_some() && y.dtype() == DType::BF16);
        assert_close(&y, &expected, 2e-2);
        // Trained kernels have their gradient, of images plane by plane.
        let trained = Var::from_tensor(&kernels)?;
        let y = conv2d(&in_planes(&rounded)?, &trained, stride, padding)?;
        assert!(y.is_contiguous() && y.sum_all()?.backward()?.get(&trained).is_some());
    }
    Ok(())
}

#[test]
#[ignore = "needs a GPU"]
fn channels_last_where_cudnn_cannot() -> Result<()> {
    let gpu = Device::new_cuda(0)?;
    let [x, kernels] = [random("x", (2, 3, 8, 9))?, random("w", (5, 3, 3, 3))?].map(|t| t.to_device(&gpu));
    let (x, kernels) = (for_tensor_cores(&x?, true)?, kernels?);
    let [done, turned_around] = [
        conv2d_bf16(&x, &kernels, 2, 1)?,
        convolve_turned_around(&x, &kernels, Conv2d { stride: 2, padding: 1 })?,
    ];
    assert!(pixels(&turned_around).is_some());
    assert_close(&turned_around, &values(&done), 1e-2);
    Ok(())
}
