//! What a prediction is probably worth, learnt from the referents whose true masks are known.

use serde::{Deserialize, Serialize};

use super::Candidate;

/// What is seen of a prediction without its true mask: 1, the mean logarithm of the probabilities, the
/// projection term before any fit, the agreement with the other candidates.
const SIGNS: usize = 4;
/// Fewer referents teach nothing.
pub const LEAST_EXAMPLES: usize = 20;
/// Keeps a sign that never varies (the agreement of single candidates) out of the sum.
const RIDGE: f64 = 1e-6;

/// The IoU that is to be expected: the least-squares plane over the signs of a prediction, through the
/// labelled referents. The labeller has learnt from these, which makes it a little too sure of the
/// others; `docs/labels.md` says by how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Of the constant, the score, the projection term and the agreement.
    pub weights: [f64; SIGNS],
    /// Labelled referents it was learnt from.
    pub examples: usize,
    /// Their mean true IoU.
    pub true_iou: f64,
    /// Root of the mean squared difference of expected and true IoU.
    pub error: f64,
}

impl Calibration {
    /// From predictions and their true IoU; none from fewer than [`LEAST_EXAMPLES`].
    pub fn learn(examples: &[(&Candidate, f64)]) -> Option<Self> {
        if examples.len() < LEAST_EXAMPLES {
            return None;
        }
        let count = examples.len() as f64;
        let mut matrix = [[0.0; SIGNS]; SIGNS];
        let mut right = [0.0; SIGNS];
        for &(candidate, iou) in examples {
            let signs = signs(candidate);
            for i in 0..SIGNS {
                right[i] += signs[i] * iou / count;
                for j in 0..SIGNS {
                    matrix[i][j] += signs[i] * signs[j] / count;
                }
            }
        }
        (0..SIGNS).for_each(|i| matrix[i][i] += RIDGE);
        let mut calibration = Self {
            weights: solve(matrix, right),
            examples: examples.len(),
            true_iou: examples.iter().map(|(_, iou)| iou).sum::<f64>() / count,
            error: 0.0,
        };
        let squares = examples.iter().map(|(candidate, iou)| (calibration.expected(candidate) - iou).powi(2));
        calibration.error = (squares.sum::<f64>() / count).sqrt();
        Some(calibration)
    }

    /// The IoU to expect, 0 to 1; 0 for an empty mask.
    pub fn expected(&self, candidate: &Candidate) -> f64 {
        if candidate.projection_term.is_none() {
            return 0.0;
        }
        let sum: f64 = self.weights.iter().zip(signs(candidate)).map(|(weight, sign)| weight * sign).sum();
        sum.clamp(0.0, 1.0)
    }
}

fn signs(candidate: &Candidate) -> [f64; SIGNS] {
    let number = |value: Option<f32>, missing: f64| value.map_or(missing, f64::from);
    // Beyond 1 an outline is simply elsewhere.
    let term = number(candidate.projection_term, 1.0).min(1.0);
    [1.0, number(candidate.score, -10.0), term, number(candidate.agreement, 0.0)]
}

/// Gaussian elimination of a symmetric positive definite system.
fn solve(mut matrix: [[f64; SIGNS]; SIGNS], mut right: [f64; SIGNS]) -> [f64; SIGNS] {
    for pivot in 0..SIGNS {
        for row in pivot + 1..SIGNS {
            let above = matrix[pivot];
            let factor = matrix[row][pivot] / above[pivot];
            matrix[row].iter_mut().zip(above).for_each(|(value, above)| *value -= factor * above);
            right[row] -= factor * right[pivot];
        }
    }
    let mut solution = [0.0; SIGNS];
    for row in (0..SIGNS).rev() {
        let known: f64 = (row + 1..SIGNS).map(|column| matrix[row][column] * solution[column]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Rle;
    use crate::random::Stream;

    fn candidate(score: f32, term: f32, agreement: Option<f32>) -> Candidate {
        Candidate {
            expression: String::new(),
            tokens: Vec::new(),
            polygons: Vec::new(),
            mask: Rle::empty(1, 1).unwrap(),
            projection_term: Some(term),
            score: Some(score),
            agreement,
        }
    }

    #[test]
    fn a_plane_is_found_again() {
        let mut stream = Stream::new(1, "test");
        for with_agreement in [true, false] {
            let candidates: Vec<Candidate> = (0..LEAST_EXAMPLES)
                .map(|_| {
                    let agreement = with_agreement.then(|| stream.uniform() as f32);
                    candidate(-2.0 * stream.uniform() as f32, stream.uniform() as f32, agreement)
                })
                .collect();
            let iou = |c: &Candidate| {
                let agreement = f64::from(c.agreement.unwrap_or(0.0));
                0.7 + 0.1 * f64::from(c.score.unwrap()) - 0.2 * f64::from(c.projection_term.unwrap())
                    + 0.2 * agreement
            };
            let examples: Vec<(&Candidate, f64)> = candidates.iter().map(|c| (c, iou(c))).collect();
            let found = Calibration::learn(&examples).unwrap();
            assert!(found.error < 1e-3, "{found:?}");
            let new = candidate(-0.4, 0.3, with_agreement.then_some(0.5));
            assert!((found.expected(&new) - iou(&new)).abs() < 1e-3);
            assert_eq!(found.expected(&Candidate { projection_term: None, ..new }), 0.0);
            assert_eq!(Calibration::learn(&examples[1..]), None);
        }
    }
}
