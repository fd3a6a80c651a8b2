//! The image files that records name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;
use rayon::prelude::*;

use super::{Fault, Finding, Spot};
use crate::data::decode;

/// Which records need which image, in the order of first need.
#[derive(Default)]
pub(super) struct Uses {
    number: HashMap<PathBuf, usize>,
    images: Vec<Image>,
}

struct Image {
    path: PathBuf,
    records: usize,
    /// The first record for each size that records give, width and height.
    sizes: Vec<((usize, usize), Spot)>,
}

impl Uses {
    pub fn add(&mut self, path: PathBuf, spot: Spot, size: (usize, usize)) {
        let number = *self.number.entry(path).or_insert_with_key(|path| {
            self.images.push(Image { path: path.clone(), records: 0, sizes: Vec::new() });
            self.images.len() - 1
        });
        let image = &mut self.images[number];
        image.records += 1;
        if image.sizes.iter().all(|(other, _)| *other != size) {
            image.sizes.push((size, spot));
        }
    }

    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Decodes every image.
    pub fn check(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Vec<Finding> {
        let done = AtomicUsize::new(0);
        let check = |image: &Image| {
            let findings = image.check();
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, self.images.len());
            findings
        };
        self.images.par_iter().flat_map_iter(check).collect()
    }
}

impl Image {
    fn check(&self) -> Vec<Finding> {
        let first = self.sizes[0].1.clone();
        let needed = format!("needed by {} records", self.records);
        if !self.path.is_file() {
            let found = format!("{} ({needed})", self.path.display());
            return vec![Finding::at(Fault::MissingImage, first, found)];
        }
        match whole(&self.path) {
            Ok(image) => self.compare((image.width() as usize, image.height() as usize), &self.path),
            Err(problem) => {
                let found = format!("{} {problem} ({needed})", self.path.display());
                vec![Finding::at(Fault::BrokenImage, first, found)]
            }
        }
    }

    fn compare(&self, is: (usize, usize), path: &Path) -> Vec<Finding> {
        let other = self.sizes.iter().filter(|(size, _)| *size != is);
        let finding = |((width, height), spot): &((usize, usize), Spot)| {
            let found = format!(
                "{} is {} x {} pixels, the record says {width} x {height}",
                path.display(),
                is.0,
                is.1
            );
            Finding::at(Fault::ImageSize, spot.clone(), found)
        };
        other.map(finding).collect()
    }
}

/// The image, if its file is whole: decoders fill up what is missing of a JPEG.
fn whole(path: &Path) -> Result<RgbImage, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let image = decode(&bytes)?;
    match is_cut_off(&bytes) {
        true => Err(format!("is cut off after {} bytes", bytes.len())),
        false => Ok(image),
    }
}

/// A JPEG without an end marker after its pixels begin. (The header may hold a preview with an end
/// marker of its own.)
fn is_cut_off(bytes: &[u8]) -> bool {
    const END: [u8; 2] = [0xff, 0xd9];
    let Some(mut rest) = bytes.strip_prefix(&[0xff, 0xd8]) else { return false };
    while let [0xff, marker, high, low, ..] = *rest {
        if marker == 0xda {
            return !rest.windows(2).any(|pair| pair == END);
        }
        rest = match marker {
            0xff => &rest[1..],
            _ => rest.get(2 + usize::from(u16::from_be_bytes([high, low]))..).unwrap_or_default(),
        };
    }
    // Stray bytes between segments, which decoders skip.
    !rest.windows(2).any(|pair| pair == END)
}
