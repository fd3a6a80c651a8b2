#![no_main]

#[path = "../../tests/convert_pytorch/saved.rs"]
mod saved;
#[path = "../smallest.rs"]
mod smallest;
#[path = "../../tests/convert_pytorch/torch_file.rs"]
mod torch_file;

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use partial_res::checkpoint::Checkpoint;
use partial_res::convert::{CheckpointRequest, Output, convert_checkpoint};
use partial_res::report::Weights;
use tempfile::TempDir;

fn folder() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let checkpoint = smallest::checkpoint(&folder.path().join("step-7"));
        smallest::seed("checkpoint", &saved::as_pytorch(&checkpoint));
        let weights = saved::tensors(&checkpoint, Weights::Raw, "");
        smallest::seed("weights", &torch_file::legacy(&weights));
        folder
    });
    folder.path().to_owned()
}

// First with nothing allowed, then with everything.
fuzz_target!(|bytes: &[u8]| {
    let [file, out] = ["file.pth", "out"].map(|name| folder().join(name));
    fs::write(&file, bytes).expect("room");
    for allow in [Vec::new(), vec!["*".to_owned()]] {
        let request = CheckpointRequest {
            file: &file,
            config: smallest::config(),
            vocabulary: smallest::vocabulary(),
            out: &out,
            allow,
            output: Output { force: true },
        };
        if convert_checkpoint(request).is_ok() {
            let checkpoint = Checkpoint::open(&out).expect("what was written is read");
            checkpoint.network(checkpoint.best_weights(), &Device::Cpu).expect("a network");
        }
    }
});
