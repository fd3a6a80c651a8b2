//! Statistics of the channels of a batch of images.

use candle_core::{Result, Shape, bail};

use super::jobs::{for_rows, map_rows};
use super::simd::{sum1, wide};
use crate::parallel::world;

/// Values summed in f32 before f64 takes over; also what is read twice while it is in the cache.
pub const BLOCK: usize = 4096;
/// Values that are worth a job of their own.
const JOB: usize = 1 << 14;

/// `[images, channels, plane]`
#[derive(Clone, Copy)]
pub struct Sizes {
    pub images: usize,
    pub channels: usize,
    pub plane: usize,
}

impl Sizes {
    pub fn of(shape: &Shape) -> Result<Self> {
        match shape.dims() {
            [images, channels, rest @ ..] if shape.elem_count() > 0 => {
                Ok(Self { images: *images, channels: *channels, plane: rest.iter().product() })
            }
            _ => bail!("can't normalise the channels of {shape:?}: expected [images, channels, ...]"),
        }
    }

    fn planes_per_job(self) -> usize {
        (JOB / self.plane).max(1)
    }

    /// `f(plane, channel, values)` of every plane, in order.
    pub fn per_plane<R: Send>(self, x: &[f32], f: impl Fn(usize, usize, &[f32]) -> R + Sync) -> Vec<R> {
        map_rows(x, self.plane, self.planes_per_job(), |plane, values| {
            f(plane, plane % self.channels, values)
        })
    }

    /// Calls `f(plane, channel, values)` to write every plane.
    pub fn fill(self, out: &mut [f32], f: impl Fn(usize, usize, &mut [f32]) + Sync) {
        for_rows(out, self.plane, self.planes_per_job(), |plane, values| {
            f(plane, plane % self.channels, values)
        });
    }

    /// Of every channel.
    pub fn moments(self, x: &[f32]) -> Vec<Moments> {
        let planes = self.per_plane(x, |_, _, values| {
            values.chunks(BLOCK).fold(Moments::default(), |sum, block| sum.join(Moments::of(block)))
        });
        let mut channels = vec![Moments::default(); self.channels];
        for (plane, moments) in planes.into_iter().enumerate() {
            let channel = &mut channels[plane % self.channels];
            *channel = channel.join(moments);
        }
        channels
    }
}

/// Of the channels over all processes, in the order of ranks.
pub fn joined(own: &[Moments]) -> Vec<Moments> {
    let flat: Vec<f64> = own.iter().flat_map(|m| [m.count, m.mean, m.squares]).collect();
    let mut channels = vec![Moments::default(); own.len()];
    for process in world().share_f64(&flat) {
        for (channel, values) in channels.iter_mut().zip(process.as_chunks::<3>().0) {
            let &[count, mean, squares] = values;
            *channel = channel.join(Moments { count, mean, squares });
        }
    }
    channels
}

/// Pairs, summed over all processes.
pub fn summed(own: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut flat: Vec<f64> = own.iter().flat_map(|&(a, b)| [a, b]).collect();
    world().sum_f64(&mut flat);
    flat.as_chunks::<2>().0.iter().map(|&[a, b]| (a, b)).collect()
}

#[derive(Clone, Copy, Default)]
pub struct Moments {
    pub count: f64,
    pub mean: f64,
    /// Sum of the squared distances from the mean.
    pub squares: f64,
}

impl Moments {
    pub fn of(block: &[f32]) -> Self {
        let (mean, squares) = block_moments(block);
        Self { count: block.len() as f64, mean: f64::from(mean), squares: f64::from(squares) }
    }

    /// Chan, Golub and LeVeque: the moments of both sets together, without cancellation.
    fn join(self, other: Self) -> Self {
        let count = self.count + other.count;
        let difference = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + difference * other.count / count,
            squares: self.squares
                + other.squares
                + difference * difference * self.count * other.count / count,
        }
    }

    /// Biased.
    pub fn variance(self) -> f64 {
        self.squares / self.count
    }
}

wide! {
    fn block_moments(x: &[f32]) -> (f32, f32) {
        let mean = sum1(x, |x| x) / x.len() as f32;
        // The rounding of the mean is seen in the distances from it.
        let mean = mean + sum1(x, |x| x - mean) / x.len() as f32;
        (mean, sum1(x, |x| (x - mean) * (x - mean)))
    }
}
