//! What happens to the sums of a convolution before they are written.

use super::super::batch_norm::{Channel, activate_in_place};

/// Nothing, or `leaky(scale x + shift)`, and a residual on top.
#[derive(Clone, Copy, Default)]
pub struct Finishing<'a> {
    /// Scales and shifts `[o]`, and the slope for negative values.
    pub activation: Option<(&'a [f32], &'a [f32], f32)>,
    /// As large as the output.
    pub residual: Option<&'a [f32]>,
}

impl Finishing<'_> {
    pub fn is_nothing(self) -> bool {
        self.activation.is_none() && self.residual.is_none()
    }

    #[inline(always)]
    fn channel(self, output: usize) -> Option<Channel> {
        let (scales, shifts, slope) = self.activation?;
        Some(Channel { scale: scales[output], shift: shifts[output], slope })
    }

    /// Activates values of one output.
    #[inline(always)]
    pub fn activate<const T: usize, const N: usize>(self, output: usize, values: &mut [[f32; T]; N]) {
        if let Some(channel) = self.channel(output) {
            for value in values.as_flattened_mut() {
                *value = channel.output(*value);
            }
        }
    }

    /// Writes activated values whose place among all outputs begins at `first`.
    #[inline(always)]
    pub fn write(self, values: &[f32], first: usize, to: &mut [f32]) {
        match self.residual {
            None => copy(values, to),
            Some(residual) => {
                let residual = &residual[first..first + values.len()];
                for ((to, &value), &residual) in to.iter_mut().zip(values).zip(residual) {
                    *to = value + residual;
                }
            }
        }
    }

    /// Finishes a whole plane, counted over all images with `outputs` planes each.
    pub fn in_place(self, index: usize, outputs: usize, plane: &mut [f32]) {
        if let Some(channel) = self.channel(index % outputs) {
            activate_in_place(plane, channel);
        }
        if let Some(residual) = self.residual {
            let residual = &residual[index * plane.len()..][..plane.len()];
            for (to, &residual) in plane.iter_mut().zip(residual) {
                *to += residual;
            }
        }
    }
}

/// Copies a few vectors without a call.
#[inline(always)]
pub fn copy(from: &[f32], to: &mut [f32]) {
    const MANY: usize = 64;
    match (from.first_chunk::<MANY>(), to.first_chunk_mut::<MANY>()) {
        (Some(chunk), Some(to)) if from.len() == MANY => *to = *chunk,
        _ => to.iter_mut().zip(from).for_each(|(to, &from)| *to = from),
    }
}
