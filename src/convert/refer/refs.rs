//! REFER's list of referents: a pickle of Python 2.

use crate::formats::pickle::{Limits, Node, Pickle, Value};
use crate::text::words;

/// A referent as REFER has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ref {
    pub ref_id: u64,
    pub ann_id: u64,
    pub image_id: u64,
    pub split: String,
    /// Those with a word: nothing else can be asked.
    pub sentences: Vec<String>,
    /// How many others there are.
    pub wordless: usize,
}

/// Reads `[{ref_id, ann_id, image_id, split, sentences: [{sent, …}, …], …}, …]`.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Ref>, String> {
    // 50 000 referents with three sentences of words, each a value.
    let limits = Limits { nodes: 1 << 24, memo: 1 << 24, ..Limits::default() };
    let pickle = Pickle::read(bytes, &[], limits).map_err(|error| error.to_string())?;
    let root = pickle.root();
    let list = pickle
        .items(root)
        .ok_or_else(|| format!("{}, expected a list of referents", pickle.describe(root)))?;
    list.iter()
        .enumerate()
        .map(|(index, &value)| {
            referent(&pickle, value).map_err(|problem| format!("referent {index}: {problem}"))
        })
        .collect()
}

fn referent(pickle: &Pickle, value: Value) -> Result<Ref, String> {
    let number = |key| match get(pickle, value, key)? {
        Value::Int(number) => u64::try_from(number).map_err(|_| format!("{key} is {number}")),
        other => Err(format!("{key} is {}, expected a number", pickle.describe(other))),
    };
    let sentences = get(pickle, value, "sentences")?;
    let sentences = pickle
        .items(sentences)
        .ok_or_else(|| format!("sentences is {}, expected a list", pickle.describe(sentences)))?;
    let sentences = sentences.iter().map(|&sentence| text(pickle, get(pickle, sentence, "sent")?));
    let mut sentences: Vec<String> = sentences.collect::<Result<_, _>>()?;
    if sentences.is_empty() {
        return Err("it has no sentence".to_owned());
    }
    let all = sentences.len();
    sentences.retain(|sentence| !words(sentence).is_empty());
    Ok(Ref {
        ref_id: number("ref_id")?,
        ann_id: number("ann_id")?,
        image_id: number("image_id")?,
        split: text(pickle, get(pickle, value, "split")?)?,
        wordless: all - sentences.len(),
        sentences,
    })
}

fn get(pickle: &Pickle, dict: Value, key: &str) -> Result<Value, String> {
    let pairs = pickle.pairs(dict).ok_or_else(|| format!("{}, expected a dict", pickle.describe(dict)))?;
    let mut pairs = pairs.iter().rev().filter(|(k, _)| pickle.text(*k) == Some(key));
    pairs.next().map(|&(_, value)| value).ok_or_else(|| format!("it has no {key}"))
}

/// Text of Python 2 is UTF-8 or, where it isn't, Latin-1.
fn text(pickle: &Pickle, value: Value) -> Result<String, String> {
    match (pickle.text(value), pickle.node(value)) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Some(Node::OldText(bytes))) => Ok(bytes.iter().copied().map(char::from).collect()),
        _ => Err(format!("{}, expected text", pickle.describe(value))),
    }
}
