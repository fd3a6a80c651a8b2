//! The three manners of speaking.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How referents are spoken of, after the three data sets of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// Looks, places and relations, short, as RefCOCO.
    Unc,
    /// Looks alone, as RefCOCO+.
    Plus,
    /// Longer phrases, half of them with a relation, as RefCOCOg.
    G,
}

impl Manner {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unc => "unc",
            Self::Plus => "plus",
            Self::G => "g",
        }
    }

    /// Chances of looks, of comparison, of place, of relation.
    pub(super) fn chances(self) -> [f64; 4] {
        match self {
            Self::Unc => [0.40, 0.05, 0.36, 0.19],
            Self::Plus => [0.88, 0.12, 0.0, 0.0],
            Self::G => [0.22, 0.03, 0.25, 0.50],
        }
    }

    /// How much less likely a phrase becomes with each of the looks that it tells.
    pub(super) fn brevity(self) -> f64 {
        match self {
            Self::Unc | Self::Plus => 0.4,
            Self::G => 0.8,
        }
    }
}
