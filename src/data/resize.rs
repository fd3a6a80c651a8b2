//! Resizing of 8-bit images and masks, bit for bit as OpenCV's INTER_LINEAR and INTER_NEAREST do
//! it, so that published numbers can be met. Weights are fixed point with 11 bits.

use crate::mask::Mask;
use crate::nn::ops::wide;

/// Width and height.
pub type Size = (usize, usize);

/// A rectangle of a resized image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

impl Window {
    /// All of an image of this size.
    pub fn whole((width, height): Size) -> Self {
        Self { x: 0, y: 0, width, height }
    }
}

/// The size after scaling both sides by `factor` (quirk 31).
pub fn scaled((width, height): Size, factor: f64) -> Size {
    let side = |length: usize| ((length as f64 * factor + 0.5) as usize).max(1);
    (side(width), side(height))
}

/// The two neighbours of an output position and their weights, which add up to 2048.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    weights: [u16; 2],
}

/// Taps for outputs `from..from + count` of `to` when there are `of` inputs. Only the horizontal
/// axis gives a neighbour outside the image no weight (OpenCV does; both neighbours are the same
/// pixel there, but two products are rounded).
fn taps(of: usize, to: usize, from: usize, count: usize, horizontal: bool) -> Vec<Tap> {
    let ratio = 1.0 / (to as f64 / of as f64);
    let last = of as i64 - 1;
    (from..from + count)
        .map(|i| {
            let position = ((i as f64 + 0.5) * ratio - 0.5) as f32;
            let left = position.floor();
            let outside = left < 0.0 || left as i64 >= last;
            let fraction = if horizontal && outside { 0.0 } else { position - left };
            let weight = |share: f32| (share * 2048.0).round_ties_even() as u16;
            Tap {
                first: (left as i64).clamp(0, last) as usize,
                second: (left as i64 + 1).clamp(0, last) as usize,
                weights: [weight(1.0 - fraction), weight(fraction)],
            }
        })
        .collect()
}

wide! {
    /// One row of RGB interpolated along x, still with 7 bits behind the point. A pixel is read and written
    /// as four values, which registers like better than three: `row` and `out` are longer by one, and what
    /// the fourth of a pixel leaves is written over by the next.
    fn colours_along_x(row: &[u8], taps: &[Tap], out: &mut [u16]) {
        for (i, tap) in taps.iter().enumerate() {
            let (a, b) = (&row[3 * tap.first..][..4], &row[3 * tap.second..][..4]);
            let [wa, wb] = tap.weights.map(u32::from);
            let mut pixel = [0u16; 4];
            for c in 0..4 {
                pixel[c] = ((u32::from(a[c]) * wa + u32::from(b[c]) * wb) >> 4) as u16;
            }
            out[3 * i..][..4].copy_from_slice(&pixel);
        }
    }

    /// The same for one channel.
    fn values_along_x(row: &[u8], taps: &[Tap], out: &mut [u16]) {
        for (out, tap) in out.iter_mut().zip(taps) {
            let [wa, wb] = tap.weights.map(u32::from);
            *out = ((u32::from(row[tap.first]) * wa + u32::from(row[tap.second]) * wb) >> 4) as u16;
        }
    }

    /// Two such rows interpolated along y.
    fn along_y(above: &[u16], below: &[u16], weights: [u16; 2], out: &mut [u8]) {
        let [wa, wb] = weights.map(u32::from);
        for ((out, &a), &b) in out.iter_mut().zip(above).zip(below) {
            let a = ((u32::from(a) * wa) >> 16) as u16;
            let b = ((u32::from(b) * wb) >> 16) as u16;
            *out = ((a + b + 2) >> 2) as u8;
        }
    }
}

/// Row `y` of an image of `C` channels interpolated along x.
fn row_along_x<const C: usize>(pixels: &[u8], line: usize, y: usize, taps: &[Tap], out: &mut [u16]) {
    if C != 3 {
        return values_along_x(&pixels[y * line..][..line], taps, out);
    }
    match pixels.get(y * line..(y + 1) * line + 1) {
        Some(row) => colours_along_x(row, taps, out),
        // The last row has nothing behind it.
        None => colours_along_x(&[&pixels[y * line..], &[0]].concat(), taps, out),
    }
}

/// Bilinear: the `window` of `pixels` (`C` interleaved channels, 1 or 3, size `from`) resized to `to`.
pub fn linear<const C: usize>(pixels: &[u8], from: Size, to: Size, window: Window) -> Vec<u8> {
    const { assert!(C == 1 || C == 3) };
    let line = from.0 * C;
    let width = window.width * C;
    let mut out = Vec::with_capacity(width * window.height);
    if from == to {
        for y in window.y..window.y + window.height {
            out.extend_from_slice(&pixels[y * line + window.x * C..][..width]);
        }
        return out;
    }
    if from.0 == 2 * to.0 && from.1 == 2 * to.1 {
        for y in window.y..window.y + window.height {
            let (top, bottom) = (&pixels[2 * y * line..][..line], &pixels[(2 * y + 1) * line..][..line]);
            for x in window.x..window.x + window.width {
                for c in 2 * x * C..(2 * x + 1) * C {
                    let sum =
                        [top[c], top[c + C], bottom[c], bottom[c + C]].map(u16::from).iter().sum::<u16>();
                    out.push(((sum + 2) >> 2) as u8);
                }
            }
        }
        return out;
    }
    let across = taps(from.0, to.0, window.x, window.width, true);
    // Consecutive output rows share input rows: the two latest are kept.
    let mut rows = [vec![0u16; width + 1], vec![0u16; width + 1]];
    let mut held = [usize::MAX; 2];
    out.resize(width * window.height, 0);
    let lines = out.chunks_exact_mut(width.max(1));
    for (out, down) in lines.zip(taps(from.1, to.1, window.y, window.height, false)) {
        if held[1] == down.first && held[0] != down.first {
            rows.swap(0, 1);
            held.swap(0, 1);
        }
        for (row, held, wanted) in
            rows.iter_mut().zip(&mut held).zip([down.first, down.second]).map(|((a, b), c)| (a, b, c))
        {
            if *held != wanted {
                row_along_x::<C>(pixels, line, wanted, &across, row);
                *held = wanted;
            }
        }
        along_y(&rows[0], &rows[1], down.weights, out);
    }
    out
}

/// Bilinear, for the `window` of a mask resized to `to`: values are rounded back to 0 and 1, as 8-bit
/// arithmetic does. What is given back is a rectangle of the resized mask that holds all that is set in the
/// window, and its pixels; `None` if nothing is.
pub fn linear_part(mask: &Mask, to: Size, window: Window) -> Option<(Window, Vec<u8>)> {
    let from = (mask.width, mask.height);
    let [x, y, width, height] = mask.bounding_box()?;
    // Neighbours move to the right and down as their pixels do.
    let touched = |taps: Vec<Tap>, first: usize, count: usize| {
        let begin = taps.partition_point(|tap| tap.second < first);
        begin..taps.partition_point(|tap| tap.first < first + count)
    };
    let columns = touched(taps(from.0, to.0, window.x, window.width, true), x, width);
    let rows = touched(taps(from.1, to.1, window.y, window.height, false), y, height);
    if columns.is_empty() || rows.is_empty() {
        return None;
    }
    let part = Window {
        x: window.x + columns.start,
        y: window.y + rows.start,
        width: columns.len(),
        height: rows.len(),
    };
    Some((part, linear::<1>(&mask.pixels, from, to, part)))
}

/// [`linear_part`] as a mask of the window, with zeros on the right and below up to `padded`.
pub fn linear_mask(mask: &Mask, to: Size, window: Window, padded: Size) -> Mask {
    let mut out = Mask::empty(padded.1, padded.0);
    if let Some((part, pixels)) = linear_part(mask, to, window) {
        let rows = out.pixels.chunks_exact_mut(padded.0).skip(part.y - window.y);
        let columns = part.x - window.x..part.x - window.x + part.width;
        for (row, pixels) in rows.zip(pixels.chunks_exact(part.width)) {
            row[columns.clone()].copy_from_slice(pixels);
        }
    }
    out
}

/// Nearest neighbour (the pixel to the left and above), for a mask, with zeros on the right and
/// below up to `padded`.
pub fn nearest_mask(mask: &Mask, to: Size, padded: Size) -> Mask {
    let mut out = Mask::empty(padded.1, padded.0);
    let Some([x, y, width, height]) = mask.bounding_box() else { return out };
    let sources = |of: usize, to: usize| -> Vec<usize> {
        let ratio = 1.0 / (to as f64 / of as f64);
        (0..to).map(|i| ((i as f64 * ratio) as usize).min(of - 1)).collect()
    };
    let (columns, rows) = (sources(mask.width, to.0), sources(mask.height, to.1));
    // The rest of the mask is empty.
    let within = |sources: &[usize], first: usize, count: usize| {
        let begin = sources.partition_point(|&source| source < first);
        begin..sources.partition_point(|&source| source < first + count)
    };
    let across = within(&columns, x, width);
    for row in within(&rows, y, height) {
        let from = &mask.pixels[rows[row] * mask.width..][..mask.width];
        let out = &mut out.pixels[row * padded.0..][across.clone()];
        if to.0 == mask.width {
            out.copy_from_slice(&from[across.clone()]);
            continue;
        }
        for (out, &source) in out.iter_mut().zip(&columns[across.clone()]) {
            *out = from[source];
        }
    }
    out
}
