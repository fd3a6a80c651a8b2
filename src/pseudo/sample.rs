//! Which referents get a mask by hand: nested random subsets of the training split.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PseudoError;
use super::subset::{refuse_to_replace, sha256, write_subset};
use crate::data::{Annotations, Referent};
use crate::random::Stream;

/// A subset to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleOptions {
    pub split: String,
    /// Percent of the records.
    pub ratio: u32,
    pub seed: u64,
    /// Replace a file that is there.
    pub force: bool,
}

/// What was drawn, from what: the content of `instances_sample_<ratio>.provenance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    pub file: PathBuf,
    pub source: PathBuf,
    /// Of the source, lower-case hexadecimal.
    pub source_sha256: String,
    pub split: String,
    /// Percent.
    pub ratio: u32,
    pub seed: u64,
    pub records: usize,
    pub of: usize,
}

/// The records of a random subset, ascending: a share of all of them, drawn among those that have a mask;
/// nothing if those are fewer. Of the same seed and records, the smaller one lies within the larger one.
pub fn draw(has_mask: &[bool], ratio: u32, seed: u64) -> Option<Vec<usize>> {
    let wanted = wanted(has_mask.len(), ratio);
    let order = Stream::new(seed, "sample").permutation(has_mask.len());
    let mut drawn: Vec<usize> = order.into_iter().filter(|&record| has_mask[record]).take(wanted).collect();
    drawn.sort_unstable();
    (drawn.len() == wanted).then_some(drawn)
}

/// So many percent of the records, one at least.
fn wanted(records: usize, ratio: u32) -> usize {
    ((records as f64 * f64::from(ratio) / 100.0).round() as usize).clamp(1, records.max(1))
}

/// Draws from the records of one split that have a mask and writes `instances_sample_<ratio>.json` beside the source: the drawn records
/// as they stand, in the order of the source, and every other split whole.
pub fn sample(all: &Annotations, options: &SampleOptions) -> Result<Drawn, PseudoError> {
    let beside = all.path().parent().unwrap_or(Path::new(""));
    sample_into(beside, all, options)
}

/// [`sample`] with the file in another folder.
pub fn sample_into(folder: &Path, all: &Annotations, options: &SampleOptions) -> Result<Drawn, PseudoError> {
    NewSample::draw(folder, all, options)?.write()
}

/// A sample that is drawn but not written yet, so that of several none is written where one can't be drawn.
pub struct NewSample<'a> {
    path: PathBuf,
    all: &'a Annotations,
    records: Vec<Cow<'a, str>>,
    drawn: Drawn,
}

impl<'a> NewSample<'a> {
    /// # Errors
    /// A file that is there, unless it may be replaced; too few records with a mask.
    pub fn draw(folder: &Path, all: &'a Annotations, options: &SampleOptions) -> Result<Self, PseudoError> {
        let SampleOptions { ref split, ratio, seed, force } = *options;
        if !(1..=100).contains(&ratio) {
            return Err(PseudoError::Ratio { ratio });
        }
        let file = sample_file(ratio);
        let path = folder.join(&file);
        refuse_to_replace(&path, force)?;
        let records: Vec<&str> = all.records(split)?.collect();
        if records.is_empty() {
            return Err(PseudoError::NothingToDraw { path: all.path().to_owned(), split: split.clone() });
        }
        let has_mask: Vec<bool> = all.referents(split)?.iter().map(Referent::has_mask).collect();
        let drawn = draw(&has_mask, ratio, seed).ok_or_else(|| PseudoError::FewMasks {
            path: all.path().to_owned(),
            split: split.clone(),
            found: has_mask.iter().filter(|&&has_mask| has_mask).count(),
            ratio,
            expected: wanted(records.len(), ratio),
        })?;
        let kept: Vec<Cow<str>> = drawn.iter().map(|&i| Cow::Borrowed(records[i])).collect();
        let drawn = Drawn {
            file: file.into(),
            source: all.path().file_name().unwrap_or_default().into(),
            source_sha256: sha256(all.text()),
            split: split.clone(),
            ratio,
            seed,
            records: kept.len(),
            of: records.len(),
        };
        Ok(Self { path, all, records: kept, drawn })
    }

    /// Writes the file, and what was drawn beside it.
    pub fn write(self) -> Result<Drawn, PseudoError> {
        let Self { path, all, records, drawn } = self;
        write_subset(&path, all, &drawn.split, &records, &drawn)?;
        Ok(drawn)
    }
}

/// The name of the file of a labelled sample.
pub fn sample_file(ratio: u32) -> String {
    format!("instances_sample_{ratio}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_samples_lie_within_larger_ones() {
        let draw = |count: usize, ratio, seed| draw(&vec![true; count], ratio, seed).expect("enough masks");
        let [one, five, ten] = [1, 5, 10].map(|ratio| draw(42_404, ratio, 6666));
        assert_eq!([one.len(), five.len(), ten.len()], [424, 2120, 4240]);
        assert!(one.iter().all(|i| five.binary_search(i).is_ok()));
        assert!(five.iter().all(|i| ten.binary_search(i).is_ok()));
        assert!(ten.windows(2).all(|pair| pair[0] < pair[1]));
        assert_ne!(draw(42_404, 1, 1), one);
        // Spread over the whole file, not taken from its beginning.
        assert!(one[0] < 1000 && one[423] > 41_000);
        assert_eq!(draw(30, 1, 3).len(), 1);
    }

    #[test]
    fn records_without_a_mask_are_never_drawn() {
        let has_mask: Vec<bool> = (0..200).map(|record| record % 4 == 0).collect();
        let [five, all] = [5, 25].map(|ratio| draw(&has_mask, ratio, 1).expect("enough masks"));
        assert_eq!((five.len(), all.len()), (10, 50));
        assert!(all.iter().all(|record| record % 4 == 0) && five.iter().all(|record| all.contains(record)));
        assert_eq!(draw(&has_mask, 26, 1), None);
    }
}
