//! One image, some expressions.

use std::sync::Arc;

use candle_core::Device;
use image::RgbImage;
use serde::Serialize;

use crate::data::{Batch, Sample};
use crate::mask::Rle;
use crate::model::{Answer, Strategy};
use crate::report::{Layer, Overlay};
use crate::text::Encoded;

use super::look::to_look_at;
use super::{EvalError, Look, Place, Shape, draw};

/// What a network says about an expression, in pixels of the original image. As JSON it is the object
/// that `predict --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    pub expression: String,
    /// As said: the box, then the outline with its end token; of a second look those of the labeller, in its
    /// close-up.
    pub tokens: Vec<u32>,
    /// Vertices in the order in which they were said; none for a network that says boxes.
    pub polygon: Vec<[f64; 2]>,
    /// x, y, width, height: as said, else around the polygon.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// `None` for a network that says boxes.
    pub mask: Option<Rle>,
    /// Words that a vocabulary lacks, the labeller's included.
    #[serde(skip)]
    pub unknown_words: Vec<String>,
    /// Words at the end that are more than the network reads.
    #[serde(skip)]
    pub dropped_words: usize,
    /// The box was said, not derived.
    #[serde(skip)]
    box_said: bool,
}

/// Asks about one image. Its features are computed once; a second look has a close-up for each expression, and its
/// answer stands.
pub fn predict(
    first: &Look<'_>,
    second: Option<&Look<'_>>,
    image: &RgbImage,
    expressions: &[&str],
    device: &Device,
) -> Result<Vec<Prediction>, EvalError> {
    let mut encoded: Vec<Encoded> = expressions.iter().map(|text| first.encode(text)).collect();
    if let Some(place) = encoded.iter().position(|encoded| encoded.words == 0) {
        return Err(EvalError::NoWords { expression: expressions[place].to_owned() });
    }
    let image = Arc::new(image.clone());
    let words = encoded.iter().map(|encoded| encoded.ids.clone()).collect();
    let whole = Sample::question(Arc::clone(&image), words, &first.preparation);
    let mut said = say(first, vec![whole], device)?;
    if let Some(second) = second {
        let closer = said.iter().zip(expressions).zip(&mut encoded).map(|((said, expression), encoded)| {
            let bbox = to_look_at(&said.shape, &said.place);
            let again = second.encode(expression);
            encoded.dropped = encoded.dropped.max(again.dropped);
            let unknown = again.unknown.into_iter().filter(|word| !encoded.unknown.contains(word));
            let unknown: Vec<String> = unknown.collect();
            encoded.unknown.extend(unknown);
            Sample::question_around(Arc::clone(&image), bbox, vec![again.ids], &second.preparation)
        });
        said = say(second, closer.collect(), device)?;
    }
    let (height, width) = (image.height() as usize, image.width() as usize);
    let predictions = said.into_iter().zip(expressions.iter().zip(encoded));
    predictions
        .map(|(Said { answer, shape, place }, (expression, encoded))| {
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

/// An answer, and where it is.
struct Said {
    answer: Answer,
    shape: Shape,
    place: Place,
}

fn say(look: &Look<'_>, samples: Vec<Sample>, device: &Device) -> Result<Vec<Said>, EvalError> {
    let network = look.network;
    let mut batch = Batch::collate(samples, look.max_words);
    batch.pad_to(look.preparation.padded_side(), look.preparation.padded_side());
    network.arithmetic().allow();
    let memory = network.forward(&batch.inputs(device)?, &network.evaluation())?;
    let answers = network.generate(&memory, network.config().task, Strategy::Greedy, None)?;
    let places = batch.rows.iter().zip(batch.row_pad_hw()).map(|(row, pad_hw)| Place::of_row(row, pad_hw));
    let said = places.zip(answers).map(|(place, answer)| {
        let shape = Shape::of_answer(network.config(), &answer, &place);
        Said { answer, shape, place }
    });
    Ok(said.collect())
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
