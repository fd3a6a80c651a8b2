//! Expressions in numbers, against values recorded from the reference's loader.

use std::collections::HashMap;
use std::path::Path;

use partial_res::formats::npz::read_array;
use partial_res::formats::pickle::read_index;
use partial_res::random::{Stream, fnv1a};
use partial_res::text::{Vocabulary, clean, words};
use serde::Deserialize;

#[derive(Deserialize)]
struct Tokens {
    cases: Vec<Case>,
    token2idx: HashMap<String, i64>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    clean: String,
    words: Vec<String>,
    ids15: Vec<u32>,
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

#[test]
fn expressions_are_cleaned_and_numbered_as_in_the_reference() {
    let golden: Tokens = serde_json::from_slice(&golden("data/tokens.json")).unwrap();
    let vocabulary = Vocabulary::from_pairs(golden.token2idx).unwrap();
    for case in golden.cases {
        assert_eq!(clean(&case.text), case.clean);
        assert_eq!(words(&case.text), case.words);
        let encoded = vocabulary.encode(&case.text, 15);
        assert_eq!(encoded.ids, case.ids15, "{}", case.text);
        assert_eq!(encoded.words, case.words.len().min(15));
    }
}

#[derive(Deserialize)]
struct Formats {
    tokens: Built,
}

#[derive(Deserialize)]
struct Built {
    annotations: HashMap<String, Vec<Record>>,
    token_to_ix: HashMap<String, i64>,
    word_emb_shape: Vec<usize>,
}

#[derive(Deserialize)]
struct Record {
    expressions: Vec<String>,
}

#[test]
fn the_files_of_the_reference_are_read() {
    let Formats { tokens } = serde_json::from_slice(&golden("formats/expected.json")).unwrap();
    let expected = Vocabulary::from_pairs(tokens.token_to_ix).unwrap();

    // Quirk 37: the words of all splits in file order.
    let records = ["train", "val"].into_iter().flat_map(|split| &tokens.annotations[split]);
    assert_eq!(
        Vocabulary::build(records.flat_map(|record| record.expressions.iter().map(String::as_str))),
        expected
    );

    for file in ["formats/token_to_ix.p4.pkl", "formats/token_to_ix.p5.pkl"] {
        let pairs = read_index(&golden(file)).unwrap();
        assert_eq!(Vocabulary::from_pairs(pairs).unwrap(), expected);
    }
    let array = read_array(&golden("formats/word_emb.npz")).unwrap();
    assert_eq!(array.shape, tokens.word_emb_shape);
    let mut stream = Stream::from_key(fnv1a("word_emb"));
    let rule = |_| ((stream.next_u64() >> 40) as i64 - (1 << 23)) as f32 * 2f32.powi(-23);
    assert_eq!(array.values, (0..19 * 300).map(rule).collect::<Vec<f32>>());
}
