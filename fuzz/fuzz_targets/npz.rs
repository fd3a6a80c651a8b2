#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::formats::npz::read_array;

fuzz_target!(|bytes: &[u8]| {
    drop(read_array(bytes));
});
