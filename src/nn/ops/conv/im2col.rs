//! Patches of images as the columns of a matrix, and back.

/// The sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: usize,
    pub out_height: usize,
    pub out_width: usize,
}

impl Geometry {
    /// Rows of the patch matrix.
    pub fn patch(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    pub fn image(&self) -> usize {
        self.channels * self.height * self.width
    }

    pub fn out_plane(&self) -> usize {
        self.out_height * self.out_width
    }

    /// The image already is its patch matrix.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.padding == 0
    }

    /// Output columns whose input column (for kernel column `kx`) lies inside the image.
    fn inside(&self, kx: usize) -> std::ops::Range<usize> {
        let low = self.padding.saturating_sub(kx).div_ceil(self.stride).min(self.out_width);
        let high = match (self.width + self.padding).checked_sub(kx + 1) {
            Some(last) => (last / self.stride + 1).min(self.out_width),
            None => 0,
        };
        low..high.max(low)
    }

    fn input_row(&self, y: usize, ky: usize) -> Option<usize> {
        (y * self.stride + ky).checked_sub(self.padding).filter(|&row| row < self.height)
    }
}

/// Values that are a stride apart.
pub fn copy_every(stride: usize, from: &[f32], to: &mut [f32]) {
    debug_assert!(to.is_empty() || (to.len() - 1) * stride < from.len(), "too few values");
    match stride {
        1 => to.copy_from_slice(&from[..to.len()]),
        2 => {
            // In pairs, which the compiler takes apart by vector instructions.
            let pairs = from.as_chunks::<2>().0;
            let whole = pairs.len().min(to.len());
            for (to, pair) in to.iter_mut().zip(&pairs[..whole]) {
                *to = pair[0];
            }
            if let (Some(to), Some(&last)) = (to.get_mut(whole), from.last()) {
                *to = last;
            }
        }
        _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, &from)| *to = from),
    }
}

/// Writes the patches of output rows `rows` of one channel of an image: `kernel` rows of the matrix,
/// which are `stride` numbers apart and start at `column`.
pub fn patches(
    plane: &[f32],
    g: &Geometry,
    rows: std::ops::Range<usize>,
    matrix: &mut [f32],
    stride: usize,
    column: usize,
) {
    let [kh, kw] = g.kernel;
    for ky in 0..kh {
        for kx in 0..kw {
            let start = (ky * kw + kx) * stride + column;
            let inside = g.inside(kx);
            let target = &mut matrix[start..start + rows.len() * g.out_width];
            for (y, target) in rows.clone().zip(target.chunks_exact_mut(g.out_width)) {
                let Some(row) = g.input_row(y, ky) else {
                    target.fill(0.0);
                    continue;
                };
                target[..inside.start].fill(0.0);
                target[inside.end..].fill(0.0);
                if inside.is_empty() {
                    continue;
                }
                let first = row * g.width + inside.start * g.stride + kx - g.padding;
                let target = &mut target[inside.clone()];
                copy_every(g.stride, &plane[first..], target);
            }
        }
    }
}

/// Adds the patches to the channel they came from; the transpose of [`patches`].
pub fn add_patches(
    matrix: &[f32],
    stride: usize,
    column: usize,
    g: &Geometry,
    rows: std::ops::Range<usize>,
    plane: &mut [f32],
) {
    let [kh, kw] = g.kernel;
    for ky in 0..kh {
        for kx in 0..kw {
            let start = (ky * kw + kx) * stride + column;
            let inside = g.inside(kx);
            if inside.is_empty() {
                continue;
            }
            let source = &matrix[start..start + rows.len() * g.out_width];
            for (y, source) in rows.clone().zip(source.chunks_exact(g.out_width)) {
                let Some(row) = g.input_row(y, ky) else { continue };
                let first = row * g.width + inside.start * g.stride + kx - g.padding;
                let source = &source[inside.clone()];
                if g.stride == 1 {
                    for (to, &from) in plane[first..first + inside.len()].iter_mut().zip(source) {
                        *to += from;
                    }
                } else {
                    for (to, &from) in plane[first..].iter_mut().step_by(g.stride).zip(source) {
                        *to += from;
                    }
                }
            }
        }
    }
}
