//! The reference's vocabulary and word vectors to `vocabulary.json` and `word_vectors.safetensors`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{ConvertError, Output};
use crate::formats::npz;
use crate::formats::pickle::{Limits, Pickle, PickleError, Value, read_index};
use crate::text::{Vocabulary, WordVectors};

pub(super) const VOCABULARY: &str = "vocabulary.json";
pub(super) const VECTORS: &str = "word_vectors.safetensors";

/// What was converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VocabularyReport {
    pub folder: PathBuf,
    pub tokens: usize,
    /// Numbers of a vector; none without `word_emb.npz`.
    pub dim: Option<usize>,
    /// Tokens whose vector is all zeros.
    pub without: usize,
    /// The other direction was there and agrees.
    pub compared: bool,
}

/// Reads `token_to_ix.pkl` and, where they are, `ix_to_token.pkl` (which must say the same) and
/// `word_emb.npz` in `folder`, and writes our forms to `out`.
pub fn convert_vocabulary(
    folder: &Path,
    out: &Path,
    output: Output,
) -> Result<VocabularyReport, ConvertError> {
    let (vocabulary_out, vectors_out) = (out.join(VOCABULARY), out.join(VECTORS));
    let forward = folder.join("token_to_ix.pkl");
    let pickled = |path: &Path| {
        let path = path.to_owned();
        move |source: PickleError| ConvertError::Content { path, problem: source.to_string() }
    };
    let text = |path: &Path, problem: String| ConvertError::Content { path: path.into(), problem };
    let pairs = read_index(&read(&forward)?).map_err(pickled(&forward))?;
    let vocabulary = Vocabulary::from_pairs(pairs).map_err(|error| text(&forward, error.to_string()))?;

    let backward = folder.join("ix_to_token.pkl");
    let compared = backward.is_file();
    if compared {
        let bytes = read(&backward)?;
        let pickle = Pickle::read(&bytes, &[], Limits::default()).map_err(pickled(&backward))?;
        compare(&pickle, &vocabulary).map_err(|problem| text(&backward, problem))?;
    }

    let packed = folder.join("word_emb.npz");
    let vectors = match packed.is_file() {
        false => None,
        true => {
            let array = npz::read_array(&read(&packed)?).map_err(|error| text(&packed, error.to_string()))?;
            let &[rows, dim] = array.shape.as_slice() else {
                return Err(text(&packed, format!("shape {:?}, expected a row for each word", array.shape)));
            };
            if rows != vocabulary.len() {
                let problem =
                    format!("{rows} vectors, the vocabulary beside it has {} tokens", vocabulary.len());
                return Err(text(&packed, problem));
            }
            Some(
                WordVectors::new(rows, dim, array.values)
                    .map_err(|error| text(&packed, error.to_string()))?,
            )
        }
    };
    output.check(&vocabulary_out)?;
    if vectors.is_some() {
        output.check(&vectors_out)?;
    }
    write_vocabulary(&vocabulary, &vocabulary_out, output)?;
    if let Some(vectors) = &vectors {
        write_vectors(vectors, &vectors_out, output)?;
    }
    Ok(VocabularyReport {
        folder: out.into(),
        tokens: vocabulary.len(),
        dim: vectors.as_ref().map(WordVectors::dim),
        without: vectors.as_ref().map_or(0, without),
        compared,
    })
}

pub(super) fn write_vocabulary(
    vocabulary: &Vocabulary,
    path: &Path,
    output: Output,
) -> Result<(), ConvertError> {
    let text = serde_json::to_string_pretty(vocabulary).expect("words and numbers") + "\n";
    output.bytes(path, text.as_bytes())
}

pub(super) fn write_vectors(vectors: &WordVectors, path: &Path, output: Output) -> Result<(), ConvertError> {
    let bytes = vectors
        .to_safetensors()
        .map_err(|error| ConvertError::Content { path: path.into(), problem: error.to_string() })?;
    output.bytes(path, &bytes)
}

fn without(vectors: &WordVectors) -> usize {
    let rows = vectors.values().chunks_exact(vectors.dim().max(1));
    rows.filter(|row| row.iter().all(|&number| number == 0.0)).count()
}

fn read(path: &Path) -> Result<Vec<u8>, ConvertError> {
    std::fs::read(path).map_err(|source| ConvertError::Read { path: path.into(), source })
}

/// Whether a dict of indices to words is the vocabulary the other way round.
fn compare(pickle: &Pickle, vocabulary: &Vocabulary) -> Result<(), String> {
    let root = pickle.root();
    let pairs = pickle.pairs(root).ok_or_else(|| format!("{}, expected a dict", pickle.describe(root)))?;
    for &(index, word) in pairs {
        let ours = match index {
            Value::Int(index) => usize::try_from(index).ok().and_then(|i| vocabulary.tokens().get(i)),
            _ => None,
        };
        if ours.map(String::as_str) != pickle.text(word) || ours.is_none() {
            let (index, word) = (pickle.describe(index), pickle.describe(word));
            return Err(format!(
                "{index} is {word}, but token_to_ix.pkl says otherwise; they must be of one set"
            ));
        }
    }
    match pairs.len() == vocabulary.len() {
        true => Ok(()),
        false => Err(format!("{} words, token_to_ix.pkl has {}", pairs.len(), vocabulary.len())),
    }
}

impl fmt::Display for VocabularyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, tokens, dim, without, compared } = self;
        write!(f, "{tokens} tokens to {}", folder.join(VOCABULARY).display())?;
        if *compared {
            write!(f, "; ix_to_token.pkl says the same")?;
        }
        match dim {
            Some(dim) => write!(
                f,
                "\n{tokens} vectors of {dim} numbers to {}; {without} are all zeros",
                folder.join(VECTORS).display()
            ),
            None => write!(f, "\nno word_emb.npz: no vectors (`convert vectors` makes some)"),
        }
    }
}
