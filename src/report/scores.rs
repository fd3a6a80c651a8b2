//! The numbers an evaluation gives, and whose they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that stands for no value of this kind.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("found `{found}`, expected {expected}")]
pub struct UnknownName {
    found: String,
    expected: &'static str,
}

/// Which weights of a checkpoint were evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// As the optimizer left them.
    Raw,
    /// Their exponential moving average.
    Ema,
}

impl FromStr for Weights {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "raw" => Ok(Self::Raw),
            "ema" => Ok(Self::Ema),
            _ => Err(UnknownName { found: name.into(), expected: "raw or ema" }),
        }
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Raw => "raw",
            Self::Ema => "ema",
        })
    }
}

/// How predictions are compared with the ground truth; `crate::eval` has the definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// At the size of the original image, plain IoU, every expression.
    Standard,
    /// As the reference implementation does (quirks 23 to 26).
    Reference,
}

impl FromStr for Protocol {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "standard" => Ok(Self::Standard),
            "reference" => Ok(Self::Reference),
            _ => Err(UnknownName { found: name.into(), expected: "standard or reference" }),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Standard => "standard",
            Self::Reference => "reference",
        })
    }
}

/// Shares of predictions whose mask IoU exceeds a threshold, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    #[serde(rename = "0.5")]
    pub p50: Option<f64>,
    #[serde(rename = "0.6")]
    pub p60: Option<f64>,
    #[serde(rename = "0.7")]
    pub p70: Option<f64>,
    #[serde(rename = "0.8")]
    pub p80: Option<f64>,
    #[serde(rename = "0.9")]
    pub p90: Option<f64>,
}

impl Precision {
    /// From the shares at 0.5, 0.6, 0.7, 0.8 and 0.9.
    pub fn from_shares([p50, p60, p70, p80, p90]: [Option<f64>; 5]) -> Self {
        Self { p50, p60, p70, p80, p90 }
    }

    /// At 0.5, 0.6, 0.7, 0.8 and 0.9.
    pub fn shares(&self) -> [Option<f64>; 5] {
        [self.p50, self.p60, self.p70, self.p80, self.p90]
    }
}

/// Scores of one split, in percent; `None` where the task gives no such value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean over samples of the IoU of the masks.
    pub miou: Option<f64>,
    /// Sum of intersections over sum of unions (overall or cumulative IoU).
    pub oiou: Option<f64>,
    pub precision: Precision,
    /// Share of boxes with an IoU over 0.5.
    pub box_acc: Option<f64>,
    /// Mean IoU of the boxes; printed, not part of the files.
    #[serde(skip)]
    pub box_miou: Option<f64>,
}
