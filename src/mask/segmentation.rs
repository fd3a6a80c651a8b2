use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Mask, MaskError, Rle};

/// The `mask` field of an annotation, in COCO's three forms. It is written as it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Segmentation {
    /// Outlines `[x1, y1, x2, y2, …]` in pixels; the mask is their union.
    Polygons(Vec<Vec<f64>>),
    /// Compressed run lengths, `size` is `[height, width]`.
    Compressed { size: [usize; 2], counts: String },
    /// Run lengths as a list, `size` is `[height, width]`.
    Counts { size: [usize; 2], counts: Vec<u32> },
}

impl Segmentation {
    /// The mask in an image of this size. A polygon of four numbers is one of two points and
    /// empty (the reference fails on it); no polygons at all are an empty mask.
    pub fn to_rle(&self, height: usize, width: usize) -> Result<Rle, MaskError> {
        match self.run_lengths()? {
            Some(rle) => rle.check_size(height, width).map(|()| rle),
            None => Rle::from_polygons(height, width, self.polygons()),
        }
    }

    /// [`Segmentation::to_rle`] with a byte a pixel.
    pub fn to_mask(&self, height: usize, width: usize) -> Result<Mask, MaskError> {
        Ok(self.to_rle(height, width)?.to_mask())
    }

    /// The outlines; none when the mask is given by run lengths.
    pub fn polygons(&self) -> &[Vec<f64>] {
        match self {
            Self::Polygons(polygons) => polygons,
            Self::Compressed { .. } | Self::Counts { .. } => &[],
        }
    }

    /// The reference flags an object of several polygons as a crowd, which changes its IoU
    /// ([`Rle::iou`]).
    pub fn is_crowd(&self) -> bool {
        self.polygons().len() > 1
    }

    /// The run lengths, if this is how the mask is given.
    pub(super) fn run_lengths(&self) -> Result<Option<Rle>, MaskError> {
        match self {
            Self::Polygons(_) => Ok(None),
            Self::Compressed { size: [height, width], counts } => {
                Rle::from_compressed(*height, *width, counts).map(Some)
            }
            Self::Counts { size: [height, width], counts } => {
                Rle::new(*height, *width, counts.clone()).map(Some)
            }
        }
    }
}

impl From<&Rle> for Segmentation {
    fn from(rle: &Rle) -> Self {
        Self::Compressed { size: [rle.height(), rle.width()], counts: rle.to_compressed() }
    }
}

impl<'de> Deserialize<'de> for Segmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SegmentationVisitor)
    }
}

struct SegmentationVisitor;

impl<'de> Visitor<'de> for SegmentationVisitor {
    type Value = Segmentation;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(
            "a mask: polygons (a list of lists of numbers) or RLE (an object with \"size\" and \"counts\")",
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Segmentation, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Segmentation::Polygons)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Segmentation, A::Error> {
        let Lengths { size, counts } = Lengths::deserialize(MapAccessDeserializer::new(object))?;
        Ok(match counts {
            Counts::Text(counts) => Segmentation::Compressed { size, counts },
            Counts::List(counts) => Segmentation::Counts { size, counts },
        })
    }
}

#[derive(Deserialize)]
struct Lengths {
    size: [usize; 2],
    counts: Counts,
}

enum Counts {
    Text(String),
    List(Vec<u32>),
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountsVisitor)
    }
}

struct CountsVisitor;

impl<'de> Visitor<'de> for CountsVisitor {
    type Value = Counts;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("run lengths: a compressed string or a list of counts")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Counts, E> {
        Ok(Counts::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Counts, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Counts::List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Segmentation, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn all_three_forms_are_read_and_written_back() {
        for json in [
            "[[1.0,1.0,9.0,1.0,9.0,9.0]]",
            r#"{"size":[20,30],"counts":"51bb0"}"#,
            r#"{"size":[20,30],"counts":[5,1,594]}"#,
        ] {
            let segmentation = read(json).unwrap();
            assert_eq!(serde_json::to_string(&segmentation).unwrap(), json);
            assert!(segmentation.to_mask(20, 30).unwrap().area() > 0);
        }
    }

    #[test]
    fn four_numbers_are_a_polygon_of_two_points() {
        let segmentation = read("[[1, 2, 30, 40]]").unwrap();
        assert_eq!(segmentation.to_mask(50, 50).unwrap().area(), 0);
        assert_eq!(read("[]").unwrap().to_mask(50, 50).unwrap().area(), 0);
    }

    #[test]
    fn other_things_are_named() {
        for (json, expected) in [
            ("3", "invalid type: integer `3`, expected a mask: polygons"),
            ("[1, 2, 3]", "invalid type: integer `1`, expected a sequence"),
            (r#"{"counts": "0"}"#, "missing field `size`"),
            (r#"{"size": [1, 2], "counts": 7}"#, "integer `7`, expected run lengths"),
            (r#"{"size": [1, 2], "counts": [-1]}"#, "integer `-1`, expected u32"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(expected), "{json}: {message}");
        }
        let odd = read("[[1, 2, 3, 4, 5, 6], [1, 2, 3]]").unwrap();
        assert_eq!(odd.to_rle(9, 9), Err(MaskError::OddCoordinates { polygon: 1, found: 3 }));
        let other = read(r#"{"size": [20, 30], "counts": "51bb0"}"#).unwrap();
        assert!(other.to_rle(30, 20).unwrap_err().to_string().contains("20 x 30, expected 30 x 20"));
    }
}
