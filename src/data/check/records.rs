//! The records of an annotation file.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::images::Uses;
use super::{Fault, Finding, Report, Spot};
use crate::data::{Annotations, BadRecord, ImageFiles, Referent};
use crate::text;

/// The split that is learned from.
const TRAIN: &str = "train";

/// A record that can't be used at all.
pub(super) fn unusable(path: &Path, bad: &BadRecord) -> Finding {
    let fault = match bad.field.as_str() {
        "bbox" => Fault::Box,
        "mask" => Fault::BrokenMask,
        "expressions" => Fault::EmptyExpression,
        _ => Fault::Record,
    };
    let spot = Spot { file: path.to_owned(), split: bad.split.clone(), record: bad.index };
    Finding::at(fault, spot, format!("{}: {}; {}", bad.field, bad.found, bad.remedy))
}

/// A file whose usable records are looked at.
pub(super) struct Named<'a> {
    pub annotations: &'a Annotations,
    /// The others, which indices must count too.
    pub bad: &'a [BadRecord],
    pub files: &'a ImageFiles,
    /// Records that were looked at in another file.
    pub known: &'a HashSet<String>,
}

impl Named<'_> {
    /// Reports what is wrong with the records; notes which images they need.
    ///
    /// What is learned must not be asked again. Two splits that only evaluate may share expressions, as the
    /// mixed set's validation splits do.
    pub fn check(&self, uses: &mut Uses, report: &mut Report) {
        let findings = &mut report.problems;
        let mut seen: HashMap<(PathBuf, [u64; 4], String), Spot> = HashMap::new();
        let mut shared = 0;
        for split in self.annotations.splits() {
            let new = self.new_records(split);
            let own: Vec<Vec<Finding>> =
                new.par_iter().map(|(spot, referent)| look_at(spot, referent)).collect();
            findings.extend(own.into_iter().flatten());
            for (spot, referent) in new {
                let Some(image) = self.files.path(referent) else {
                    let source = self.files.source(referent);
                    let found = format!("`{source}`; set data.images.{source} = \"folder/{{image_id}}.jpg\"");
                    findings.push(Finding::at(Fault::NoPattern, spot, found));
                    continue;
                };
                for expression in &referent.expressions {
                    let words = text::words(expression).join(" ");
                    let key = (image.clone(), referent.bbox.map(f64::to_bits), words);
                    let first = seen.entry(key).or_insert_with(|| spot.clone());
                    if first.split == spot.split {
                        continue;
                    }
                    if [&first.split, &spot.split].into_iter().any(|split| split == TRAIN) {
                        let found =
                            format!("\"{expression}\" as in {}, record {}", first.split, first.record);
                        findings.push(Finding::at(Fault::Twice, spot.clone(), found));
                    } else {
                        shared += 1;
                    }
                    if spot.split == TRAIN {
                        *first = spot.clone();
                    }
                }
                uses.add(image, spot, (referent.width, referent.height));
            }
        }
        if shared > 0 {
            let file = self.annotations.path().display();
            let note = format!(
                "{file}: {shared} times, two splits other than {TRAIN} have the same object and expression"
            );
            report.notes.push(note);
        }
    }

    /// Usable records that no other file has, with their true indices.
    fn new_records(&self, split: &str) -> Vec<(Spot, &Referent)> {
        let bad: BTreeSet<usize> =
            self.bad.iter().filter(|bad| bad.split == split).map(|bad| bad.index).collect();
        let indices = (0..).filter(|index| !bad.contains(index));
        let referents = self.annotations.referents(split).unwrap_or_default();
        let records = self.annotations.records(split).into_iter().flatten();
        let spot =
            |record| Spot { file: self.annotations.path().to_owned(), split: split.to_owned(), record };
        indices
            .zip(referents)
            .zip(records)
            .filter(|(_, text)| !self.known.contains(*text))
            .map(|((index, referent), _)| (spot(index), referent))
            .collect()
    }
}

/// Boxes may be this many pixels larger than the image: those of COCO are rounded.
const SLACK: f64 = 1.0;

/// What is wrong within a record.
fn look_at(spot: &Spot, referent: &Referent) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |fault, found| findings.push(Finding::at(fault, spot.clone(), found));
    let [x, y, w, h] = referent.bbox;
    let (width, height) = (referent.width as f64, referent.height as f64);
    if w <= 0.0 || h <= 0.0 {
        report(Fault::Box, format!("{:?} has no area", referent.bbox));
    } else if x < -SLACK || y < -SLACK || x + w > width + SLACK || y + h > height + SLACK {
        report(Fault::Box, format!("{:?} in an image of {width} x {height} pixels", referent.bbox));
    }
    for expression in referent.expressions.iter().filter(|expression| text::words(expression).is_empty()) {
        report(Fault::EmptyExpression, format!("{expression:?} has no word"));
    }
    if referent.has_mask() {
        match referent.rle() {
            Ok(mask) if mask.area() == 0 => report(Fault::EmptyMask, "no pixel is set".to_owned()),
            Ok(_) => {}
            Err(error) => report(Fault::BrokenMask, error.to_string()),
        }
    }
    findings
}
