use std::collections::HashSet;

use super::refs::Ref;

/// How much a split holds as REFER counts: sentences without a word are sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub expressions: usize,
    pub referents: usize,
    pub images: usize,
}

impl Counts {
    pub(super) fn of<'a>(refs: impl Iterator<Item = &'a Ref>) -> Self {
        let (mut counts, mut images) = (Self { expressions: 0, referents: 0, images: 0 }, HashSet::new());
        for r in refs {
            counts.expressions += r.sentences.len() + r.wordless;
            counts.referents += 1;
            images.insert(r.image_id);
        }
        Self { images: images.len(), ..counts }
    }

    /// What was published of a split.
    pub fn published(dataset: &str, split: &str) -> Option<Self> {
        let (expressions, referents, images) = match (dataset, split) {
            ("refcoco-unc", "val") => (10_834, 3_811, 1_500),
            ("refcoco-unc", "testA") => (5_657, 1_975, 750),
            ("refcoco-unc", "testB") => (5_095, 1_810, 750),
            ("refcocoplus-unc", "val") => (10_758, 3_805, 1_500),
            ("refcocoplus-unc", "testA") => (5_726, 1_975, 750),
            ("refcocoplus-unc", "testB") => (4_889, 1_798, 750),
            ("refcocog-umd", "val") => (4_896, 2_573, 1_300),
            ("refcocog-umd", "test") => (9_602, 5_023, 2_600),
            _ => return None,
        };
        Some(Self { expressions, referents, images })
    }
}
