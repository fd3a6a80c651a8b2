//! Coordinates to tokens and back.

use crate::config::{ModelConfig, Task};
use crate::model::Targets;

/// The bin of a box's coordinate in an axis of `size` pixels, truncated towards zero. Not
/// clamped (quirk 18).
pub fn quantise(coordinate: f64, size: usize, bins: usize) -> i64 {
    (coordinate / size as f64 * bins as f64) as i64
}

/// The same in float32, as the reference does for vertices on their own (quirk 18).
pub fn quantise_f32(coordinate: f32, size: usize, bins: usize) -> i64 {
    (coordinate / size as f32 * bins as f32) as i64
}

/// A row's token sequence, and where each coordinate lies inside its bin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// Coordinates fed to the decoder, box first: x, y, x, y ...; a missing vertex is two end tokens.
    pub tokens: Vec<u32>,
    /// The same coordinates in bins, unrounded; None for end tokens.
    pub positions: Vec<Option<f32>>,
}

impl Sequence {
    /// The sequences of a batch; each has as many tokens as `cfg` says.
    /// [`Targets::check`] says whether the targets have what the task needs.
    pub fn of_targets(cfg: &ModelConfig, targets: &Targets) -> Vec<Self> {
        (0..targets.pad_hw.len()).map(|row| Self::of_row(cfg, targets, row)).collect()
    }

    fn of_row(cfg: &ModelConfig, targets: &Targets, row: usize) -> Self {
        let (height, width) = targets.pad_hw[row];
        let mut sequence = Self::default();
        if let (Task::Detection | Task::MultiTask, Some(boxes)) = (cfg.task, &targets.boxes) {
            for (i, &coordinate) in boxes[row].iter().enumerate() {
                let size = [width, height][i % 2];
                sequence.push(cfg, quantise(coordinate, size, cfg.bins).max(0), coordinate, size);
            }
        }
        if let (Task::Segmentation | Task::MultiTask, Some(vertices)) = (cfg.task, &targets.vertices) {
            for vertex in 0..cfg.vertices {
                for (axis, size) in [width, height].into_iter().enumerate() {
                    // A missing vertex is absent or negative, which division could round to 0.
                    let coordinate = vertices[row].get(vertex).map_or(-1.0, |point| point[axis]);
                    if coordinate < 0.0 {
                        sequence.push(cfg, -1, 0.0, size);
                        continue;
                    }
                    // Together with boxes the reference promotes to float64.
                    let bin = match cfg.task {
                        Task::MultiTask => quantise(f64::from(coordinate), size, cfg.bins),
                        Task::Segmentation | Task::Detection => quantise_f32(coordinate, size, cfg.bins),
                    };
                    // A vertex is a pixel of the rim: it lies in the middle of it.
                    sequence.push(cfg, bin, f64::from(coordinate) + 0.5, size);
                }
            }
        }
        sequence
    }

    /// Negative bins are missing vertices; beyond the last bin there is none (quirk 17).
    fn push(&mut self, cfg: &ModelConfig, bin: i64, coordinate: f64, size: usize) {
        match u32::try_from(bin) {
            Ok(bin) => {
                self.tokens.push(bin.min(cfg.end_token() - 1));
                self.positions.push(Some((coordinate / size as f64 * cfg.bins as f64) as f32));
            }
            Err(_) => {
                self.tokens.push(cfg.end_token());
                self.positions.push(None);
            }
        }
    }
}

/// Where in its bin a token's coordinate is put: 0 at the lower edge as in the reference, or the
/// middle.
fn offset(cfg: &ModelConfig) -> f64 {
    if cfg.decode_at_centre { 0.5 } else { 0.0 }
}

/// Vertices of an outline: what stands before the first end token, without an odd last value, in
/// pixels of an image padded to `pad_hw` (quirk 21). With `outline_covers_pixels` it is stretched
/// by a pixel.
pub fn outline(cfg: &ModelConfig, tokens: &[u32], pad_hw: (usize, usize)) -> Vec<[f64; 2]> {
    let end = tokens.iter().position(|&token| token == cfg.end_token()).unwrap_or(tokens.len());
    let offset = if cfg.outline_covers_pixels { 0.0 } else { offset(cfg) };
    let scale = |token: u32, size: usize| (f64::from(token) + offset) / cfg.bins as f64 * size as f64;
    let pairs = tokens[..end].chunks_exact(2);
    let mut points: Vec<[f64; 2]> =
        pairs.map(|pair| [scale(pair[0], pad_hw.1), scale(pair[1], pad_hw.0)]).collect();
    if cfg.outline_covers_pixels {
        cover_pixels(&mut points);
    }
    points
}

/// Vertices name pixels: an outline from pixel a to pixel b covers b - a + 1 of them, but b - a
/// when it is filled. Stretches it so that its far sides include their pixels.
fn cover_pixels(points: &mut [[f64; 2]]) {
    for axis in 0..2 {
        let low = points.iter().map(|point| point[axis]).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(|point| point[axis]).fold(f64::NEG_INFINITY, f64::max);
        if high > low {
            points.iter_mut().for_each(|point| point[axis] += (point[axis] - low) / (high - low));
        }
    }
}

/// The box x1, y1, x2, y2 of its four tokens, in pixels; float32 arithmetic (quirk 27).
pub fn dequantise_box(cfg: &ModelConfig, tokens: [u32; 4], pad_hw: (usize, usize)) -> [f32; 4] {
    let sizes = [pad_hw.1, pad_hw.0, pad_hw.1, pad_hw.0];
    let offset = offset(cfg) as f32;
    std::array::from_fn(|i| (tokens[i] as f32 + offset) * sizes[i] as f32 / cfg.bins as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_that_covers_pixels_has_the_box_of_its_mask() {
        let cfg = ModelConfig { bins: 64, outline_covers_pixels: true, ..ModelConfig::default() };
        // The rim of the pixels 10..=20 by 30..=34.
        let points = outline(&cfg, &[10, 30, 10, 34, 20, 34, 20, 30, 64], (64, 64));
        assert_eq!(points, [[10.0, 30.0], [10.0, 35.0], [21.0, 35.0], [21.0, 30.0]]);
    }
}
