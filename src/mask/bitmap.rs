use super::{MaskError, Rle};

/// A binary mask, row-major, one byte (0 or 1) a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    pub height: usize,
    pub width: usize,
    pub pixels: Vec<u8>,
}

impl Mask {
    pub fn empty(height: usize, width: usize) -> Self {
        Self { height, width, pixels: vec![0; height * width] }
    }

    pub fn get(&self, x: usize, y: usize) -> bool {
        self.pixels[y * self.width + x] != 0
    }

    /// Pixels set.
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|&&p| p != 0).count()
    }

    /// The smallest rectangle `[x, y, width, height]` around what is set, if anything is.
    pub fn bounding_box(&self) -> Option<[usize; 4]> {
        let mut rows = self.pixels.chunks_exact(self.width.max(1)).enumerate();
        let (top, first) = rows.find(|(_, row)| row.contains(&1))?;
        let mut left = first.iter().position(|&pixel| pixel == 1)?;
        let mut right = first.iter().rposition(|&pixel| pixel == 1)?;
        let mut bottom = top;
        for (y, row) in rows {
            // Only what lies beyond the sides so far can move them, and a row without anything there is
            // passed over quickly.
            if let Some(before) = row[..left].iter().position(|&pixel| pixel == 1) {
                left = before;
            }
            if row[right + 1..].contains(&1) {
                right += 1 + row[right + 1..].iter().rposition(|&pixel| pixel == 1)?;
            }
            if row[left..=right].contains(&1) {
                bottom = y;
            }
        }
        Some([left, top, right - left + 1, bottom - top + 1])
    }

    /// The mask as run lengths.
    pub fn to_rle(&self) -> Result<Rle, MaskError> {
        let columns = transpose(&self.pixels, self.height, self.width);
        let mut counts = Vec::new();
        let (mut start, mut set) = (0, false);
        while start < columns.len() {
            let end = run_end(&columns, start, set);
            counts.push((end - start) as u32);
            (start, set) = (end, !set);
        }
        if counts.is_empty() {
            counts.push(0);
        }
        Rle::new(self.height, self.width, counts)
    }
}

impl Rle {
    /// One byte a pixel.
    pub fn to_mask(&self) -> Mask {
        let mut mask = Mask::empty(self.height(), self.width());
        let bounds @ [x, y, width, height] = self.bounding_box();
        if width == 0 {
            return mask;
        }
        let part = self.to_mask_within(bounds);
        let (x, y, width) = (x as usize, y as usize, width as usize);
        let rows = mask.pixels.chunks_exact_mut(mask.width).skip(y).take(height as usize);
        for (row, part) in rows.zip(part.pixels.chunks_exact(width)) {
            row[x..x + width].copy_from_slice(part);
        }
        mask
    }
}

impl Rle {
    /// The part of the mask within `[x, y, width, height]`, which must lie inside of it; a bounding
    /// box is mostly far smaller than the image.
    pub fn to_mask_within(&self, [x, y, width, height]: [u32; 4]) -> Mask {
        let (x, y, width, height) = (x as usize, y as usize, width as usize, height as usize);
        let mut columns = vec![0u8; height * width];
        let rows = self.height();
        for (start, end) in self.runs().map(|(start, end)| (start as usize, end as usize)) {
            for column in (start / rows).max(x)..=((end - 1) / rows).min((x + width).saturating_sub(1)) {
                let from = start.max(column * rows + y);
                let to = end.min(column * rows + y + height);
                if from < to {
                    let place = (column - x) * height + from - column * rows - y;
                    columns[place..place + to - from].fill(1);
                }
            }
        }
        Mask { height, width, pixels: transpose(&columns, width, height) }
    }
}

/// First position from `start` on where a pixel is not `set`, or the end.
fn run_end(pixels: &[u8], start: usize, set: bool) -> usize {
    let mut at = start;
    let whole = if set { [1u8; 8] } else { [0u8; 8] };
    for chunk in pixels[start..].chunks_exact(8) {
        if chunk != whole {
            break;
        }
        at += 8;
    }
    while at < pixels.len() && (pixels[at] != 0) == set {
        at += 1;
    }
    at
}

/// Transposes `rows` x `columns` bytes. In blocks of 8 x 8: byte by byte it would take most of
/// the time of a conversion.
fn transpose(from: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let mut to = vec![0u8; from.len()];
    let (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
    for row in (0..whole_rows).step_by(8) {
        for column in (0..whole_columns).step_by(8) {
            let mut block = [0u64; 8];
            for (i, word) in block.iter_mut().enumerate() {
                let at = (row + i) * columns + column;
                let mut bytes = [0u8; 8];
                bytes.copy_from_slice(&from[at..at + 8]);
                *word = u64::from_le_bytes(bytes);
            }
            transpose_block(&mut block);
            for (i, word) in block.iter().enumerate() {
                let at = (column + i) * rows + row;
                to[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    for row in 0..rows {
        let first = if row < whole_rows { whole_columns } else { 0 };
        for column in first..columns {
            to[column * rows + row] = from[row * columns + column];
        }
    }
    to
}

/// Exchanges 4 x 4 quarters, then 2 x 2, then single bytes across the diagonal.
fn transpose_block(block: &mut [u64; 8]) {
    for (distance, keep) in [(4, 0xffff_ffff_u64), (2, 0x0000_ffff_0000_ffff), (1, 0x00ff_00ff_00ff_00ff)] {
        let shift = distance * 8;
        for upper in (0..8).filter(|row| row & distance == 0) {
            let swap = ((block[upper] >> shift) ^ block[upper + distance]) & keep;
            block[upper + distance] ^= swap;
            block[upper] ^= swap << shift;
        }
    }
}
