//! How good labels are, by the true masks of their referents: for experiments, where those are known.

use rayon::prelude::*;
use serde::Serialize;

use super::material::Material;
use super::{Calibration, Candidate, Predictions, PseudoError};
use crate::data::Annotations;

/// What says which labels are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The paper's; the smallest is best.
    ProjectionTerm,
    Score,
    /// With the other candidates.
    Agreement,
    /// [`Calibration`]'s.
    ExpectedIou,
    /// The best order that there could be, with the best of the candidates.
    TrueIou,
}

/// The label of one referent.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ranked {
    referent: usize,
    /// By which it is ranked; higher is better.
    sign: f64,
    /// 0 to 1.
    true_iou: f64,
}

/// A label for each referent that is not in the sample and has a true mask, best first; of several
/// candidates the best one in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    pub order: Order,
    labels: Vec<Ranked>,
    /// Sums of the first 0, 1, 2 … true IoUs.
    sums: Vec<f64>,
}

/// What some labels are worth, in percent: mean true IoU, share of them above 0.5 and above 0.9.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Worth {
    pub labels: usize,
    pub iou: f64,
    pub p50: f64,
    pub p90: f64,
}

/// Two rankings of which equally many labels are kept; IoUs in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Contest {
    /// Projection terms below it are kept of the paper's labels.
    pub threshold: f64,
    pub paper: Worth,
    /// The best equally many.
    pub ours: Worth,
    /// Mean of our labels' true IoU less the paper's, referent by referent, where the paper's is kept.
    pub same_referents: f64,
    /// Share of those where ours is better.
    pub better: f64,
}

impl Order {
    pub const ALL: [Self; 5] =
        [Self::ProjectionTerm, Self::Score, Self::Agreement, Self::ExpectedIou, Self::TrueIou];

    pub fn name(self) -> &'static str {
        match self {
            Self::ProjectionTerm => "projection term",
            Self::Score => "score",
            Self::Agreement => "agreement",
            Self::ExpectedIou => "expected IoU",
            Self::TrueIou => "the best order there could be",
        }
    }

    /// The ranking in this order.
    pub fn of(self, rankings: &[Ranking]) -> Option<&Ranking> {
        rankings.iter().find(|ranking| ranking.order == self)
    }

    /// The ranking that labels are picked by: the expected IoU, or the score where that can't be learnt.
    pub fn of_pick(rankings: &[Ranking]) -> Option<&Ranking> {
        Self::ExpectedIou.of(rankings).or_else(|| Self::Score.of(rankings))
    }

    /// Of a candidate; higher is better, none if it can't be ranked so.
    fn sign(self, candidate: &Candidate, true_iou: f64, calibration: Option<&Calibration>) -> Option<f64> {
        match self {
            Self::ProjectionTerm => Some(-candidate.projection_term.map_or(f64::INFINITY, f64::from)),
            // Nothing is said with great certainty.
            Self::Score if candidate.projection_term.is_none() => Some(f64::NEG_INFINITY),
            Self::Score => Some(candidate.score.map_or(f64::NEG_INFINITY, f64::from)),
            Self::Agreement => candidate.agreement.map(f64::from),
            Self::ExpectedIou => calibration.map(|calibration| calibration.expected(candidate)),
            Self::TrueIou => Some(true_iou),
        }
    }
}

/// Ranks labels by all that can be said about them: by the agreement only where there are several
/// candidates, by the expected IoU only where the sample is large enough to learn it.
pub fn rank(
    all: &Annotations,
    labelled: &Annotations,
    predictions: &Predictions,
) -> Result<Vec<Ranking>, PseudoError> {
    let material = Material::new(all, labelled, predictions)?;
    let calibration = match material.calibrate() {
        Ok(calibration) => Some(calibration),
        Err(PseudoError::TooFew { .. }) => None,
        Err(error) => return Err(error),
    };
    let true_ious = |&referent: &usize| {
        let candidates = &predictions.referents[referent].candidates;
        let iou = |candidate: &Candidate| material.true_iou(referent, Some(&candidate.mask)).transpose();
        let ious: Vec<f64> = candidates.iter().filter_map(iou).collect::<Result<_, _>>()?;
        Ok((referent, ious))
    };
    let known: Vec<(usize, Vec<f64>)> =
        material.unlabelled.par_iter().map(true_ious).collect::<Result<_, PseudoError>>()?;
    let label = |order: Order, referent: usize, ious: &[f64]| {
        let candidates = &predictions.referents[referent].candidates;
        let ranked = |(candidate, &true_iou): (&Candidate, &f64)| {
            let sign = order.sign(candidate, true_iou, calibration.as_ref())?;
            Some(Ranked { referent, sign, true_iou })
        };
        let better = |best: Ranked, next: Ranked| if next.sign > best.sign { next } else { best };
        candidates.iter().zip(ious).filter_map(ranked).reduce(better)
    };
    let ranking = |order: Order| {
        let labels: Vec<Ranked> =
            known.iter().filter_map(|(referent, ious)| label(order, *referent, ious)).collect();
        Ranking::new(order, labels)
    };
    Ok(Order::ALL.into_iter().map(ranking).filter(|ranking| !ranking.is_empty()).collect())
}

impl Ranking {
    fn new(order: Order, mut labels: Vec<Ranked>) -> Self {
        labels.sort_by(|a, b| b.sign.total_cmp(&a.sign));
        let mut sums = vec![0.0];
        sums.extend(labels.iter().scan(0.0, |sum, label| {
            *sum += label.true_iou;
            Some(*sum)
        }));
        Self { order, labels, sums }
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The best `count`, at least one and at most all.
    pub fn best(&self, count: usize) -> Worth {
        let count = count.clamp(1, self.len().max(1)).min(self.len());
        let above = |limit: f64| {
            let hits = self.labels[..count].iter().filter(|label| label.true_iou > limit).count();
            100.0 * hits as f64 / count as f64
        };
        Worth { labels: count, iou: self.mean(count), p50: above(0.5), p90: above(0.9) }
    }

    /// Mean true IoU of the best `count`, in percent.
    fn mean(&self, count: usize) -> f64 {
        100.0 * self.sums[count] / count as f64
    }

    /// Number of labels whose projection term is below the threshold.
    fn below(&self, threshold: f64) -> usize {
        self.labels.partition_point(|label| -label.sign < threshold)
    }

    /// Fewer labels say more about single labels than about an order.
    fn least(&self) -> usize {
        self.len().div_ceil(100)
    }

    /// The threshold of the projection term whose labels have the highest mean true IoU, among those
    /// that keep a hundredth of all or more.
    pub fn best_threshold(&self) -> Option<f64> {
        let ends = self.labels.windows(2).enumerate().map(|(i, pair)| (i + 1, pair[0].sign, pair[1].sign));
        let thresholds = ends
            .filter(|&(count, last, next)| count >= self.least() && next < last)
            .map(|(count, _, next)| (self.mean(count), -next));
        thresholds.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, threshold)| threshold)
    }

    /// These labels beside `paper`'s, ranked by projection term, of the same referents, where as many
    /// are kept as the threshold keeps of those; nothing if that is none.
    pub fn against(&self, paper: &Self, threshold: f64) -> Option<Contest> {
        let count = paper.below(threshold);
        if count == 0 {
            return None;
        }
        let mut own: Vec<&Ranked> = self.labels.iter().collect();
        own.sort_by_key(|label| label.referent);
        let pairs = paper.labels[..count].iter().filter_map(|theirs| {
            let place = own.binary_search_by_key(&theirs.referent, |label| label.referent).ok()?;
            Some(own[place].true_iou - theirs.true_iou)
        });
        let differences: Vec<f64> = pairs.collect();
        let percent = |sum: f64| 100.0 * sum / differences.len() as f64;
        Some(Contest {
            threshold,
            paper: paper.best(count),
            ours: self.best(count),
            same_referents: percent(differences.iter().sum()),
            better: percent(differences.iter().filter(|&&difference| difference > 0.0).count() as f64),
        })
    }

    /// By how much these labels are better than the `paper`'s, in points of mean true IoU, at the
    /// number kept where it is least; a hundredth of all at the least.
    pub fn least_lead(&self, paper: &Self) -> f64 {
        let counts = self.least().max(1)..=self.len().min(paper.len());
        counts.map(|count| self.mean(count) - paper.mean(count)).fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(signs_and_ious: &[(f64, f64)]) -> Ranking {
        let labels = signs_and_ious.iter().enumerate();
        let label = |(referent, &(sign, true_iou))| Ranked { referent, sign, true_iou };
        Ranking::new(Order::ProjectionTerm, labels.map(label).collect())
    }

    #[test]
    fn labels_are_kept_from_the_best_one_on() {
        let paper = ranking(&[(-0.3, 0.2), (-0.05, 0.6), (-0.1, 0.95), (f64::NEG_INFINITY, 0.0)]);
        let worth = |labels, iou, p50, p90| Worth { labels, iou, p50, p90 };
        assert_eq!(paper.best(1), worth(1, 60.0, 100.0, 0.0));
        assert_eq!(paper.best(2).p90, 50.0);
        assert_eq!(paper.best(9).labels, 4);
        assert_eq!(paper.best(9).p50, 50.0);
        // Below, as the judge has it: 0.1 itself is not kept.
        assert_eq!([0.05, 0.1, 0.11, 2.0].map(|threshold| paper.below(threshold)), [0, 1, 2, 3]);
        assert_eq!(paper.best_threshold(), Some(0.3));

        let ours = ranking(&[(0.5, 0.5), (0.9, 0.8), (0.4, 0.4), (0.8, 0.7)]);
        let contest = ours.against(&paper, 0.3).expect("two are kept");
        assert_eq!((contest.paper.labels, contest.ours.labels), (2, 2));
        assert!((contest.ours.iou - 75.0).abs() < 1e-9 && (contest.paper.iou - 77.5).abs() < 1e-9);
        // Referents 1 and 2: 0.8 - 0.6 and 0.4 - 0.95.
        assert!((contest.same_referents + 17.5).abs() < 1e-9, "{contest:?}");
        assert_eq!(contest.better, 50.0);
        assert_eq!(ours.against(&paper, 0.01), None);
        assert!((ours.least_lead(&paper) + 2.5).abs() < 1e-9);
    }
}
