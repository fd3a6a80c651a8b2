//! The whole evaluation of a split.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Device;

use crate::config::{Config, Transform};
use crate::data::{Dataset, ExpressionChoice, Plan, Preparation};
use crate::model::Network;
use crate::parallel::world;
use crate::report::{Log, Protocol, Scores, Weights, save_picture};

use super::answers::{Judged, Questions, answer};
use super::look::to_look_at;
use super::metrics::{Outcome, reference_scores, standard_scores};
use super::{
    EvalError, Look, Mark, MarkScores, PredictionWriter, SplitReport, Truth, WeightScores, blind, ceiling,
    draw_answer,
};

/// What an evaluation does besides scoring.
pub struct EvalOptions<'a> {
    /// Expressions in a batch.
    pub batch_size: usize,
    /// Threads that prepare images; 0 means as many as compute, at most 16.
    pub workers: usize,
    /// About this many records, as whole images that are evenly spread over the split (what is
    /// permuted or blind needs all that is asked about an image); 0 means all.
    pub limit: usize,
    /// Also find the three marks; one of them costs another pass.
    pub marks: bool,
    /// Write down each answer of the last weights.
    pub predictions: Option<&'a mut PredictionWriter>,
    /// Draw answers of the last weights.
    pub drawings: Option<Drawings>,
    /// Has the last word: its answers, about close-ups of what the networks find, are scored.
    pub second: Option<&'a Look<'a>>,
    /// Asked after every answer; true ends the evaluation with [`EvalError::Stopped`].
    pub stop: Option<&'a dyn Fn() -> bool>,
}

/// Pictures `<split>-<referent>-<expression>.png` of answers beside their ground truth.
#[derive(Clone, Debug)]
pub struct Drawings {
    pub folder: PathBuf,
    /// At most this many, evenly spread; 0 means all.
    pub count: usize,
}

impl Default for EvalOptions<'_> {
    fn default() -> Self {
        Self {
            batch_size: 32,
            workers: 0,
            limit: 0,
            marks: true,
            predictions: None,
            drawings: None,
            second: None,
            stop: None,
        }
    }
}

/// Evaluates networks of the same configuration that differ in their weights (raw, averaged) on all
/// expressions of a split, in both protocols. Of several processes the root has the report; the others
/// help to answer and have an empty one. The dataset must number words as the networks do
/// ([`Dataset::with_vocabulary`]). With a second look the networks must look at whole images.
pub fn evaluate(
    networks: &[(Weights, &Network)],
    dataset: &Arc<Dataset>,
    config: &Config,
    device: &Device,
    options: EvalOptions<'_>,
    log: &Log,
) -> Result<SplitReport, EvalError> {
    let EvalOptions { batch_size, workers, limit, marks, mut predictions, drawings, second, stop } = options;
    let split = dataset.split_name().to_owned();
    let referents = spread(&by_image(dataset), limit);
    if referents.is_empty() {
        return Err(EvalError::Empty { split });
    }
    let preparation = Preparation::evaluation(config);
    if second.is_some() && preparation.transform == Transform::CloseUp {
        return Err(EvalError::NeedsBox);
    }
    let asked = referents.iter().copied();
    let plan = Plan::evaluation(dataset, asked, ExpressionChoice::All, batch_size, &preparation);
    let second = second.map(|look| Second::new(look, dataset)).transpose()?;
    let session = Session { dataset, config, preparation, second, device, workers, stop, log };
    let mut report = SplitReport { split, second_look: session.second.is_some(), ..SplitReport::default() };
    for (place, &(weights, network)) in networks.iter().enumerate() {
        let mut extras = (place + 1 == networks.len()).then(|| Extras {
            dataset,
            preparation: &session.preparation,
            weights,
            predictions: predictions.as_deref_mut(),
            drawings: drawings.as_ref(),
            rows: plan.rows(),
            seen: 0,
        });
        let outcomes = session.ask(network, plan.clone(), weights.to_string(), |judged| {
            extras.as_mut().map_or(Ok(()), |extras| extras.take(judged))
        })?;
        if !world().is_root() {
            continue;
        }
        report.results.extend(session.both(&outcomes).map(|(protocol, scores)| WeightScores {
            split: report.split.clone(),
            weights,
            protocol,
            referents: referents.len(),
            expressions: match protocol {
                Protocol::Standard => outcomes.len(),
                Protocol::Reference => referents.len(),
            },
            scores,
        }));
    }
    if marks {
        report.marks = session.marks(networks.last().copied(), plan, &referents)?;
    }
    Ok(report)
}

/// What the passes over a split share.
struct Session<'a> {
    dataset: &'a Arc<Dataset>,
    config: &'a Config,
    preparation: Preparation,
    second: Option<Second<'a>>,
    device: &'a Device,
    workers: usize,
    stop: Option<&'a dyn Fn() -> bool>,
    log: &'a Log,
}

/// A second look, and the questions in its own words.
struct Second<'a> {
    look: &'a Look<'a>,
    dataset: Arc<Dataset>,
}

impl<'a> Second<'a> {
    fn new(look: &'a Look<'a>, dataset: &Dataset) -> Result<Self, EvalError> {
        let dataset = dataset.split(dataset.split_name())?.with_vocabulary(look.vocabulary.clone());
        Ok(Self { look, dataset: Arc::new(dataset.with_max_words(look.max_words)) })
    }
}

impl Session<'_> {
    /// Asks `network`, and then for the last word whoever has it; `each` sees every answer.
    fn ask(
        &self,
        network: &Network,
        plan: Plan,
        label: String,
        each: impl FnMut(&Judged) -> Result<(), EvalError>,
    ) -> Result<Vec<Outcome>, EvalError> {
        let Some(Second { look, dataset }) = &self.second else {
            return self.pass(network, (self.dataset, &self.preparation), plan, label, each);
        };
        let mut boxes = Vec::with_capacity(plan.rows());
        let first = (self.dataset, &self.preparation);
        self.pass(network, first, plan.clone(), format!("{label}, first look"), |judged| {
            boxes.push(to_look_at(&judged.shape, &judged.place));
            Ok(())
        })?;
        // Only the root has answers.
        boxes.resize(plan.rows(), [0.0; 4]);
        world().sum_f64(boxes.as_flattened_mut());
        let plan = plan.looking_at(&boxes);
        self.pass(look.network, (dataset, &look.preparation), plan, format!("{label}, second look"), each)
    }

    /// One pass over the questions of a plan, put in a dataset's words and with images prepared as given.
    fn pass(
        &self,
        network: &Network,
        (dataset, preparation): (&Arc<Dataset>, &Preparation),
        plan: Plan,
        label: String,
        mut each: impl FnMut(&Judged) -> Result<(), EvalError>,
    ) -> Result<Vec<Outcome>, EvalError> {
        let label = format!("{} {label}", dataset.split_name());
        let progress = self.log.progress(plan.rows(), &label, "expressions");
        let mut outcomes = Vec::with_capacity(plan.rows());
        let questions = Questions {
            dataset,
            plan,
            preparation: preparation.clone(),
            device: self.device,
            workers: self.workers,
            within: None,
        };
        let answered = answer(network, questions, &self.preparation, &progress, |judged| {
            if self.stop.is_some_and(|stop| stop()) {
                return Err(EvalError::Stopped);
            }
            each(&judged)?;
            outcomes.push(judged.outcome);
            Ok(())
        });
        progress.finish();
        answered.map(|()| outcomes)
    }

    fn both(&self, outcomes: &[Outcome]) -> [(Protocol, Scores); 2] {
        [
            (Protocol::Standard, standard_scores(outcomes)),
            (Protocol::Reference, reference_scores(outcomes, self.config.train.batch_size)),
        ]
    }

    fn marks(
        &self,
        network: Option<(Weights, &Network)>,
        mut plan: Plan,
        referents: &[usize],
    ) -> Result<Vec<MarkScores>, EvalError> {
        let mark = |mark, weights, (protocol, scores)| {
            let split = self.dataset.split_name().to_owned();
            MarkScores { split, mark, weights, protocol, scores }
        };
        plan.swap_expressions(self.dataset, self.config.train.seed);
        let swapped = network
            .map(|(weights, network)| {
                Ok::<_, EvalError>((weights, self.ask(network, plan, "permuted".to_owned(), |_| Ok(()))?))
            })
            .transpose()?;
        if !world().is_root() {
            return Ok(Vec::new());
        }
        let best = blind(self.dataset, referents, &self.preparation)?;
        let mut marks = vec![mark(Mark::Blind, None, (Protocol::Standard, best))];
        if let Some((weights, outcomes)) = swapped {
            let scores = (Protocol::Standard, standard_scores(&outcomes));
            marks.push(mark(Mark::Permuted, Some(weights), scores));
        }
        if let Some(Second { look, dataset }) = &self.second {
            // In close-ups of the true boxes, which are no frame of the reference's protocol.
            let perfect = ceiling(look.network.config(), dataset, referents, &look.preparation)?;
            marks.push(mark(Mark::Ceiling, None, (Protocol::Standard, standard_scores(&perfect))));
        } else {
            let perfect = ceiling(&self.config.model, self.dataset, referents, &self.preparation)?;
            marks.extend(self.both(&perfect).map(|scores| mark(Mark::Ceiling, None, scores)));
        }
        Ok(marks)
    }
}

/// The referents of each image.
fn by_image(dataset: &Dataset) -> Vec<Vec<usize>> {
    let mut images: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for referent in 0..dataset.len() {
        images.entry(dataset.image_of(referent)).or_default().push(referent);
    }
    images.into_values().collect()
}

/// The referents of evenly spread images, about `limit` of them; all for 0.
fn spread(images: &[Vec<usize>], limit: usize) -> Vec<usize> {
    let count: usize = images.iter().map(Vec::len).sum();
    let kept =
        if limit == 0 || limit >= count { images.len() } else { (images.len() * limit).div_ceil(count) };
    let mut referents: Vec<usize> =
        (0..kept).flat_map(|i| images[i * images.len() / kept].iter().copied()).collect();
    referents.sort_unstable();
    referents
}

/// What is written and drawn while answers come in.
struct Extras<'a> {
    dataset: &'a Dataset,
    preparation: &'a Preparation,
    weights: Weights,
    predictions: Option<&'a mut PredictionWriter>,
    drawings: Option<&'a Drawings>,
    /// Answers to come in all.
    rows: usize,
    seen: usize,
}

impl Extras<'_> {
    fn take(&mut self, judged: &Judged) -> Result<(), EvalError> {
        let position = self.seen;
        self.seen += 1;
        if let Some(writer) = &mut self.predictions {
            writer.write(self.dataset, self.weights, judged)?;
        }
        let Some(Drawings { folder, count }) = self.drawings else { return Ok(()) };
        // Position i is drawn when a multiple of rows / count falls into i .. i + 1.
        let wanted = if *count == 0 { self.rows } else { (*count).min(self.rows) };
        let step = |position: usize| (position * wanted).div_ceil(self.rows.max(1));
        if step(position) == step(position + 1) {
            return Ok(());
        }
        let truth = Truth::new(self.dataset, judged.referent, self.preparation)?;
        let picture = draw_answer(self.dataset, &truth, judged)?;
        let name = format!("{}-{:05}-{}.png", self.dataset.split_name(), judged.referent, judged.expression);
        Ok(save_picture(&picture, &folder.join(name))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_spreads_over_the_split_by_whole_images() {
        let images = [vec![0, 3], vec![1], vec![2, 5, 6], vec![4, 7]];
        assert_eq!(spread(&images, 4), [0, 2, 3, 5, 6]);
        assert_eq!(spread(&images, 1), [0, 3]);
        assert_eq!(spread(&images, 0), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(spread(&images, 99), spread(&images, 0));
        assert!(spread(&[], 5).is_empty());
    }
}
