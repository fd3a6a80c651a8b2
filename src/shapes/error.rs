use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why RefShapes could not be made.
#[derive(Debug, Error)]
pub enum ShapesError {
    #[error("{field} is {found}, expected {expected}")]
    Config { field: &'static str, found: usize, expected: &'static str },
    #[error(
        "{path} holds another RefShapes (it has {found}, asked for was {asked}). All manners share the images: add one to \
         these with `partial-res shapes --out … --manner … {arguments}`, choose another folder (--out, data.root), or remove \
         images/refshapes and every annotations/refshapes-* to have all made anew"
    )]
    OtherTree { path: PathBuf, found: String, asked: String, arguments: String },
    #[error(
        "{path} is there, but was not made by this program ({reason}); choose another --out, or move it away"
    )]
    Foreign { path: PathBuf, reason: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: can't encode the image: {source}")]
    Encode { path: PathBuf, source: image::ImageError },
    #[error("{path}: can't write JSON: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
}
