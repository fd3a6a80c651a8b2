//! Expressions in numbers, against values recorded from the reference's loader.

use std::collections::HashMap;
use std::path::Path;

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
