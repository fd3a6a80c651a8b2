//! A network as it looks at images, and what a second one looks at.

use crate::config::{Config, Task, Transform};
use crate::data::Preparation;
use crate::model::Network;
use crate::text::{Encoded, Vocabulary};

use super::{EvalError, Place, Shape};

/// Vertices lie a little inside of what they outline, and a first outline is a rough one: so much of its sides is
/// added on each side before it is looked at again. Boxes that were said are taken as they are.
const ROOM: f64 = 0.1;

/// A network with the vocabulary that it knows and the way in which images are prepared for it.
pub struct Look<'a> {
    pub network: &'a Network,
    pub vocabulary: &'a Vocabulary,
    pub preparation: Preparation,
    /// Words of an expression that it reads.
    pub max_words: usize,
}

impl<'a> Look<'a> {
    /// A first look, at whole images. `config` is that of the network's checkpoint.
    pub fn whole(
        network: &'a Network,
        vocabulary: &'a Vocabulary,
        config: &Config,
    ) -> Result<Self, EvalError> {
        match config.data.train_transform {
            Transform::CloseUp => Err(EvalError::NeedsBox),
            Transform::Resize | Transform::Jitter => Ok(Self::new(network, vocabulary, config)),
        }
    }

    /// A second look, by a labeller: at a close-up of what the first one found.
    pub fn closer(
        network: &'a Network,
        vocabulary: &'a Vocabulary,
        config: &Config,
    ) -> Result<Self, EvalError> {
        match (config.data.train_transform, config.model.task) {
            (Transform::CloseUp, Task::Segmentation | Task::MultiTask) => {
                Ok(Self::new(network, vocabulary, config))
            }
            _ => Err(EvalError::NotCloser),
        }
    }

    fn new(network: &'a Network, vocabulary: &'a Vocabulary, config: &Config) -> Self {
        let preparation = Preparation::evaluation(config);
        Self { network, vocabulary, preparation, max_words: config.data.max_words }
    }

    pub(super) fn encode(&self, expression: &str) -> Encoded {
        self.vocabulary.encode(expression, self.max_words)
    }
}

/// What a second look is to show: x, y, width, height in the original image. The box that was said, or what is
/// around the outline with some room; the whole image where nothing was found.
pub fn to_look_at(shape: &Shape, place: &Place) -> [f64; 4] {
    let (height, width) = (place.original_hw.0 as f64, place.original_hw.1 as f64);
    match shape.original_bbox(place) {
        Some([x1, y1, x2, y2]) if x2 > x1 && y2 > y1 => {
            let room = if shape.bbox.is_some() { 0.0 } else { ROOM };
            let (w, h) = (x2 - x1, y2 - y1);
            [x1 - room * w, y1 - room * h, w * (1.0 + 2.0 * room), h * (1.0 + 2.0 * room)]
        }
        _ => [0.0, 0.0, width, height],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_get_room_and_nothing_is_looked_for_everywhere() {
        let place = Place { pad_hw: (64, 64), original_hw: (50, 100), scale: (0.5, 0.5), offset: (0.0, 0.0) };
        let outline = |points: &[[f64; 2]]| Shape { outline: Some(points.to_vec()), bbox: None };
        let seen = to_look_at(&outline(&[[10.0, 5.0], [20.0, 5.0], [20.0, 15.0]]), &place);
        assert_eq!(seen, [18.0, 8.0, 24.0, 24.0]);
        let said = Shape { outline: None, bbox: Some([10.0, 5.0, 20.0, 15.0]) };
        assert_eq!(to_look_at(&said, &place), [20.0, 10.0, 20.0, 20.0]);
        for nothing in [outline(&[]), outline(&[[7.0, 7.0], [7.0, 9.0]])] {
            assert_eq!(to_look_at(&nothing, &place), [0.0, 0.0, 100.0, 50.0]);
        }
    }
}
