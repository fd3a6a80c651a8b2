#![no_main]

use libfuzzer_sys::fuzz_target;
use partial_res::formats::zip::Archive;

fuzz_target!(|bytes: &[u8]| {
    let Ok(archive) = Archive::new(bytes) else { return };
    for member in archive.members().iter().take(20) {
        if let Ok(content) = archive.read(member, 1 << 20) {
            assert_eq!(content.len() as u64, member.size);
            drop(Archive::check(member, &content));
        }
    }
});
