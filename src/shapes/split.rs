//! The four splits: how many objects their images hold and which of them are referents.

use serde::{Deserialize, Serialize};

use super::attributes::Kind;
use super::object::Object;
use crate::random::Stream;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Split {
    #[serde(rename = "train")]
    Train,
    #[serde(rename = "val")]
    Val,
    #[serde(rename = "testA")]
    TestA,
    #[serde(rename = "testB")]
    TestB,
}

impl Split {
    pub const ALL: [Self; 4] = [Self::Train, Self::Val, Self::TestA, Self::TestB];
    /// The most images a split can have: identities of splits lie this far apart.
    pub const MOST_IMAGES: usize = 100_000;

    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::TestA => "testA",
            Self::TestB => "testB",
        }
    }

    /// Image `index` of this split: the same picture however many images the split has.
    pub(super) fn image_id(self, index: usize) -> usize {
        self as usize * Self::MOST_IMAGES + index
    }

    /// Most expressions a referent is given.
    pub(super) fn expressions(self) -> usize {
        if self == Self::Train { 3 } else { 1 }
    }

    /// Whether an object of this kind has records. As RefCOCO's testA has people and testB the
    /// rest, testA has round objects and testB angular ones.
    pub(super) fn refers_to(self, kind: Kind) -> bool {
        match self {
            Self::Train | Self::Val => true,
            Self::TestA => kind.is_round(),
            Self::TestB => !kind.is_round(),
        }
    }

    /// Training goes from one object to five; the others hold three to five.
    pub(super) fn draw_count(self, stream: &mut Stream) -> usize {
        match self {
            Self::Train => *stream.pick(&[1, 2, 2, 3, 3, 4, 4, 5]),
            Self::Val | Self::TestA | Self::TestB => 3 + stream.below(3),
        }
    }

    pub(super) fn draw_kind(self, stream: &mut Stream) -> Kind {
        let round = match self {
            Self::Train | Self::Val => 5.0 / 12.0,
            Self::TestA => 0.75,
            Self::TestB => 0.25,
        };
        if stream.chance(round) { *stream.pick(&Kind::ROUND) } else { *stream.pick(&Kind::ANGULAR) }
    }

    /// Images to be judged on hold a referent with a distractor of its own kind.
    pub(super) fn accepts(self, objects: &[Object]) -> bool {
        self == Self::Train
            || objects.iter().enumerate().any(|(i, object)| {
                self.refers_to(object.kind) && objects[..i].iter().any(|other| other.kind == object.kind)
            })
    }
}
