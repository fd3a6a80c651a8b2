//! Word vectors for the vocabulary of an annotation file.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::vocabulary::{VECTORS, VOCABULARY, write_vectors, write_vocabulary};
use super::{ConvertError, Output};
use crate::data::{Annotations, vocabulary_beside};
use crate::formats::glove;
use crate::formats::spacy::SpacyVectors;
use crate::text::{Coverage, Vocabulary, WordVectors};

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorsReport {
    pub folder: PathBuf,
    pub dim: usize,
    pub tokens: usize,
    /// Tokens without a vector; theirs is all zeros.
    pub missing: Vec<String>,
    /// The vocabulary was built here.
    pub built: bool,
    /// How much of what is asked it knows.
    pub coverage: Coverage,
}

/// Looks up the tokens of the vocabulary of `annotations` in `source`: the folder of a spaCy model
/// or a GloVe text file. The vocabulary is the one beside the annotations, else it is built from
/// all their expressions and written as well. Files go to `out`.
///
/// A token is looked up whole, as the vocabulary has it (lower case, without punctuation), also
/// where spaCy would split it into pieces; without an entry its vector is zero. `PAD`, `UNK` and
/// `CLS` are looked up like words.
pub fn convert_vectors(
    source: &Path,
    annotations: &Path,
    out: &Path,
    output: Output,
) -> Result<VectorsReport, ConvertError> {
    let (vocabulary_out, vectors_out) = (out.join(VOCABULARY), out.join(VECTORS));
    output.check(&vectors_out)?;
    let beside = vocabulary_beside(annotations)?;
    let (usable, _) = Annotations::read_usable(annotations)?;
    let built = beside.is_none();
    let vocabulary = match beside {
        Some(vocabulary) => vocabulary,
        None => {
            output.check(&vocabulary_out)?;
            Vocabulary::build(usable.expressions())
        }
    };
    let coverage = Coverage::of(&vocabulary, usable.expressions());
    let (dim, rows) = if source.is_dir() { spacy(source, &vocabulary)? } else { text(source, &vocabulary)? };

    let missing = vocabulary.tokens().iter().zip(&rows).filter(|(_, row)| row.is_none());
    let missing: Vec<String> = missing.map(|(token, _)| token.clone()).collect();
    if missing.len() == vocabulary.len() {
        let problem = "it has none of the vocabulary's words; expected a GloVe text file (a word and its numbers in each line), \
                       or the folder of a spaCy model"
            .to_owned();
        return Err(ConvertError::Content { path: source.into(), problem });
    }
    let values = rows.into_iter().flat_map(|row| row.unwrap_or_else(|| vec![0.0; dim])).collect();
    let vectors = WordVectors::new(vocabulary.len(), dim, values)
        .map_err(|error| ConvertError::Content { path: source.into(), problem: error.to_string() })?;
    if built {
        write_vocabulary(&vocabulary, &vocabulary_out, output)?;
    }
    write_vectors(&vectors, &vectors_out, output)?;
    Ok(VectorsReport { folder: out.into(), dim, tokens: vocabulary.len(), missing, built, coverage })
}

type Rows = (usize, Vec<Option<Vec<f32>>>);

fn spacy(model: &Path, vocabulary: &Vocabulary) -> Result<Rows, ConvertError> {
    let vocab = vocab_folder(model).ok_or_else(|| ConvertError::Content {
        path: model.into(),
        problem:
            "no vocab/vectors and vocab/key2row in it or a folder of it; name the folder of a spaCy model"
                .to_owned(),
    })?;
    let mut vectors = SpacyVectors::open(&vocab)?;
    let rows = vocabulary.tokens().iter().map(|token| vectors.get(token)).collect::<Result<_, _>>()?;
    Ok((vectors.dim(), rows))
}

/// A model may lie two folders deep in its package.
fn vocab_folder(model: &Path) -> Option<PathBuf> {
    let mut folders = vec![model.to_owned()];
    for _ in 0..3 {
        let found = folders.iter().flat_map(|folder| [folder.join("vocab"), folder.clone()]);
        let found = found.into_iter().find(|f| f.join("vectors").is_file() && f.join("key2row").is_file());
        if found.is_some() {
            return found;
        }
        let below = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        folders = below.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        folders.sort();
    }
    None
}

fn text(file: &Path, vocabulary: &Vocabulary) -> Result<Rows, ConvertError> {
    let reader = File::open(file).map_err(|source| ConvertError::Read { path: file.into(), source })?;
    let words: HashSet<&str> = vocabulary.tokens().iter().map(String::as_str).collect();
    let mut found = glove::read(BufReader::with_capacity(1 << 20, reader), |word| words.contains(word))
        .map_err(|error| ConvertError::Content { path: file.into(), problem: error.to_string() })?;
    let rows = vocabulary.tokens().iter().map(|token| found.vectors.remove(token)).collect();
    Ok((found.dim, rows))
}

impl fmt::Display for VectorsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, dim, tokens, missing, built, coverage } = self;
        if *built {
            writeln!(f, "{tokens} tokens of all expressions to {}", folder.join(VOCABULARY).display())?;
        }
        let found = tokens - missing.len();
        writeln!(
            f,
            "{found} of {tokens} tokens found, vectors of {dim} numbers to {}",
            folder.join(VECTORS).display()
        )?;
        write!(f, "{} not found, their vectors are zero: {}", missing.len(), missing.join(" "))?;
        if coverage.is_poor() {
            write!(
                f,
                "\nWARNING: {coverage}: the vocabulary that lies beside the annotations is of other data; remove it to have one \
                 built, and convert the vectors again"
            )?;
        }
        Ok(())
    }
}
