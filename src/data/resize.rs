//! Resizing of 8-bit images and masks, bit for bit as OpenCV's INTER_LINEAR and INTER_NEAREST do
//! it, so that published numbers can be met. Weights are fixed point with 11 bits.

use crate::mask::Mask;

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

/// One row interpolated along x, still with 7 bits behind the point.
fn row_along_x<const C: usize>(row: &[u8], taps: &[Tap], out: &mut [u16]) {
    let (pixels, _) = row.as_chunks::<C>();
    let (out, _) = out.as_chunks_mut::<C>();
    for (out, tap) in out.iter_mut().zip(taps) {
        let (a, b) = (&pixels[tap.first], &pixels[tap.second]);
        let [wa, wb] = tap.weights.map(u32::from);
        for c in 0..C {
            out[c] = ((u32::from(a[c]) * wa + u32::from(b[c]) * wb) >> 4) as u16;
        }
    }
}

/// Bilinear: the `window` of `pixels` (`C` interleaved channels, size `from`) resized to `to`.
pub fn linear<const C: usize>(pixels: &[u8], from: Size, to: Size, window: Window) -> Vec<u8> {
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
    let mut rows = [vec![0u16; width], vec![0u16; width]];
    let mut held = [usize::MAX; 2];
    for down in taps(from.1, to.1, window.y, window.height, false) {
        if held[1] == down.first && held[0] != down.first {
            rows.swap(0, 1);
            held.swap(0, 1);
        }
        for (row, held, wanted) in
            rows.iter_mut().zip(&mut held).zip([down.first, down.second]).map(|((a, b), c)| (a, b, c))
        {
            if *held != wanted {
                row_along_x::<C>(&pixels[wanted * line..][..line], &across, row);
                *held = wanted;
            }
        }
        let [wa, wb] = down.weights.map(u32::from);
        out.extend(rows[0].iter().zip(&rows[1]).map(|(&a, &b)| {
            let a = ((u32::from(a) * wa) >> 16) as u16;
            let b = ((u32::from(b) * wb) >> 16) as u16;
            ((a + b + 2) >> 2) as u8
        }));
    }
    out
}

/// Bilinear, for a mask: values are rounded back to 0 and 1, as 8-bit arithmetic does.
pub fn linear_mask(mask: &Mask, to: Size) -> Mask {
    let pixels = linear::<1>(&mask.pixels, (mask.width, mask.height), to, Window::whole(to));
    Mask { height: to.1, width: to.0, pixels }
}

/// Nearest neighbour (the pixel to the left and above), for a mask, with zeros on the right and
/// below up to `padded`.
pub fn nearest_mask(mask: &Mask, to: Size, padded: Size) -> Mask {
    let source =
        |i: usize, of: usize, to: usize| ((i as f64 * (1.0 / (to as f64 / of as f64))) as usize).min(of - 1);
    let columns: Vec<usize> = (0..to.0).map(|x| source(x, mask.width, to.0)).collect();
    let mut out = Mask::empty(padded.1, padded.0);
    for (y, row) in out.pixels.chunks_exact_mut(padded.0).take(to.1).enumerate() {
        let from = &mask.pixels[source(y, mask.height, to.1) * mask.width..][..mask.width];
        for (out, &x) in row.iter_mut().zip(&columns) {
            *out = from[x];
        }
    }
    out
}
