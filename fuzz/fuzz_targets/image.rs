#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::data::decode;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(image) = decode(bytes) {
        assert!(image.width() > 0 && image.height() > 0);
    }
});
