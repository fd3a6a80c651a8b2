#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use partial_res::convert::{Output, convert_vocabulary};
use partial_res::text::{Vocabulary, WordVectors};
use tempfile::TempDir;

fn folder() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path().to_owned()
}

// Two bytes say how long `token_to_ix.pkl` is; `ix_to_token.pkl` follows it. All of it is also read as
// our own forms.
fuzz_target!(|bytes: &[u8]| {
    if let Ok(vocabulary) = serde_json::from_slice::<Vocabulary>(bytes) {
        let text = serde_json::to_string(&vocabulary).expect("words and numbers");
        assert_eq!(serde_json::from_str::<Vocabulary>(&text).expect("what was written is read"), vocabulary);
    }
    let vectors = folder().join("word_vectors.safetensors");
    fs::write(&vectors, bytes).expect("room");
    drop(WordVectors::read(&vectors));

    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let (forward, backward) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    fs::write(folder().join("token_to_ix.pkl"), forward).expect("room");
    fs::write(folder().join("ix_to_token.pkl"), backward).expect("room");
    drop(convert_vocabulary(&folder(), &folder().join("out"), Output { force: true }));
});
