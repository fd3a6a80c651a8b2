//! What a RefShapes holds, in numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::record::{Drawing, Segmentation};
use super::split::Split;
use super::{ShapesConfig, wording};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitSummary {
    pub split: Split,
    pub images: usize,
    pub objects: usize,
    pub referents: usize,
    pub expressions: usize,
    pub words: usize,
    /// Referents of a kind that another object of the image shares.
    pub with_distractor: usize,
    /// Referents cut into several parts.
    pub in_parts: usize,
    /// Referents with a hole.
    pub with_hole: usize,
    /// Expressions that a model gets right which ignores them and names, for each image, the
    /// referent with the most.
    pub blind: usize,
}

impl SplitSummary {
    pub(super) fn of(split: Split, drawings: &[Drawing]) -> Self {
        let records = || drawings.iter().flat_map(|drawing| &drawing.records);
        let expressions = || records().flat_map(|record| &record.expressions);
        let most = |drawing: &Drawing| drawing.records.iter().map(|record| record.expressions.len()).max();
        Self {
            split,
            images: drawings.len(),
            objects: drawings.iter().map(|drawing| drawing.objects).sum(),
            referents: records().count(),
            expressions: expressions().count(),
            words: expressions().map(|text| text.split(' ').count()).sum(),
            with_distractor: drawings.iter().map(|drawing| drawing.with_distractor).sum(),
            in_parts: records()
                .filter(|record| matches!(&record.mask, Segmentation::Polygons(parts) if parts.len() > 1))
                .count(),
            with_hole: records().filter(|record| matches!(record.mask, Segmentation::Rle(_))).count(),
            blind: drawings.iter().filter_map(most).sum(),
        }
    }
}

/// What [`super::generate`] made or found.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub dataset: String,
    /// Everything was there already.
    pub reused: bool,
    pub splits: Vec<SplitSummary>,
    /// Words that expressions can hold.
    pub vocabulary: usize,
}

impl Summary {
    pub(super) fn new(config: &ShapesConfig, splits: Vec<SplitSummary>, reused: bool) -> Self {
        Self { dataset: config.dataset(), reused, splits, vocabulary: wording::WORDS.len() }
    }
}

/// A table, one line a split.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<7}{:>8}{:>15}{:>11}{:>13}{:>7}{:>11}{:>9}{:>7}{:>7}",
            "split",
            "images",
            "objects/image",
            "referents",
            "expressions",
            "words",
            "same kind",
            "in parts",
            "holes",
            "blind"
        )?;
        for split in &self.splits {
            let per = |count: usize, all: usize| count as f64 / all.max(1) as f64;
            let percent = |count: usize| format!("{:.1}%", 100.0 * per(count, split.referents));
            writeln!(
                f,
                "{:<7}{:>8}{:>15.2}{:>11}{:>13}{:>7.1}{:>11}{:>9}{:>7}{:>7}",
                split.split.name(),
                split.images,
                per(split.objects, split.images),
                split.referents,
                split.expressions,
                per(split.words, split.expressions),
                percent(split.with_distractor),
                percent(split.in_parts),
                percent(split.with_hole),
                format!("{:.1}%", 100.0 * per(split.blind, split.expressions)),
            )?;
        }
        write!(
            f,
            "vocabulary: {} words. same kind: referents that share their kind with another object of the image.\n\
             blind: what a model reaches that ignores the words and always names one object of the image.",
            self.vocabulary
        )
    }
}
