#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use partial_res::formats::{glove, spacy};
use tempfile::TempDir;

/// The `vocab` folder of a model that has "ape" in its second row.
fn folder() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = spacy::hash(b"ape").to_be_bytes();
        let keys = [&[0x81, 0xcf], key.as_slice(), &[1]].concat();
        fs::write(folder.path().join("key2row"), keys).expect("room");
        folder
    });
    folder.path().to_owned()
}

fuzz_target!(|bytes: &[u8]| {
    drop(spacy::parse_keys(bytes));
    drop(glove::read(bytes, |word| word.len() < 5));
    fs::write(folder().join("vectors"), bytes).expect("room");
    if let Ok(mut vectors) = spacy::SpacyVectors::open(&folder()) {
        drop(vectors.get("ape"));
    }
});
