//! What comes of a step: the content of `done.json`.

use serde::{Deserialize, Serialize};

use crate::report::Scores;

/// A finished step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// That it took, in all sessions for a training, in the last one for others.
    pub seconds: f64,
    /// [`CODE`](super::CODE) of the program that made it; none of old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Trained(Trained),
    Drawn { records: usize, of: usize },
    Labelled { referents: usize },
    Picked(LabelQuality),
    Evaluated { splits: Vec<SplitScores> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// Steps of the optimizer.
    pub steps: usize,
    /// Steps, and the score on `val` then: mIoU, box accuracy for REC; in percent, of the averaged
    /// weights if there are any.
    pub curve: Vec<(usize, f64)>,
}

/// What was picked. Shares of those kept whose true IoU is above 0.5 and 0.9, and mean true IoUs, are in
/// percent, over those that have a true mask.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelQuality {
    /// Records with masks of their own.
    pub labelled: usize,
    /// Records without.
    pub unlabelled: usize,
    pub kept: usize,
    pub iou: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub iou_of_rejected: Option<f64>,
}

/// Scores of one split in the standard protocol, and the mIoU of the three marks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitScores {
    pub split: String,
    pub expressions: usize,
    #[serde(flatten)]
    pub scores: Scores,
    pub blind: Option<f64>,
    pub permuted: Option<f64>,
    pub ceiling: Option<f64>,
}

impl Trained {
    /// What the last fifth of the steps brought on `val`: the last score less the one at four fifths.
    pub fn late_gain(&self) -> Option<f64> {
        let (_, last) = self.curve.last()?;
        let before = self.curve.iter().rev().find(|(step, _)| 5 * step <= 4 * self.steps)?;
        Some(last - before.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_late_gain_is_of_the_last_fifth() {
        let curve = vec![(100, 10.0), (200, 30.0), (400, 50.0), (450, 60.0), (500, 53.0)];
        assert_eq!(Trained { steps: 500, curve }.late_gain(), Some(3.0));
        assert_eq!(Trained { steps: 500, curve: vec![(500, 1.0)] }.late_gain(), None);
    }

    #[test]
    fn outcomes_come_back() {
        let scores = Scores { miou: Some(12.5), ..Scores::default() };
        let split = SplitScores {
            split: "val".into(),
            expressions: 3,
            scores,
            blind: None,
            permuted: Some(1.0),
            ceiling: None,
        };
        for outcome in [
            Outcome::Evaluated { splits: vec![split] },
            Outcome::Drawn { records: 1, of: 2 },
            Outcome::Trained(Trained { steps: 1, curve: vec![(1, 0.5)] }),
        ] {
            let done = Done { seconds: 1.5, code: Some("ab".into()), outcome };
            let text = serde_json::to_string(&done).expect("plain data");
            assert_eq!(serde_json::from_str::<Done>(&text).expect(&text), done);
        }
    }
}
