//! One image, some expressions.

use candle_core::Device;
use image::RgbImage;
use serde::Serialize;

use crate::config::Transform;
use crate::data::{Batch, Preparation, Sample};
use crate::mask::Rle;
use crate::model::{Answer, Network, Strategy};
use crate::nn::Pass;
use crate::report::{Layer, Overlay};
use crate::text::Vocabulary;

use super::{EvalError, Place, Shape, draw};

/// What a network says about an expression, in pixels of the original image. As JSON it is the object
/// that `predict --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    pub expression: String,
    /// As said: the box, then the outline with its end token.
    pub tokens: Vec<u32>,
    /// Vertices in the order in which they were said; none for a network that says boxes.
    pub polygon: Vec<[f64; 2]>,
    /// x, y, width, height: as said, else around the polygon.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// `None` for a network that says boxes.
    pub mask: Option<Rle>,
    /// Words that the vocabulary lacks.
    #[serde(skip)]
    pub unknown_words: Vec<String>,
    /// Words at the end that are more than the network reads.
    #[serde(skip)]
    pub dropped_words: usize,
    /// The box was said, not derived.
    #[serde(skip)]
    box_said: bool,
}

/// Asks about one image. `preparation` is [`Preparation::evaluation`] of the checkpoint's
/// configuration, `max_words` its `data.max_words`. The image's features are computed once.
pub fn predict(
    network: &Network,
    vocabulary: &Vocabulary,
    preparation: &Preparation,
    max_words: usize,
    image: &RgbImage,
    expressions: &[&str],
    device: &Device,
) -> Result<Vec<Prediction>, EvalError> {
    if preparation.transform == Transform::CloseUp {
        return Err(EvalError::NeedsBox);
    }
    let encoded: Vec<_> = expressions.iter().map(|text| vocabulary.encode(text, max_words)).collect();
    if let Some(place) = encoded.iter().position(|encoded| encoded.words == 0) {
        return Err(EvalError::NoWords { expression: expressions[place].to_owned() });
    }
    let words = encoded.iter().map(|encoded| encoded.ids.clone()).collect();
    let mut batch = Batch::collate(vec![Sample::question(image.clone(), words, preparation)], max_words);
    batch.pad_to(preparation.padded_side(), preparation.padded_side());
    let memory = network.forward(&batch.inputs(device)?, &Pass::evaluation())?;
    let answers = network.generate(&memory, network.config().task, Strategy::Greedy, None)?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    let predictions = batch.rows.iter().zip(answers).zip(expressions.iter().zip(encoded));
    predictions
        .map(|((row, answer), (expression, encoded))| {
            let place = Place::of_row(row, batch.pad_hw[0]);
            let shape = Shape::of_answer(network.config(), &answer, &place);
            let wrong = |source| EvalError::ImageSize { height, width, source };
            Ok(Prediction {
                expression: (*expression).to_owned(),
                tokens: tokens(&answer),
                polygon: shape.original_outline(&place).unwrap_or_default(),
                bbox: shape.original_bbox(&place).map_or([0.0; 4], sides),
                mask: shape.original_mask(&place).transpose().map_err(wrong)?,
                unknown_words: encoded.unknown,
                dropped_words: encoded.dropped,
                box_said: shape.bbox.is_some(),
            })
        })
        .collect()
}

impl Prediction {
    /// The image with the mask, the vertices numbered in the order in which they were said, a box that
    /// was said, and the expression.
    pub fn draw(&self, image: &RgbImage) -> RgbImage {
        let mask = self.mask.as_ref().map(Rle::to_mask);
        let [x, y, w, h] = self.bbox;
        let layer = Layer {
            colour: draw::SAID,
            mask: mask.as_ref(),
            outline: &self.polygon,
            numbered: true,
            bbox: self.box_said.then_some([x, y, x + w, y + h]),
        };
        Overlay::new(image).layer(layer).caption(self.expression.as_str(), None).draw()
    }
}

/// All tokens of an answer in the order in which they were said.
pub(super) fn tokens(answer: &Answer) -> Vec<u32> {
    let spoken = answer.bounds.iter().chain(&answer.outline);
    spoken.flat_map(|said| said.tokens.iter().copied()).collect()
}

/// x1, y1, x2, y2 as x, y, width, height.
pub(super) fn sides([x1, y1, x2, y2]: [f64; 4]) -> [f64; 4] {
    [x1, y1, x2 - x1, y2 - y1]
}
