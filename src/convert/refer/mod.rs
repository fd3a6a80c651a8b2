//! REFER's originals and COCO's instances to the reference's annotation file.

mod coco;
mod counts;
mod refs;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{ConvertError, Output};
use crate::report::Table;
use coco::{Image, Instance};
use refs::Ref;

pub use counts::Counts;

/// Splits in the order of the file that is written; others follow.
const ORDER: [&str; 5] = ["train", "val", "testA", "testB", "test"];
const TRAIN: &str = "train";

/// What to convert.
#[derive(Clone, Debug)]
pub struct ReferRequest<'a> {
    /// `refs(unc).p`, `refs(umd).p`, `refs(google).p`.
    pub refs: &'a Path,
    /// COCO's `instances.json` beside it.
    pub instances: &'a Path,
    /// Such as `refcoco-unc`: published counts are compared where they are known.
    pub dataset: &'a str,
    pub out: &'a Path,
    pub output: Output,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferReport {
    pub out: PathBuf,
    pub splits: Vec<(String, Counts)>,
    /// Sentences without a word, which are counted but not written.
    pub wordless: usize,
    /// Splits whose published counts are known and other.
    pub differing: Vec<(String, Counts)>,
    /// Splits whose published counts are known and equal.
    pub agreeing: Vec<String>,
}

/// A record as the reference has it.
#[derive(Serialize)]
struct Record<'a> {
    image_id: u64,
    bbox: &'a serde_json::Value,
    mask: &'a serde_json::Value,
    expressions: Vec<&'a str>,
    category_id: u64,
    width: u64,
    height: u64,
    ann_id: u64,
    data_source: &'static str,
}

/// Reads both and writes `out`: in `train` a record for each referent with all its expressions, in
/// the other splits a record for each expression (quirk 57). Sentences without a word are left out: a
/// file with a record that has no others could not be read.
pub fn convert_refer(request: &ReferRequest) -> Result<ReferReport, ConvertError> {
    request.output.check(request.out)?;
    let read = |path: &Path, source| ConvertError::Read { path: path.into(), source };
    let content = |path: &Path, problem: String| ConvertError::Content { path: path.into(), problem };
    let bytes = std::fs::read(request.refs).map_err(|source| read(request.refs, source))?;
    let refs = refs::read(&bytes).map_err(|problem| content(request.refs, problem))?;
    drop(bytes);
    let wanted: HashSet<u64> = refs.iter().map(|r| r.ann_id).collect();
    let file = std::fs::File::open(request.instances).map_err(|source| read(request.instances, source))?;
    let (images, instances) =
        coco::read(file, &wanted).map_err(|error| content(request.instances, error.to_string()))?;

    let mut names: Vec<&str> =
        ORDER.into_iter().filter(|name| refs.iter().any(|r| r.split == *name)).collect();
    for r in &refs {
        if !names.contains(&r.split.as_str()) {
            names.push(&r.split);
        }
    }
    let records = |r| records(r, &images, &instances).map_err(|problem| content(request.instances, problem));
    let failed = |source| ConvertError::Write { path: request.out.into(), source };
    let mut splits = Vec::new();
    request.output.write(request.out, |writer| {
        for (i, &name) in names.iter().enumerate() {
            let key = serde_json::to_string(name).expect("text");
            write!(writer, "{}{key}: [", if i == 0 { "{" } else { ",\n" }).map_err(failed)?;
            let of_split = || refs.iter().filter(|r| r.split == name);
            let mut first = true;
            for r in of_split() {
                for record in records(r)? {
                    writeln!(writer, "{}", if first { "" } else { "," }).map_err(failed)?;
                    serde_json::to_writer(&mut *writer, &record).map_err(|error| failed(error.into()))?;
                    first = false;
                }
            }
            write!(writer, "\n]").map_err(failed)?;
            splits.push((name.to_owned(), Counts::of(of_split())));
        }
        writeln!(writer, "}}").map_err(failed)
    })?;
    let known = splits.iter().filter_map(|(name, counts)| {
        Some((name.clone(), *counts, Counts::published(request.dataset, name)?))
    });
    let (mut differing, mut agreeing) = (Vec::new(), Vec::new());
    for (name, counts, published) in known {
        if counts == published { agreeing.push(name) } else { differing.push((name, published)) }
    }
    let wordless = refs.iter().map(|r| r.wordless).sum();
    Ok(ReferReport { out: request.out.into(), splits, wordless, differing, agreeing })
}

fn records<'a>(
    r: &'a Ref,
    images: &HashMap<u64, Image>,
    instances: &'a HashMap<u64, Instance>,
) -> Result<Vec<Record<'a>>, String> {
    let Some(instance) = instances.get(&r.ann_id) else {
        return Err(format!(
            "no annotation {}, which referent {} means; it is of another set",
            r.ann_id, r.ref_id
        ));
    };
    let image = images.get(&r.image_id).ok_or_else(|| {
        format!("no image {}, which referent {} means; it is of another set", r.image_id, r.ref_id)
    })?;
    if instance.image_id != r.image_id {
        let (there, here) = (instance.image_id, r.image_id);
        return Err(format!("annotation {} is of image {there}, referent {} of {here}", r.ann_id, r.ref_id));
    }
    let record = |expressions: &'a [String]| Record {
        image_id: r.image_id,
        bbox: &instance.bbox,
        mask: &instance.segmentation,
        expressions: expressions.iter().map(String::as_str).collect(),
        category_id: instance.category_id,
        width: image.width,
        height: image.height,
        ann_id: r.ann_id,
        data_source: "coco",
    };
    // Without a sentence there is no record.
    let together = if r.split == TRAIN { r.sentences.len().max(1) } else { 1 };
    Ok(r.sentences.chunks(together).map(record).collect())
}

impl fmt::Display for ReferReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["split", "expressions", "referents", "images"]);
        for (name, Counts { expressions, referents, images }) in &self.splits {
            table.row([name.clone(), expressions.to_string(), referents.to_string(), images.to_string()]);
        }
        write!(f, "{table}")?;
        if self.wordless > 0 {
            let count = self.wordless;
            write!(
                f,
                "\nWARNING: sentences without a word, counted above but left out of the file: {count}"
            )?;
        }
        if !self.agreeing.is_empty() {
            write!(f, "\nas published: {}", self.agreeing.join(", "))?;
        }
        for (name, Counts { expressions, referents, images }) in &self.differing {
            write!(
                f,
                "\nWARNING: {name} is published with {expressions} expressions, {referents} referents, {images} images: \
                 this file is another, or not whole"
            )?;
        }
        Ok(())
    }
}
