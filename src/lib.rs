//! Referring expression segmentation point by point, from boxes for all and masks for few.
//!
//! Given an image and "the dog on the left", say that object's outline, one vertex after the other. This is
//! Partial-RES (Qu et al., *Learning to Segment Every Referring Object Point by Point*, CVPR 2023) and its parent
//! SeqTR (Zhu et al., ECCV 2022) on candle: data, training, evaluation, pseudo labels, prediction.
//!
//! # The method in one page, and where it is
//!
//! **Coordinates are words.** A box is four tokens, an outline two for each vertex and an end token: a
//! coordinate's token is its share of the padded image in [`config::ModelConfig::bins`] steps
//! ([`model::quantise`]). Vertices are every n-th point of the mask's largest contour ([`mask::vertices`]). So
//! boxes (REC), masks (RES) and both at once are one task: say the next token.
//!
//! **The network** ([`model::Network`]) reads the image with DarkNet-53 at three depths and the expression with
//! a word table, a bidirectional GRU and a maximum over the words ([`text::Vocabulary`] numbers them). The maps
//! are fused bottom-up and multiplied with the expression's vector; a transformer encoder makes its memory of
//! the cells, a decoder says tokens from it. Partial-RES adds to SeqTR, each behind a switch of
//! [`config::ModelConfig`]:
//! - `language_token`: the expression's vector is one more position of the memory;
//! - `point_modulation` (PMCA): each head of the cross-attention looks around a point that it predicts, through
//!   a Gaussian added to its logits;
//! - `co_content` (CCTF): with a token the decoder is also given what the memory holds along the row or column
//!   that the token names, so that teacher forcing shows content and not only numbers;
//! - `task_prompt`: outlines begin with a learnt embedding, boxes with zeros, so that one network says both.
//!
//! **Training** ([`train::Trainer`]) is teacher forcing with a weighted, label-smoothing cross entropy
//! ([`model::token_loss`]), Adam with amsgrad and clipping ([`train::Adam`]) and averaged weights
//! ([`train::Ema`]). Decoding ([`model::Network::generate`]) keeps keys and values and can be constrained
//! ([`model::Constraint`]).
//!
//! **Few masks, many boxes**, in three steps: train REC on all boxes; fine-tune RES from it on the referents
//! that have masks ([`checkpoint::finetune`]); let that model outline every training referent, keep the
//! outlines whose shadows on x and y fit the true box ([`pseudo`]), and fine-tune the REC model again on masks
//! and kept outlines together.
//!
//! **Evaluation** ([`eval::evaluate`]) has two protocols, plain scores in the original image and the reference's
//! own manner, and three marks to see a score beside: what ignoring the words could reach, this model with the
//! expressions of an image permuted, and what the vertices allow at most.
//!
//! # The rest of the house
//!
//! [`data`] turns annotation files into batches, [`shapes`] makes the data set that the program brings along,
//! [`nn`] has the operations that candle lacks, has wrong or has slow, [`checkpoint`] folders that are there
//! whole or not at all, [`report`] what a run leaves for people, [`mod@bench`] how fast it all is, [`convert`], [`formats`] and [`hub`] what comes
//! from other programs. All chance comes from [`random::Stream`]: equal seeds give equal results, with any
//! number of threads. `docs/architecture.md` shows who may use whom, `docs/parity.md` what was compared with the
//! reference; "quirk N" in this documentation is a number of the list there.

pub mod bench;
pub mod checkpoint;
pub mod config;
pub mod convert;
pub mod data;
pub mod device;
pub mod eval;
pub mod experiment;
pub mod formats;
pub mod hub;
pub mod mask;
pub mod model;
pub mod nn;
pub mod parallel;
pub mod pseudo;
pub mod random;
pub mod report;
pub mod shapes;
pub mod text;
pub mod train;
mod whole;
