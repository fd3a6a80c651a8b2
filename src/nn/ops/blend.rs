//! Averages that are kept in place.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};

use super::jobs::for_rows;
use super::storage::slice;

/// Values that are worth a job of their own.
const JOB: usize = 1 << 16;

/// average <- `keep average + take value`, in place and without gradient, for pairs of an average and a value of one
/// size, contiguous and in f32.
pub fn blend(pairs: &[(&Tensor, &Tensor)], [keep, take]: [f32; 2]) -> Result<()> {
    if let Some((average, value)) = pairs.iter().find(|(a, v)| a.elem_count() != v.elem_count()) {
        bail!("an average {:?} of {:?}", average.shape(), value.shape())
    }
    #[cfg(feature = "cuda")]
    if pairs.iter().any(|(average, _)| average.device().is_cuda()) {
        return super::cuda::blend([keep, take], pairs);
    }
    pairs.iter().try_for_each(|(average, value)| average.inplace_op2(value, &Blend { keep, take }))
}

struct Blend {
    keep: f32,
    take: f32,
}

impl InplaceOp2 for Blend {
    fn name(&self) -> &'static str {
        "blend"
    }

    fn cpu_fwd(
        &self,
        average: &mut CpuStorage,
        average_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> Result<()> {
        let value = slice(value, value_layout)?;
        let (Some((start, end)), CpuStorage::F32(average)) = (average_layout.contiguous_offsets(), average)
        else {
            bail!("averages are contiguous f32, not {average_layout:?}")
        };
        for_rows(&mut average[start..end], JOB, 1, |job, average| {
            let value = &value[job * JOB..];
            average.iter_mut().zip(value).for_each(|(a, &v)| *a = self.keep * *a + self.take * v);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn in_place_behind_the_start_of_a_buffer() -> Result<()> {
        let n = JOB + 3;
        let average = Tensor::full(2f32, (2, n), &Device::Cpu)?;
        let value = Tensor::arange(0f32, n as f32, &Device::Cpu)?;
        blend(&[(&average.get(1)?, &value)], [0.5, 0.25])?;
        assert!(average.get(0)?.to_vec1::<f32>()?.iter().all(|&a| a == 2.0));
        let found = average.get(1)?.to_vec1::<f32>()?;
        assert!(found.iter().enumerate().all(|(i, &a)| a == 1.0 + 0.25 * i as f32));
        assert!(blend(&[(&average, &value)], [0.5, 0.5]).is_err());
        Ok(())
    }
}
