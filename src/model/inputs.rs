//! What goes into the network, free of any dataset.

use candle_core::Tensor;

/// Images and expressions of a batch. Several rows may refer to one image, whose visual features
/// are then computed once.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// RGB 0..255, padded with zeros on the right and below: `[images, 3, H, W]` f32.
    pub images: Tensor,
    /// Height and width of each image without padding, in pixels.
    pub image_hw: Vec<(usize, usize)>,
    /// The image of each row.
    pub image_of: Vec<u32>,
    /// Word indices, 0 = padding: `[rows, words]` u32.
    pub words: Tensor,
}

/// What the network is to say for each row.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Height and width of each row's image in its own padding: what coordinates are divided by
    /// (quirk 18).
    pub pad_hw: Vec<(usize, usize)>,
    /// x1, y1, x2, y2 in pixels of the resized image; needed for detection, multi-task and
    /// auxiliary losses. In segmentation they don't become tokens.
    pub boxes: Option<Vec<[f64; 4]>>,
    /// Up to `vertices` points (x, y) in pixels of the resized image; missing ones are the end
    /// token. Needed for segmentation and multi-task; a negative one in between is missing too.
    pub vertices: Option<Vec<Vec<[f32; 2]>>>,
    /// The referents' labels for the pretext task, one for each of `pretext_classes`;
    /// `u32::MAX` = unknown.
    pub labels: Option<Vec<Vec<u32>>>,
    /// How much each row's outline counts in the loss of tokens; all alike if absent.
    pub weights: Option<Vec<f32>>,
}
