//! The vocabulary and the word vectors beside an annotation file; all annotation files of a
//! folder share them (quirk 37). Our own forms come first, then the reference's.

use std::path::{Path, PathBuf};

use super::DataError;
use crate::formats::npz;
use crate::formats::pickle;
use crate::text::{Vocabulary, WordVectors};

/// `vocabulary.json` or `token_to_ix.pkl`, if one is there.
pub fn vocabulary(annotations: &Path) -> Result<Option<Vocabulary>, DataError> {
    if let Some(path) = beside(annotations, "vocabulary.json") {
        return Ok(Some(Vocabulary::read(&path)?));
    }
    let Some(path) = beside(annotations, "token_to_ix.pkl") else { return Ok(None) };
    let pairs = pickle::read_index(&read(&path)?)
        .map_err(|source| DataError::Pickle { path, source: Box::new(source) })?;
    Ok(Some(Vocabulary::from_pairs(pairs)?))
}

/// `word_vectors.safetensors` or `word_emb.npz`, if one is there.
pub fn vectors(annotations: &Path) -> Result<Option<WordVectors>, DataError> {
    if let Some(path) = beside(annotations, "word_vectors.safetensors") {
        return Ok(Some(WordVectors::read(&path)?));
    }
    let Some(path) = beside(annotations, "word_emb.npz") else { return Ok(None) };
    let array = npz::read_array(&read(&path)?)
        .map_err(|source| DataError::Npz { path: path.clone(), source: Box::new(source) })?;
    let &[rows, dim] = array.shape.as_slice() else {
        return Err(DataError::VectorShape { path, shape: array.shape });
    };
    Ok(Some(WordVectors::new(rows, dim, array.values)?))
}

fn beside(annotations: &Path, name: &str) -> Option<PathBuf> {
    Some(annotations.with_file_name(name)).filter(|path| path.is_file())
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })
}
