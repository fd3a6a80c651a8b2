//! Which expressions a pass over the data visits, in which batches: a pure function of the data,
//! the seed and the epoch.

use std::collections::BTreeMap;

use super::Dataset;
use super::sample::Preparation;
use crate::config::Transform;
use crate::random::Stream;

/// One row to prepare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    pub referent: usize,
    /// Whose expression is asked; `referent` unless expressions were swapped.
    pub asked: usize,
    /// Index among the expressions of `asked`.
    pub expression: usize,
    /// Position in the plan, which the entry's random numbers depend on.
    pub position: u64,
    /// What a close-up shows in place of the referent's own box: x, y, width, height in the original image.
    pub around: Option<[f64; 4]>,
}

impl Entry {
    /// About a referent's own expression and box.
    fn plain(referent: usize, expression: usize, position: u64) -> Self {
        Self { referent, asked: referent, expression, position, around: None }
    }
}

/// Which expressions of a referent are taken. Those without a word never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpressionChoice {
    /// One at random at each visit (the reference, quirk 36).
    Random,
    /// The first.
    First,
    /// Every one, each its own row.
    All,
    /// This one; referents with fewer have no row.
    Index(usize),
}

impl ExpressionChoice {
    fn of(self, dataset: &Dataset, referent: usize, stream: &mut Stream) -> Vec<usize> {
        let askable: Vec<usize> = dataset.referent(referent).askable().collect();
        match self {
            Self::Random => vec![*stream.pick(&askable)],
            Self::First => vec![askable[0]],
            Self::All => askable,
            Self::Index(index) => askable.into_iter().filter(|&i| i == index).collect(),
        }
    }
}

/// How training visits a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    pub seed: u64,
    /// From 0.
    pub epoch: u64,
    /// Rows of a batch.
    pub batch_size: usize,
    /// Referents of an image that come together, so that they share its features; 1 is the
    /// reference.
    pub referents_per_image: usize,
    /// Batches of an epoch, pass after pass over the data; 0 is one pass.
    pub batches: usize,
}

/// The batches of one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    batches: Vec<Vec<Entry>>,
    stream: Stream,
    shared: Shared,
}

/// Which neighbours of a plan share a transform and the features of what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shared {
    Nothing,
    /// Those of one image.
    Image,
    /// Those of one referent: each has a close-up of its own.
    Referent,
}

impl Shared {
    fn of(transform: Transform) -> Self {
        match transform {
            Transform::CloseUp => Self::Referent,
            Transform::Resize | Transform::Jitter => Self::Image,
        }
    }
}

impl Plan {
    /// An epoch of training, each visit with one expression at random: a pass over the data, or with
    /// `visit.batches` the next so many batches of pass after pass, each in its own order.
    pub fn training(dataset: &Dataset, visit: &Visit) -> Self {
        let mut batches = Vec::new();
        if visit.batches == 0 {
            batches = pass(dataset, visit, visit.epoch);
        } else if !dataset.is_empty() {
            let length = batches_of_pass(dataset, visit.batch_size);
            let mut next = visit.epoch as usize * visit.batches;
            while batches.len() < visit.batches {
                let wanted = visit.batches - batches.len();
                let rest = pass(dataset, visit, (next / length) as u64).into_iter().skip(next % length);
                batches.extend(rest.take(wanted));
                next = (next / length + 1) * length;
            }
        }
        let stream = Stream::new(visit.seed, "data").child(visit.epoch).child(2);
        let shared = if visit.referents_per_image > 1 { Shared::Image } else { Shared::Nothing };
        Self::of_batches(batches, stream, shared)
    }

    /// One pass without chance over some referents (all: `0..dataset.len()`), for plainly resized
    /// images. A batch has at most `batch_size` rows; expressions about one image share its
    /// features, in one batch unless there are more than `batch_size`. Whoever asks pads all batches alike
    /// ([`Preparation::padded_side`]), so that no answer depends on what else is in the batch.
    pub fn evaluation(
        dataset: &Dataset,
        referents: impl IntoIterator<Item = usize>,
        choice: ExpressionChoice,
        batch_size: usize,
        preparation: &Preparation,
    ) -> Self {
        let batches = by_image(dataset, referents, choice, batch_size, preparation);
        Self::without_chance(batches, preparation)
    }

    /// [`Plan::evaluation`] of the whole split in the order of the file, as far as batches allow: a few
    /// images after the other, each once with all that is asked about it. No batch depends on what
    /// was done before, so that the plan can be taken up anywhere.
    pub fn labelling(
        dataset: &Dataset,
        choice: ExpressionChoice,
        batch_size: usize,
        preparation: &Preparation,
    ) -> Self {
        let mut stretches: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for referent in 0..dataset.len() {
            stretches.entry(dataset.image_of(referent) / STRETCH).or_default().push(referent);
        }
        let batches = |referents| by_image(dataset, referents, choice, batch_size, preparation);
        Self::without_chance(stretches.into_values().flat_map(batches).collect(), preparation)
    }

    fn without_chance(batches: Vec<Vec<Entry>>, preparation: &Preparation) -> Self {
        Self::of_batches(batches, Stream::new(0, "evaluation"), Shared::of(preparation.transform))
    }

    fn of_batches(mut batches: Vec<Vec<Entry>>, stream: Stream, shared: Shared) -> Self {
        let numbered = (0u64..).zip(batches.iter_mut().flatten());
        numbered.for_each(|(position, entry)| entry.position = position);
        Self { batches, stream, shared }
    }

    /// The share of one of `processes`: of each batch an equal, connected part. Entries keep their
    /// positions, and so their random numbers.
    pub fn share(&mut self, rank: usize, processes: usize) {
        for batch in &mut self.batches {
            let (from, to) = (batch.len() * rank / processes, batch.len() * (rank + 1) / processes);
            *batch = batch[from..to].to_vec();
        }
    }

    /// Leaves every `step`-th batch from `first` on.
    pub fn every(&mut self, first: usize, step: usize) {
        self.batches = std::mem::take(&mut self.batches).into_iter().skip(first).step_by(step).collect();
    }

    /// Leaves out the batches for which `wanted` is false.
    pub fn retain(&mut self, wanted: impl Fn(&[Entry]) -> bool) {
        self.batches.retain(|batch| wanted(batch));
    }

    /// Asks every referent for what was meant for another object of its image, where there is
    /// another: what is left of a score then was not won by understanding. Each object of an image
    /// asks the expressions of the next one in a random circle. Records with the same box and mask
    /// are one object: evaluation splits have a record for each expression (quirk 57).
    pub fn swap_expressions(&mut self, dataset: &Dataset, seed: u64) {
        let stream = Stream::new(seed, "swap");
        let mut images: BTreeMap<u32, Vec<Vec<usize>>> = BTreeMap::new();
        for entry in self.batches.iter().flatten() {
            let objects = images.entry(dataset.image_of(entry.referent)).or_default();
            let record = dataset.referent(entry.referent);
            let same = |object: &&mut Vec<usize>| {
                let other = dataset.referent(object[0]);
                (&other.bbox, &other.segmentation) == (&record.bbox, &record.segmentation)
            };
            match objects.iter_mut().find(same) {
                Some(records) if records.contains(&entry.referent) => {}
                Some(records) => records.push(entry.referent),
                None => objects.push(vec![entry.referent]),
            }
        }
        let mut next: BTreeMap<usize, usize> = BTreeMap::new();
        for (image, mut objects) in images {
            stream.child(u64::from(image)).shuffle(&mut objects);
            for (one, other) in objects.iter().zip(objects.iter().cycle().skip(1)) {
                next.extend(one.iter().enumerate().map(|(i, &record)| (record, other[i % other.len()])));
            }
        }
        for entry in self.batches.iter_mut().flatten() {
            entry.asked = next[&entry.referent];
            let askable: Vec<usize> = dataset.referent(entry.asked).askable().collect();
            entry.expression = askable[entry.expression % askable.len()];
        }
    }

    /// The same questions in the same order, each about a close-up of its own: around one of `boxes`
    /// ([`Entry::around`]), one for each row.
    pub fn looking_at(mut self, boxes: &[[f64; 4]]) -> Self {
        for (entry, &around) in self.batches.iter_mut().flatten().zip(boxes) {
            entry.around = Some(around);
        }
        Self { shared: Shared::Nothing, ..self }
    }

    /// Batches.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub fn batches(&self) -> &[Vec<Entry>] {
        &self.batches
    }

    /// All rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// The rows of a batch by what they share, in their order: an image, or a close-up of it.
    pub fn images<'a>(&'a self, dataset: &'a Dataset, batch: usize) -> impl Iterator<Item = &'a [Entry]> {
        let image = |entry: &Entry| dataset.image_of(entry.referent);
        self.batches[batch].chunk_by(move |a, b| match self.shared {
            Shared::Nothing => false,
            Shared::Image => image(a) == image(b),
            Shared::Referent => a.referent == b.referent,
        })
    }

    /// The random numbers of an entry's transform.
    pub fn stream(&self, entry: &Entry) -> Stream {
        self.stream.child(entry.position)
    }
}

/// Images that [`Plan::labelling`] takes together: enough to fill batches, few
/// enough that little is lost when it is killed.
const STRETCH: u32 = 128;

/// Batches of rows by image; what shares features stays together.
fn by_image(
    dataset: &Dataset,
    referents: impl IntoIterator<Item = usize>,
    choice: ExpressionChoice,
    batch_size: usize,
    preparation: &Preparation,
) -> Vec<Vec<Entry>> {
    let stream = Stream::new(0, "evaluation");
    let seen = |referent: usize| match Shared::of(preparation.transform) {
        Shared::Referent => referent as u32,
        Shared::Image | Shared::Nothing => dataset.image_of(referent),
    };
    let mut images: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    for referent in referents {
        let entries = images.entry(seen(referent)).or_default();
        for expression in choice.of(dataset, referent, &mut stream.child(referent as u64)) {
            entries.push(Entry::plain(referent, expression, 0));
        }
    }
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut batch: Vec<Entry> = Vec::new();
    for rows in images.values().flat_map(|rows| rows.chunks(batch_size)) {
        if batch.len() + rows.len() > batch_size {
            batches.push(std::mem::take(&mut batch));
        }
        batch.extend(rows);
    }
    batches.push(batch);
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// Wide images (width above height) and the others are never in one batch.
fn groups(dataset: &Dataset) -> [Vec<usize>; 2] {
    [false, true].map(|wide| {
        let is_in = |&i: &usize| (dataset.referent(i).width > dataset.referent(i).height) == wide;
        (0..dataset.len()).filter(is_in).collect()
    })
}

/// How many batches a pass has.
fn batches_of_pass(dataset: &Dataset, batch_size: usize) -> usize {
    groups(dataset).iter().map(|group| group.len().div_ceil(batch_size)).sum()
}

/// A pass over the data: each of the two groups is shuffled and filled up with random repeats, then
/// the batches are shuffled (quirk 38).
fn pass(dataset: &Dataset, visit: &Visit, number: u64) -> Vec<Vec<Entry>> {
    let stream = Stream::new(visit.seed, "data").child(number);
    let mut order = stream.child(0);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for group in groups(dataset) {
        let mut rows = together(dataset, &group, visit.referents_per_image, &mut order).concat();
        while rows.len() % visit.batch_size != 0 {
            rows.push(*order.pick(&group));
        }
        batches.extend(rows.chunks(visit.batch_size).map(<[usize]>::to_vec));
    }
    order.shuffle(&mut batches);
    let drawn = stream.child(1);
    let mut position = 0;
    let mut entry = |referent| {
        let expression = ExpressionChoice::Random.of(dataset, referent, &mut drawn.child(position))[0];
        let entry = Entry::plain(referent, expression, position);
        position += 1;
        entry
    };
    batches.into_iter().map(|batch| batch.into_iter().map(&mut entry).collect()).collect()
}

/// A shuffled group, in bundles of at most `size` referents of one image.
fn together(dataset: &Dataset, group: &[usize], size: usize, order: &mut Stream) -> Vec<Vec<usize>> {
    let mut images: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for &referent in group {
        images.entry(dataset.image_of(referent)).or_default().push(referent);
    }
    let mut bundles: Vec<Vec<usize>> = Vec::new();
    for mut referents in images.into_values() {
        order.shuffle(&mut referents);
        bundles.extend(referents.chunks(size).map(<[usize]>::to_vec));
    }
    order.shuffle(&mut bundles);
    bundles
}
