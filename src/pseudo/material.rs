//! What picking and judging start from: annotations, a labelled sample of them, predictions for them.

use std::collections::HashSet;

use rayon::prelude::*;
use serde_json::Value;

use super::subset::sha256;
use super::{Calibration, Candidate, LEAST_EXAMPLES, Predictions, PseudoError};
use crate::data::{Annotations, Referent};
use crate::mask::{MaskError, Rle};

/// Three files that belong together.
pub(super) struct Material<'a> {
    pub all: &'a Annotations,
    /// SHA-256 of `all`.
    pub hash: String,
    pub split: &'a str,
    pub predictions: &'a Predictions,
    pub referents: &'a [Referent],
    /// The records of `all`, as they stand.
    pub records: Vec<&'a str>,
    /// The records of the sample.
    pub sampled: Vec<&'a str>,
    /// Indices of the records that are not in the sample, ascending.
    pub unlabelled: Vec<usize>,
}

impl<'a> Material<'a> {
    /// # Errors
    /// Predictions of other annotations; a sample of other annotations.
    pub fn new(
        all: &'a Annotations,
        labelled: &'a Annotations,
        predictions: &'a Predictions,
    ) -> Result<Self, PseudoError> {
        let header = &predictions.header;
        let hash = sha256(all.text());
        if header.annotations_sha256 != hash {
            return Err(PseudoError::OtherAnnotations {
                predictions: predictions.path.clone(),
                annotations: all.path().to_owned(),
                found: header.annotations_sha256.clone(),
                expected: hash,
            });
        }
        let split = header.split.as_str();
        let records: Vec<&str> = all.records(split)?.collect();
        let sampled: Vec<&str> = labelled.records(split)?.collect();
        let unlabelled = unlabelled(all, &records, labelled, &sampled)?;
        let referents = all.referents(split)?;
        Ok(Self { all, hash, split, predictions, referents, records, sampled, unlabelled })
    }

    /// What of the sample's referents can be learnt, from the candidate of each that agrees most.
    pub fn calibrate(&self) -> Result<Calibration, PseudoError> {
        let mut unlabelled = self.unlabelled.iter().peekable();
        let labelled: Vec<usize> =
            (0..self.referents.len()).filter(|i| unlabelled.next_if_eq(&i).is_none()).collect();
        let examples: Vec<(&Candidate, f64)> = labelled
            .into_par_iter()
            .filter(|&i| self.referents[i].has_mask())
            .map(|i| {
                let agreed = self.best(i, |candidate| candidate.agreement.unwrap_or(0.0));
                let candidate = &self.predictions.referents[i].candidates[agreed];
                let iou = self.true_iou(i, Some(&candidate.mask))?;
                Ok((candidate, iou.unwrap_or(0.0)))
            })
            .collect::<Result<_, PseudoError>>()?;
        let found = examples.len();
        Calibration::learn(&examples).ok_or(PseudoError::TooFew { found, expected: LEAST_EXAMPLES })
    }

    /// The candidate that is worth most, the first of equals.
    pub fn best<T: PartialOrd>(&self, referent: usize, worth: impl Fn(&Candidate) -> T) -> usize {
        let candidates = &self.predictions.referents[referent].candidates;
        let better = |a: usize, b: usize| worth(&candidates[a]) > worth(&candidates[b]);
        (1..candidates.len()).fold(0, |best, i| if better(i, best) { i } else { best })
    }

    /// IoU of a mask with the true one, 0 without a mask; none where there is no true one.
    pub fn true_iou(&self, referent: usize, mask: Option<&Rle>) -> Result<Option<f64>, PseudoError> {
        if !self.referents[referent].has_mask() {
            return Ok(None);
        }
        let truth = self.referents[referent].rle().map_err(|source| self.wrong_truth(referent, source))?;
        let iou = mask.map(|mask| mask.iou(&truth, false)).transpose();
        Ok(Some(iou.map_err(|source| self.wrong_truth(referent, source))?.unwrap_or(0.0)))
    }

    /// A predicted mask that does not fit its image.
    pub fn wrong(&self, referent: usize, source: MaskError) -> PseudoError {
        PseudoError::Mask { path: self.predictions.path.clone(), referent, source }
    }

    fn wrong_truth(&self, referent: usize, source: MaskError) -> PseudoError {
        let (path, split) = (self.all.path().to_owned(), self.split.to_owned());
        PseudoError::TrueMask { path, split, referent, source }
    }
}

/// Indices of the records that are not in the sample. Records are recognised by what they say, not by
/// how it is spelt: a sample may have been written by another program.
fn unlabelled(
    all: &Annotations,
    records: &[&str],
    labelled: &Annotations,
    sampled: &[&str],
) -> Result<Vec<usize>, PseudoError> {
    // Mostly records stand as they were, and need no reading.
    let (same, verbatim): (HashSet<&str>, HashSet<&str>) =
        (sampled.iter().copied().collect(), records.iter().copied().collect());
    if same.is_subset(&verbatim) {
        return Ok((0..records.len()).filter(|&i| !same.contains(records[i])).collect());
    }
    let known: HashSet<String> = sampled.par_iter().map(|record| meaning(record)).collect();
    let meanings: Vec<String> = records.par_iter().map(|record| meaning(record)).collect();
    let there: HashSet<&str> = meanings.iter().map(String::as_str).collect();
    let missing = known.iter().filter(|record| !there.contains(record.as_str())).count();
    if missing > 0 {
        return Err(PseudoError::NotASubset {
            labelled: labelled.path().to_owned(),
            all: all.path().to_owned(),
            missing,
            of: sampled.len(),
        });
    }
    Ok((0..records.len()).filter(|&i| !known.contains(&meanings[i])).collect())
}

/// A hash of a record's content.
fn meaning(record: &str) -> String {
    match serde_json::from_str::<Value>(record) {
        Ok(value) => sha256(value.to_string()),
        Err(_) => sha256(record),
    }
}
