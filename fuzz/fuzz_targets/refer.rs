#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use partial_res::convert::{Output, ReferRequest, convert_refer};
use partial_res::data::Annotations;
use tempfile::TempDir;

fn folder() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path().to_owned()
}

// Two bytes say how long REFER's pickle is; COCO's file follows it.
fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let (refs, instances) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    let [refs_file, instances_file, out] =
        ["refs.p", "instances.json", "out.json"].map(|name| folder().join(name));
    fs::write(&refs_file, refs).expect("room");
    fs::write(&instances_file, instances).expect("room");
    let request = ReferRequest {
        refs: &refs_file,
        instances: &instances_file,
        dataset: "fuzz",
        out: &out,
        output: Output { force: true },
    };
    if convert_refer(&request).is_ok() {
        drop(Annotations::read(&out));
    }
});
