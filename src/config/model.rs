//! What the network is.

use serde::{Deserialize, Serialize};

use super::describe::described;

described! {
    /// What the token sequence spells.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Task {
        /// An outline: x, y of up to `vertices` points, then the end token (RES).
        Segmentation,
        /// A box: x1, y1, x2, y2, then the end token (REC).
        Detection,
        /// A box, the end token, an outline, the end token, in one sequence.
        MultiTask,
    }
}

described! {
    /// Which line of the encoder's map a token's co-content feature averages (quirk 11).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum CoContentAxes {
        /// The reference: an x token takes an image row, a y token a column.
        Crossed,
        /// What the paper describes: an x token takes the column at x, a y token the row at y. Lines are those of
        /// the image's own cells, and padded cells have no part in their means.
        Aligned,
    }
}

described! {
    /// The network. Defaults are the paper's full size (Partial-RES, RefCOCO).
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct ModelConfig {
        /// What the token sequence spells.
        pub task: Task,
        /// Vertices of an outline; the sequence has 2 tokens for each.
        pub vertices: usize,
        /// Coordinates are quantised to 0..bins-1; `bins` itself is the end token.
        pub bins: usize,
        /// Width of the transformer.
        pub d_model: usize,
        /// Heads of each attention; must divide `d_model`.
        pub heads: usize,
        /// Layers of the encoder.
        pub encoder_layers: usize,
        /// Layers of the decoder.
        pub decoder_layers: usize,
        /// Hidden width of the feed-forward blocks.
        pub feed_forward: usize,
        /// Of the encoder and the decoder, but for what `cross_attention_dropout` is for.
        pub dropout: f64,
        /// On the probabilities of the decoder's cross attention. The reference has 0.1 here with
        /// point modulation whatever its configuration says (quirk 8).
        pub cross_attention_dropout: f64,
        /// Groups of the normalisation after the projection into the transformer.
        pub input_groups: usize,
        /// Partial-RES: the sentence vector is one more memory position.
        pub language_token: bool,
        /// Partial-RES: point-modulated cross-attention (PMCA).
        pub point_modulation: bool,
        /// Hidden widths of the net that predicts the Gaussians.
        pub point_hidden: [usize; 2],
        /// Partial-RES: a learnt start embedding for outlines (else zeros).
        pub task_prompt: bool,
        /// Partial-RES: co-content teacher forcing (CCTF).
        pub co_content: bool,
        /// Which line of the encoder's map a token's co-content feature averages (quirk 11).
        pub co_content_axes: CoContentAxes,
        /// Not in the reference: the sine code is also added to the encoder's input, so that values
        /// carry it too.
        pub sine_in_values: bool,
        /// Not in the reference: tokens are decoded at the centre of their bin, not at its lower edge.
        pub decode_at_centre: bool,
        /// Not in the reference: vertices name pixels of the mask's rim, so an outline is stretched by
        /// one pixel of the resized image to cover those on its far sides. Matters for small images.
        pub outline_covers_pixels: bool,
        /// The backbone: DarkNet-53 without its classifier, as YOLOv3 and SeqTR use it.
        pub darknet: DarknetConfig,
        /// Word table and bidirectional GRU.
        pub language: LanguageConfig,
        /// The token loss (quirk 16).
        pub loss: LossConfig,
        /// Not in the reference: weights of losses that teach a small network to look before it can spell. Each needs
        /// the referents' boxes; 0 is off.
        pub auxiliary: AuxiliaryConfig,
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            task: Task::Segmentation,
            vertices: 18,
            bins: 1000,
            d_model: 256,
            heads: 8,
            encoder_layers: 6,
            decoder_layers: 3,
            feed_forward: 1024,
            dropout: 0.1,
            cross_attention_dropout: 0.1,
            input_groups: 32,
            language_token: true,
            point_modulation: true,
            point_hidden: [128, 64],
            task_prompt: true,
            co_content: true,
            co_content_axes: CoContentAxes::Crossed,
            sine_in_values: false,
            decode_at_centre: false,
            outline_covers_pixels: false,
            darknet: DarknetConfig::default(),
            language: LanguageConfig::default(),
            loss: LossConfig::default(),
            auxiliary: AuxiliaryConfig::default(),
        }
    }
}

impl ModelConfig {
    /// The parent network, without the additions of Partial-RES.
    pub fn seqtr() -> Self {
        Self {
            language_token: false,
            point_modulation: false,
            task_prompt: false,
            co_content: false,
            ..Self::default()
        }
    }

    /// Positions of the decoder's table: the tokens of a sequence and its start (or task) tokens.
    pub fn positions(&self) -> usize {
        match self.task {
            Task::Detection => 5,
            Task::Segmentation => 2 * self.vertices + 1,
            Task::MultiTask => 2 * self.vertices + 6,
        }
    }

    /// The end token; the table of tokens has one row more than this.
    pub fn end_token(&self) -> u32 {
        self.bins as u32
    }
}

described! {
    /// DarkNet-53 without its classifier, as YOLOv3 and SeqTR use it.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct DarknetConfig {
        /// Channels of the stem and of the five stages.
        pub widths: [usize; 6],
        /// Residual blocks of the five stages.
        pub blocks: [usize; 5],
        /// Strides of the convolutions that open the stages.
        pub strides: [usize; 5],
        /// Squeeze-expand pairs without skip after the last stage (0 leaves the stage out, its number stays).
        pub tail: usize,
        /// The first so many of the 14 modules keep their parameters; their batch norms go on
        /// adapting their statistics (quirks 2 and 3).
        pub frozen: usize,
    }
}

impl Default for DarknetConfig {
    fn default() -> Self {
        Self {
            widths: [32, 64, 128, 256, 512, 1024],
            blocks: [1, 2, 8, 8, 4],
            strides: [2; 5],
            tail: 2,
            frozen: 12,
        }
    }
}

impl DarknetConfig {
    /// Pixels a cell of the deepest map covers.
    pub fn stride(&self) -> usize {
        self.strides.iter().product()
    }
}

described! {
    /// Word table and bidirectional GRU.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct LanguageConfig {
        /// Length of a word's vector.
        pub word_dim: usize,
        /// Width of each direction of the GRU; twice this must equal the channels of the deepest map.
        pub hidden: usize,
        /// Whether the word table learns; the reference keeps it frozen.
        pub trainable_words: bool,
    }
}

impl Default for LanguageConfig {
    fn default() -> Self {
        Self { word_dim: 300, hidden: 512, trainable_words: false }
    }
}

described! {
    /// The token loss (quirk 16).
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct LossConfig {
        /// Share of a target that is spread over all tokens.
        pub label_smoothing: f64,
        /// Weight of targets that are the end token, padding vertices included (segmentation).
        pub end_weight: f64,
        /// Weights of the positions x1, y1, x2, y2, end (detection and multi-task).
        pub box_weights: [f64; 5],
        /// Not in the reference: spread a coordinate's target over its neighbours with a Gaussian of
        /// this many bins; 0 is off. The loss is then divided by the sum of the weights in the batch (of
        /// all processes), and the entropy of the targets is taken off, so that 0 is perfect.
        pub soft_target_sigma: f64,
        /// Not in the reference: weight of the token loss beside the auxiliary ones.
        pub token_weight: f64,
    }
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            label_smoothing: 0.1,
            end_weight: 0.1,
            box_weights: [1.5, 1.0, 1.0, 1.0, 1.0],
            soft_target_sigma: 0.0,
            token_weight: 1.0,
        }
    }
}

described! {
    /// Losses that teach a small network to look before it can spell. None is in the reference; all
    /// are off by default. Each needs the referents' boxes.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct AuxiliaryConfig {
        /// Which cell of the encoder's memory lies on the referent.
        pub grounding_weight: f64,
        /// The referent's box, from the cells that lie on it.
        pub grounding_box_weight: f64,
        /// The decoder's cross-attention: half on the referent, for vertices half on the next one.
        pub attention_weight: f64,
        /// Classes and box of the referent, from the fused map before any word is read.
        pub pretext_weight: f64,
        /// Number of classes of each label that the pretext task has (such as kind, colour, size).
        pub pretext_classes: Vec<usize>,
    }
}

impl AuxiliaryConfig {
    pub fn has_grounding(&self) -> bool {
        self.grounding_weight > 0.0 || self.grounding_box_weight > 0.0
    }

    pub fn has_pretext(&self) -> bool {
        self.pretext_weight > 0.0
    }

    /// Whether any of the losses is on.
    pub fn is_on(&self) -> bool {
        self.has_grounding() || self.has_pretext() || self.attention_weight > 0.0
    }
}
