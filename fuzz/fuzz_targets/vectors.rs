#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::formats::{glove, spacy};

fuzz_target!(|bytes: &[u8]| {
    drop(spacy::parse_keys(bytes));
    drop(glove::read(bytes, |word| word.len() < 5));
});
