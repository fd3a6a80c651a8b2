#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;

use partial_res::data::Annotations;

fuzz_target!(|bytes: &[u8]| {
    let Ok((annotations, _bad)) = Annotations::parse(Path::new("fuzz"), bytes.to_vec()) else { return };
    for split in annotations.splits() {
        for referent in annotations.referents(split).into_iter().flatten().take(10) {
            referent.corners();
            if referent.width * referent.height < 1 << 16 {
                drop(referent.mask());
            }
        }
    }
});
