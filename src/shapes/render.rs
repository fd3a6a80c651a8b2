//! From a scene to pixels, and to which object each pixel shows.
//!
//! Only + - * / and square roots: the same bits on every machine.

use super::attributes::Pattern;
use super::object::Object;
use super::scene::Scene;
use crate::mask::Mask;
use crate::random::Stream;

/// Samples a pixel side.
const SAMPLES: usize = 4;
/// Control points of the background a side; cells are three fewer.
const CONTROL: usize = 7;
/// Standard deviation of the grain, in grey levels.
const GRAIN: f64 = 5.0;

/// A drawn scene.
pub(super) struct Picture {
    /// RGB, row-major.
    pub rgb: Vec<u8>,
    /// What can be seen of each object, in the order of the scene.
    pub visible: Vec<Mask>,
    /// Pixels of each object if nothing lay over it.
    pub whole: Vec<usize>,
}

impl Picture {
    /// A pixel belongs to the topmost object that covers half of it or more.
    pub(super) fn draw(scene: &Scene, stream: &mut Stream) -> Self {
        let (width, height) = (scene.width, scene.height);
        let mut canvas = background(scene, stream);
        let mut owner: Vec<Option<usize>> = vec![None; width * height];
        let mut whole = Vec::new();
        for (index, object) in scene.objects.iter().enumerate() {
            let brush = Brush::new(object, scene);
            let reach = 1.25 * object.radius;
            let columns = pixels(object.x - reach, object.x + reach, width);
            let rows = pixels(object.y - reach, object.y + reach, height);
            let mut area = 0;
            for y in rows {
                for x in columns.clone() {
                    let (cover, dark) = brush.touch(x, y);
                    if cover == 0 {
                        continue;
                    }
                    let at = y * width + x;
                    brush.blend(&mut canvas[at], x, y, cover, dark);
                    if 2 * cover >= SAMPLES * SAMPLES {
                        owner[at] = Some(index);
                        area += 1;
                    }
                }
            }
            whole.push(area);
        }
        let visible = (0..scene.objects.len())
            .map(|index| Mask {
                height,
                width,
                pixels: owner.iter().map(|&o| u8::from(o == Some(index))).collect(),
            })
            .collect();
        Self { rgb: with_grain(&canvas, stream), visible, whole }
    }
}

fn pixels(low: f64, high: f64, length: usize) -> std::ops::Range<usize> {
    low.floor().max(0.0) as usize..(high.ceil().max(0.0) as usize).min(length)
}

/// Paints one object.
struct Brush<'a> {
    object: &'a Object,
    /// Length of the pattern's period, in radii.
    period: f64,
}

impl<'a> Brush<'a> {
    fn new(object: &'a Object, scene: &Scene) -> Self {
        // Never so fine that it is lost when the image is made smaller for the network.
        let finest = 0.07 * scene.width.max(scene.height) as f64 / object.radius;
        Self { object, period: finest.max(0.5) }
    }

    /// Samples of the pixel inside the object, and those of them in a dark part of its pattern.
    fn touch(&self, x: usize, y: usize) -> (usize, usize) {
        let (cosine, sine) = self.object.direction;
        let (mut cover, mut dark) = (0, 0);
        for j in 0..SAMPLES {
            for i in 0..SAMPLES {
                let dx = x as f64 + (i as f64 + 0.5) / SAMPLES as f64 - self.object.x;
                let dy = y as f64 + (j as f64 + 0.5) / SAMPLES as f64 - self.object.y;
                let u = (dx * cosine + dy * sine) / self.object.radius;
                let v = (dy * cosine - dx * sine) / self.object.radius;
                if self.object.kind.contains(u, v) {
                    cover += 1;
                    dark += usize::from(self.is_dark(u, v));
                }
            }
        }
        (cover, dark)
    }

    fn is_dark(&self, u: f64, v: f64) -> bool {
        let along = |t: f64| {
            let t = t / self.period + self.object.phase;
            t - t.floor() - 0.5
        };
        match self.object.pattern {
            Pattern::Plain => false,
            Pattern::Striped => along(u) < 0.0,
            Pattern::Dotted => along(u) * along(u) + along(v) * along(v) < 0.1,
        }
    }

    /// Light comes from the upper left.
    fn blend(&self, pixel: &mut [f64; 3], x: usize, y: usize, cover: usize, dark: usize) {
        let object = self.object;
        let away = (x as f64 + 0.5 - object.x + y as f64 + 0.5 - object.y) / object.radius;
        let light = 1.0 - 0.07 * away;
        let share = cover as f64 / (SAMPLES * SAMPLES) as f64;
        let ink = 1.0 - 0.7 * dark as f64 / cover as f64;
        for (value, paint) in pixel.iter_mut().zip(object.rgb) {
            *value = *value * (1.0 - share) + paint * light * ink * share;
        }
    }
}

/// Soft patches of colour: a uniform cubic B-spline through random, rather grey control points.
fn background(scene: &Scene, stream: &mut Stream) -> Vec<[f64; 3]> {
    let base: [f64; 3] = std::array::from_fn(|_| stream.range(60.0, 190.0));
    let control: Vec<[f64; 3]> = (0..CONTROL * CONTROL)
        .map(|_| {
            let colour = base.map(|c| c + stream.range(-75.0, 75.0));
            let grey = (colour[0] + colour[1] + colour[2]) / 3.0;
            colour.map(|c| grey + 0.6 * (c - grey))
        })
        .collect();
    let rows: Vec<(usize, [f64; 4])> = (0..scene.height).map(|y| spline(y, scene.height)).collect();
    let columns: Vec<(usize, [f64; 4])> = (0..scene.width).map(|x| spline(x, scene.width)).collect();
    let mut canvas = Vec::with_capacity(scene.width * scene.height);
    for &(top, down) in &rows {
        let line: [[f64; 3]; CONTROL] = std::array::from_fn(|column| {
            std::array::from_fn(|c| (0..4).map(|k| down[k] * control[(top + k) * CONTROL + column][c]).sum())
        });
        for &(left, across) in &columns {
            canvas.push(std::array::from_fn(|c| (0..4).map(|k| across[k] * line[left + k][c]).sum()));
        }
    }
    canvas
}

/// The first of the four control points that a pixel depends on, and their weights.
fn spline(pixel: usize, length: usize) -> (usize, [f64; 4]) {
    let cells = CONTROL - 3;
    let position = (pixel as f64 + 0.5) / length as f64 * cells as f64;
    let cell = (position as usize).min(cells - 1);
    let t = position - cell as f64;
    let s = 1.0 - t;
    let inner = |t: f64| (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0;
    (cell, [s * s * s / 6.0, inner(t), inner(s), t * t * t / 6.0])
}

/// Grey noise over the whole picture: the sum of four uniform numbers, which is nearly normal.
fn with_grain(canvas: &[[f64; 3]], stream: &mut Stream) -> Vec<u8> {
    const MEAN: f64 = 4.0 * 32_767.5;
    const DEVIATION: f64 = 37_837.0;
    let mut bytes = Vec::with_capacity(3 * canvas.len());
    for pixel in canvas {
        let bits = stream.next_u64();
        let sum: u64 = (0..4).map(|k| (bits >> (16 * k)) & 0xffff).sum();
        let noise = (sum as f64 - MEAN) / DEVIATION * GRAIN;
        bytes.extend(pixel.map(|value| (value + noise + 0.5).clamp(0.0, 255.0) as u8));
    }
    bytes
}
