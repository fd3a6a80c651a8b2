use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{MaskError, Segmentation};

/// Masks of more pixels are refused (a 16 000 x 16 000 image has fewer): sizes come from files,
/// and a wrong one must not allocate all memory.
pub const MAX_PIXELS: u64 = 1 << 28;

/// Run lengths in column-major order, starting with zeros, as COCO counts them. They always add
/// up to `height * width`.
///
/// In JSON: `{"size": [height, width], "counts": "…"}`, where a list of counts is read too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rle {
    height: usize,
    width: usize,
    counts: Vec<u32>,
}

/// A mask seen from its two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadows {
    pub columns: Vec<bool>,
    pub rows: Vec<bool>,
}

/// How [`Rle::merge`] joins masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    Union,
    Intersection,
}

impl Rle {
    /// Run lengths of a mask; a sum other than `height * width` is an error.
    pub fn new(height: usize, width: usize, counts: Vec<u32>) -> Result<Self, MaskError> {
        let expected = pixels(height, width)?;
        let found = counts.iter().map(|&c| u64::from(c)).sum();
        if found != expected {
            return Err(MaskError::Length { height, width, found, expected });
        }
        Ok(Self { height, width, counts })
    }

    /// A mask without any pixel.
    pub fn empty(height: usize, width: usize) -> Result<Self, MaskError> {
        Self::new(height, width, vec![pixels(height, width)? as u32])
    }

    pub fn height(&self) -> usize {
        self.height
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// Run lengths: zeros, ones, zeros …
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Pixels set.
    pub fn area(&self) -> u64 {
        self.counts.iter().skip(1).step_by(2).map(|&c| u64::from(c)).sum()
    }

    /// Bounding box `[x, y, width, height]` in whole pixels; all 0 for an empty mask.
    pub fn bounding_box(&self) -> [u32; 4] {
        let h = self.height as u32;
        let (mut x1, mut y1, mut x2, mut y2) = (u32::MAX, u32::MAX, 0, 0);
        for (start, end) in self.runs() {
            let (first, last) = (start / h, (end - 1) / h);
            (x1, x2) = (x1.min(first), x2.max(last));
            if first == last {
                (y1, y2) = (y1.min(start % h), y2.max((end - 1) % h));
            } else {
                (y1, y2) = (0, h - 1);
            }
        }
        if x1 == u32::MAX { [0; 4] } else { [x1, y1, x2 - x1 + 1, y2 - y1 + 1] }
    }

    /// Which columns and which rows have a pixel.
    pub fn shadows(&self) -> Shadows {
        let mut columns = vec![false; self.width];
        let mut rows = vec![false; self.height];
        let mut all_rows = false;
        for (start, end) in self.runs().map(|(start, end)| (start as usize, end as usize)) {
            let (first, last) = (start / self.height, (end - 1) / self.height);
            columns[first..=last].fill(true);
            if first == last {
                rows[start % self.height..=(end - 1) % self.height].fill(true);
            } else if last > first + 1 {
                all_rows = true;
            } else {
                rows[start % self.height..].fill(true);
                rows[..=(end - 1) % self.height].fill(true);
            }
        }
        if all_rows {
            rows.fill(true);
        }
        Shadows { columns, rows }
    }

    /// The runs of ones that are not empty, as `start..end` in column-major pixel numbers.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut position = 0;
        self.counts.iter().enumerate().filter_map(move |(i, &count)| {
            let start = position;
            position += count;
            (i % 2 == 1 && count > 0).then_some((start, position))
        })
    }

    /// Pixels that are in any (union) or in all (intersection) of the masks, which must have the
    /// same size.
    pub fn merge(masks: &[Rle], how: Merge) -> Result<Rle, MaskError> {
        let first = masks.first().ok_or(MaskError::Nothing)?;
        for mask in masks {
            first.same_size(mask)?;
        }
        if masks.len() == 1 {
            return Ok(first.clone());
        }
        // Each run opens at its start and closes at its end. The stable sort finds the sorted
        // stretches (one per mask) and merges them.
        let mut events: Vec<(u32, isize)> = masks
            .iter()
            .flat_map(|mask| mask.runs().flat_map(|(start, end)| [(start, 1), (end, -1)]))
            .collect();
        events.sort_by_key(|&(position, _)| position);
        let needed = match how {
            Merge::Union => 1,
            Merge::Intersection => masks.len() as isize,
        };
        let (mut counts, mut written, mut open) = (Vec::with_capacity(events.len() + 1), 0, 0);
        for group in events.chunk_by(|a, b| a.0 == b.0) {
            let before = open >= needed;
            open += group.iter().map(|&(_, change)| change).sum::<isize>();
            if before != (open >= needed) {
                counts.push(group[0].0 - written);
                written = group[0].0;
            }
        }
        let total = (first.height * first.width) as u32;
        if written < total || counts.is_empty() {
            counts.push(total - written);
        }
        Rle::new(first.height, first.width, counts)
    }

    pub(super) fn same_size(&self, other: &Rle) -> Result<(), MaskError> {
        other.check_size(self.height, self.width)
    }

    /// An error unless the mask has this size.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), MaskError> {
        if (self.height, self.width) == (height, width) {
            return Ok(());
        }
        Err(MaskError::Size { height, width, found_height: self.height, found_width: self.width })
    }
}

/// `height * width`, refused when it is above [`MAX_PIXELS`].
pub(super) fn pixels(height: usize, width: usize) -> Result<u64, MaskError> {
    (height as u64)
        .checked_mul(width as u64)
        .filter(|&pixels| pixels <= MAX_PIXELS)
        .ok_or(MaskError::TooLarge { height, width })
}

impl Serialize for Rle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rle = serializer.serialize_struct("Rle", 2)?;
        rle.serialize_field("size", &[self.height, self.width])?;
        rle.serialize_field("counts", &self.to_compressed())?;
        rle.end()
    }
}

impl<'de> Deserialize<'de> for Rle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segmentation = Segmentation::deserialize(deserializer)?;
        segmentation.run_lengths().map_err(serde::de::Error::custom)?.ok_or_else(|| {
            serde::de::Error::custom("expected RLE (an object with \"size\" and \"counts\"), found polygons")
        })
    }
}
