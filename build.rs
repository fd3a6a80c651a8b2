//! The configurations are embedded: the crate is compiled anew when one of them changes. The program knows
//! the code that it was built from, as far as results depend on it (`experiment::CODE`).

use std::fs;
use std::path::{Path, PathBuf};

/// What networks, trainings, labels and scores come from.
const DECISIVE: [&str; 12] = [
    "Cargo.lock",
    "src/random.rs",
    "src/mask",
    "src/text",
    "src/nn",
    "src/config",
    "src/model",
    "src/data",
    "src/checkpoint",
    "src/eval",
    "src/pseudo",
    "src/train",
];

fn main() {
    println!("cargo:rerun-if-changed=configs");
    let mut files = Vec::new();
    for path in DECISIVE {
        println!("cargo:rerun-if-changed={path}");
        collect(Path::new(path), &mut files);
    }
    files.sort();
    // FNV-1a: files are told apart, nobody attacks.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for byte in file.to_string_lossy().bytes().chain([0]).chain(bytes).chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    println!("cargo:rustc-env=PARTIAL_RES_CODE={hash:016x}");
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries.flatten().for_each(|entry| collect(&entry.path(), files));
    } else {
        files.push(path.to_owned());
    }
}
