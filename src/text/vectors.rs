use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::TextError;

/// Name of the matrix in the file, as in the reference's `word_emb.npz`.
const NAME: &str = "word_emb";

/// A vector per token of a vocabulary, `rows` x `dim`, row-major: the frozen word table.
#[derive(Clone, Debug, PartialEq)]
pub struct WordVectors {
    rows: usize,
    dim: usize,
    values: Vec<f32>,
}

impl WordVectors {
    /// `values` must have `rows * dim` numbers.
    pub fn new(rows: usize, dim: usize, values: Vec<f32>) -> Result<Self, TextError> {
        if rows.checked_mul(dim) != Some(values.len()) {
            return Err(TextError::Shape { rows, dim, found: values.len() });
        }
        Ok(Self { rows, dim, values })
    }

    /// Tokens.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers per token.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All numbers, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Reads `word_vectors.safetensors`.
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let bytes =
            std::fs::read(path).map_err(|source| TextError::Read { path: path.to_owned(), source })?;
        let safetensors = |source| TextError::Safetensors { path: path.to_owned(), source };
        let file = SafeTensors::deserialize(&bytes).map_err(safetensors)?;
        let wrong = |found: String| TextError::Matrix { path: path.to_owned(), expected: NAME, found };
        let names = file.names();
        if !names.contains(&NAME) {
            return Err(wrong(format!("{names:?}")));
        }
        let tensor = file.tensor(NAME).map_err(safetensors)?;
        let (Dtype::F32, &[rows, dim]) = (tensor.dtype(), tensor.shape()) else {
            return Err(wrong(format!("{} of shape {:?}", tensor.dtype(), tensor.shape())));
        };
        let values =
            tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Self::new(rows, dim, values)
    }

    /// The bytes of `word_vectors.safetensors`.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let bytes: Vec<u8> = self.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = TensorView::new(Dtype::F32, vec![self.rows, self.dim], &bytes)?;
        safetensors::serialize([(NAME, tensor)], None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("word_vectors.safetensors");
        let vectors = WordVectors::new(2, 3, vec![0.5, -1.0, 2.0, 1e-30, 3.25, f32::MAX]).unwrap();
        std::fs::write(&path, vectors.to_safetensors().unwrap()).unwrap();
        assert_eq!(WordVectors::read(&path).unwrap(), vectors);

        let tensor = TensorView::new(Dtype::F32, vec![2], &[0; 8]).unwrap();
        std::fs::write(&path, safetensors::serialize([(NAME, tensor)], None).unwrap()).unwrap();
        let message = WordVectors::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("F32 of shape [2]; expected one float32 matrix named \"word_emb\""),
            "{message}"
        );
    }
}
