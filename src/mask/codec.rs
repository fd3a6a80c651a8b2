//! COCO's text form of run lengths: five bits a character, least significant first, bit 5 says
//! that more follow, the last one's bit 4 is the sign. From the fourth run on, the difference to
//! the run two before is stored.

use super::rle::pixels;
use super::{MaskError, Rle};

/// A length below 2^32, or the difference of two, needs at most seven characters.
const MAX_CHARACTERS: usize = 7;

impl Rle {
    /// The compressed counts of COCO.
    pub fn to_compressed(&self) -> String {
        let counts = self.counts();
        let mut text = String::with_capacity(counts.len() * 2);
        for (i, &count) in counts.iter().enumerate() {
            let mut value = i64::from(count) - if i > 2 { i64::from(counts[i - 2]) } else { 0 };
            loop {
                let bits = (value & 0x1f) as u8;
                value >>= 5;
                let more = value != if bits & 0x10 != 0 { -1 } else { 0 };
                text.push(char::from(48 + bits + if more { 0x20 } else { 0 }));
                if !more {
                    break;
                }
            }
        }
        text
    }

    /// Reads COCO's compressed counts. Takes memory in proportion to the text only.
    pub fn from_compressed(height: usize, width: usize, text: &str) -> Result<Self, MaskError> {
        let pixels = pixels(height, width)?;
        let mut counts: Vec<u32> = Vec::new();
        let (mut value, mut characters) = (0i64, 0);
        for (position, byte) in text.bytes().enumerate() {
            let bits = byte
                .checked_sub(48)
                .filter(|bits| bits & 0xc0 == 0)
                .ok_or(MaskError::Character { position, found: byte })?;
            let run = counts.len();
            value |= i64::from(bits & 0x1f) << (5 * characters);
            characters += 1;
            if bits & 0x20 != 0 {
                if characters == MAX_CHARACTERS {
                    return Err(MaskError::Run { run, found: value, pixels });
                }
                continue;
            }
            if bits & 0x10 != 0 {
                value |= -1 << (5 * characters);
            }
            if run > 2 {
                value += i64::from(counts[run - 2]);
            }
            let count = u32::try_from(value)
                .ok()
                .filter(|&count| u64::from(count) <= pixels)
                .ok_or(MaskError::Run { run, found: value, pixels })?;
            counts.push(count);
            (value, characters) = (0, 0);
        }
        if characters > 0 {
            return Err(MaskError::Truncated { run: counts.len() });
        }
        Self::new(height, width, counts)
    }
}
