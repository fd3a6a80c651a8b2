//! The house rule of `docs/architecture.md`: a module uses only modules below it, so there are no circles.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the library from the ground up.
const LAYERS: [&str; 21] = [
    "random",
    "whole",
    "mask",
    "text",
    "formats",
    "config",
    "device",
    "parallel",
    "nn",
    "report",
    "shapes",
    "model",
    "data",
    "checkpoint",
    "eval",
    "pseudo",
    "train",
    "experiment",
    "bench",
    "hub",
    "convert",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => sources(&path, found),
            Some(extension) if extension == "rs" => found.push(path),
            _ => {}
        }
    }
}

/// The module of the library that a name stands for.
fn level(name: &str) -> Option<usize> {
    LAYERS.iter().position(|&layer| layer == name)
}

#[test]
fn modules_use_what_is_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut uses = 0;
    for file in files {
        let name = file.strip_prefix(&src).unwrap().components().next().unwrap().as_os_str();
        let name = name.to_str().unwrap().trim_end_matches(".rs");
        if ["main", "lib", "cli"].contains(&name) {
            continue;
        }
        let user = level(name).unwrap_or_else(|| panic!("{name} has no place in LAYERS"));
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for rest in line.split("crate::").skip(1) {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let used = level(&rest[..end])
                    .unwrap_or_else(|| panic!("{}: {} is no module", file.display(), &rest[..end]));
                assert!(used <= user, "{} uses {}, which is above it", file.display(), LAYERS[used]);
                uses += 1;
            }
        }
    }
    assert!(uses > 100, "only {uses} uses were found");
}
