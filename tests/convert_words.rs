//! `convert vocabulary` and `convert vectors`.

use std::fs;
use std::path::Path;

use partial_res::convert::{ConvertError, Output, convert_vectors, convert_vocabulary};
use partial_res::formats::npz::read_array;
use partial_res::formats::pickle::read_index;
use partial_res::formats::spacy::hash;
use partial_res::text::{Vocabulary, WordVectors};

fn golden(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats").join(name)).unwrap()
}

#[test]
fn the_references_files_become_ours() {
    for protocol in ["p4", "p5"] {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, content: Vec<u8>| fs::write(folder.path().join(name), content).unwrap();
        put("token_to_ix.pkl", golden(&format!("token_to_ix.{protocol}.pkl")));
        put("ix_to_token.pkl", golden(&format!("ix_to_token.{protocol}.pkl")));
        put("word_emb.npz", golden("word_emb.npz"));
        let convert = |force| convert_vocabulary(folder.path(), folder.path(), Output { force });
        let report = convert(false).unwrap();
        assert_eq!((report.tokens, report.dim, report.without, report.compared), (19, Some(300), 0, true));
        let vocabulary = Vocabulary::read(&folder.path().join("vocabulary.json")).unwrap();
        let expected = read_index(&golden("token_to_ix.p4.pkl")).unwrap();
        assert_eq!(vocabulary, Vocabulary::from_pairs(expected).unwrap());
        let vectors = WordVectors::read(&folder.path().join("word_vectors.safetensors")).unwrap();
        assert_eq!(vectors.values(), read_array(&golden("word_emb.npz")).unwrap().values);

        assert!(matches!(convert(false), Err(ConvertError::Exists { .. })));
        put("ix_to_token.pkl", b"}(K\0X\x03\0\0\0PADK\x01X\x03\0\0\0CLSu.".to_vec());
        let message = convert(true).unwrap_err().to_string();
        assert!(
            message.contains("the integer 1 is the text \"CLS\", but token_to_ix.pkl says otherwise"),
            "{message}"
        );
    }
}

const ANNOTATIONS: &str = r#"{"train": [{"image_id": 1, "bbox": [0, 0, 5, 5], "width": 9, "height": 9,
    "expressions": ["The left-most ape", "ape!"]}], "val": [{"image_id": 1, "bbox": [0, 0, 5, 5], "width": 9,
    "height": 9, "expressions": ["umbrealla"]}]}"#;

/// A model of spaCy's with these words, whose vectors are (1, -1), (2, -2), …
fn model(folder: &Path, words: &[&str]) {
    let vocab = folder.join("model-3.8.0/vocab");
    fs::create_dir_all(&vocab).unwrap();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 2), }}\n", words.len());
    let mut vectors = b"\x93NUMPY\x01\x00".to_vec();
    vectors.extend((header.len() as u16).to_le_bytes());
    vectors.extend(header.as_bytes());
    let mut keys = vec![0x80 + words.len() as u8];
    for (row, word) in words.iter().enumerate() {
        let number = row as f32 + 1.0;
        vectors.extend([number, -number].iter().flat_map(|v| v.to_le_bytes()));
        keys.push(0xcf);
        keys.extend(hash(word.as_bytes()).to_be_bytes());
        keys.push(row as u8);
    }
    fs::write(vocab.join("vectors"), vectors).unwrap();
    fs::write(vocab.join("key2row"), keys).unwrap();
}

#[test]
fn vectors_come_from_spacy_and_from_glove() {
    let folder = tempfile::tempdir().unwrap();
    let annotations = folder.path().join("instances.json");
    fs::write(&annotations, ANNOTATIONS).unwrap();
    model(folder.path(), &["ape", "the", "most", "zebra"]);
    let glove = folder.path().join("glove.txt");
    fs::write(&glove, "the 2 -2\nmost 3 -3\nape 1 -1\nzebra 4 -4\n").unwrap();
    for source in [folder.path().join("model-3.8.0"), folder.path().to_owned(), glove] {
        let out = tempfile::tempdir().unwrap();
        let report = convert_vectors(&source, &annotations, out.path(), Output::default()).unwrap();
        assert_eq!(report.missing, ["PAD", "UNK", "CLS", "left", "umbrealla"]);
        assert!(report.built && report.to_string().contains("3 of 8 tokens found"), "{report}");
        let vocabulary = Vocabulary::read(&out.path().join("vocabulary.json")).unwrap();
        assert_eq!(vocabulary.tokens()[3..], ["the", "left", "most", "ape", "umbrealla"]);
        let vectors = WordVectors::read(&out.path().join("word_vectors.safetensors")).unwrap();
        assert_eq!(vectors.values()[6..], [2., -2., 0., 0., 3., -3., 1., -1., 0., 0.]);
    }
    // A vocabulary of other data is used, being there, but not in silence.
    let beside = folder.path().join("vocabulary.json");
    fs::write(&beside, r#"{"PAD": 0, "UNK": 1, "CLS": 2, "ape": 3}"#).unwrap();
    let out = tempfile::tempdir().unwrap();
    let report = convert_vectors(folder.path(), &annotations, out.path(), Output::default()).unwrap();
    assert!(!report.built && report.coverage.is_poor(), "{report}");
    assert!(report.to_string().contains("WARNING: 4 of 6 words"), "{report}");
    fs::remove_file(beside).unwrap();

    let cut = folder.path().join("model-3.8.0/vocab/vectors");
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    let message = convert_vectors(folder.path(), &annotations, folder.path(), Output::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("but 4 x 2 numbers need"), "{message}");
    assert!(!folder.path().join("vocabulary.json").exists());
}
