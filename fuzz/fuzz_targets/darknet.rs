#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::formats::darknet::{ConvUnit, read};

fuzz_target!(|bytes: &[u8]| {
    let unit = |name: &str, shape| ConvUnit { name: name.to_owned(), shape };
    let units = [unit("0", [4, 3, 3, 3]), unit("1", [8, 4, 1, 1])];
    if let Ok(weights) = read(bytes, &units) {
        assert_eq!(weights.tensors.len(), 10);
    }
});
