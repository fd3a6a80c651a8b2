//! Numbers of eight bits of precision.

use candle_core::{DType, Result, Tensor};

use super::jobs::for_rows;
use super::storage::{is_f32_on_cpu, read, tensor};

/// Values that are worth a job of their own.
const JOB: usize = 1 << 14;

/// `x` rounded to bf16, to the nearest and from halfway to the even one. On CUDA the result is of that type;
/// elsewhere, where nothing is faster in it, it keeps the type of `x`.
pub fn in_bf16(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cuda() {
        return x.to_dtype(DType::BF16);
    }
    if !is_f32_on_cpu(x) || x.track_op() {
        return x.to_dtype(DType::BF16)?.to_dtype(x.dtype());
    }
    let mut out = read([x], |[x]| x.to_vec())?;
    for_rows(&mut out, JOB, 1, |_, values| values.iter_mut().for_each(|value| *value = rounded(*value)));
    tensor(out, x.shape(), x)
}

fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    let nearest = f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000);
    if x.is_nan() { x } else { nearest }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::testing::random;
    use super::*;

    #[test]
    fn rounds_as_the_type_does() -> Result<()> {
        let halfway = 1.0 + f32::powi(2.0, -8);
        let edges =
            [0.0, -0.0, 1.0, halfway, 3.0 * halfway, f32::MAX, -f32::MAX, f32::INFINITY, 1e-40, 255.0];
        for x in edges {
            assert_eq!(rounded(x).to_bits(), bf16::from_f32(x).to_f32().to_bits(), "{x}");
        }
        assert!(rounded(f32::NAN).is_nan());
        let x = (random("x", 3 * JOB + 1)? * 100.0)?;
        let expected = x.to_dtype(DType::BF16)?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        assert_eq!(in_bf16(&x)?.to_vec1::<f32>()?, expected);
        Ok(())
    }
}
