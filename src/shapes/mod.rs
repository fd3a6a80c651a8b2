//! RefShapes: a referring expression data set in miniature, made by the program itself.
//!
//! Scenes of one to five objects (a dozen outlines, eight colours, three patterns, two sizes) on
//! soft noisy backgrounds, with exact visible masks and expressions that fit one object only.
//! It is written as JPEG files and annotation JSON in the reference's layout, so that the code
//! that reads RefCOCO reads it too. `docs/refshapes.md` shows it.
//!
//! A configuration gives the same bytes on every machine and with any number of threads: random
//! numbers come from [`crate::random::Stream`], arithmetic is limited to operations that IEEE 754
//! defines exactly, and each image has its own stream. Image `i` of a split depends on the seed
//! and the size alone, so a larger set begins with the smaller one, and val and tests don't
//! change with `images`. Errors: [`ShapesError`].

mod attributes;
mod describe;
mod error;
mod express;
mod looks;
mod manner;
mod object;
mod record;
mod render;
mod scene;
mod scratch;
mod sheet;
mod split;
mod summary;
mod trace;
mod tree;
mod wording;

pub use attributes::{Colour, Kind, Pattern, Size};
pub use error::ShapesError;
pub use manner::Manner;
pub use record::DATA_SOURCE;
pub use sheet::contact_sheet;
pub use split::Split;
pub use summary::{SplitSummary, Summary};
pub use tree::{generate, made_from};

/// Which RefShapes to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapesConfig {
    pub manner: Manner,
    /// Images of the split train.
    pub images: usize,
    pub val_images: usize,
    /// Images of testA, and of testB.
    pub test_images: usize,
    /// Longest side of the largest images, in pixels (the others have at least three quarters).
    pub size: usize,
    pub seed: u64,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self { manner: Manner::Unc, images: 6000, val_images: 300, test_images: 250, size: 128, seed: 1 }
    }
}

impl ShapesConfig {
    /// The default set of the manner that a dataset's name asks for: `refshapes-<manner>`.
    pub fn of_dataset(name: &str) -> Option<Self> {
        let manners = [Manner::Unc, Manner::Plus, Manner::G];
        let sets = manners.map(|manner| Self { manner, ..Self::default() });
        sets.into_iter().find(|set| set.dataset() == name)
    }

    /// The folder of `annotations` that this is written to: `refshapes-<manner>`.
    pub fn dataset(&self) -> String {
        format!("refshapes-{}", self.manner.name())
    }

    fn images_of(&self, split: Split) -> usize {
        match split {
            Split::Train => self.images,
            Split::Val => self.val_images,
            Split::TestA | Split::TestB => self.test_images,
        }
    }

    fn check(&self) -> Result<(), ShapesError> {
        let counts =
            [("images", self.images), ("val images", self.val_images), ("test images", self.test_images)];
        for (field, found) in counts {
            if !(1..=Split::MOST_IMAGES).contains(&found) {
                return Err(ShapesError::Config { field, found, expected: "1 to 100000" });
            }
        }
        if !(64..=1024).contains(&self.size) {
            return Err(ShapesError::Config {
                field: "size",
                found: self.size,
                expected: "64 to 1024 pixels",
            });
        }
        Ok(())
    }
}
