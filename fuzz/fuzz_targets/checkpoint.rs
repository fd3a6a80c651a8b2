#![no_main]

#[path = "../smallest.rs"]
mod smallest;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use candle_core::Device;
use libfuzzer_sys::fuzz_target;
use partial_res::checkpoint::{Checkpoint, finetune};
use partial_res::config::Config;
use partial_res::nn::Parameters;
use partial_res::report::Weights;
use partial_res::train::{Adam, Ema};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// In the order in which an input holds them, each behind its length in two bytes; an empty one stands
/// for the sound one.
const FILES: [&str; 6] = [
    "config.toml",
    "vocabulary.json",
    "state.json",
    "model.safetensors",
    "ema.safetensors",
    "optimizer.safetensors",
];
/// First bytes of inputs that are a manifest, and a mark such as `latest`.
const MANIFEST: u8 = b'm';
const MARK: u8 = b'l';

struct Sound {
    folder: TempDir,
    files: BTreeMap<&'static str, Vec<u8>>,
    manifest: serde_json::Value,
}

impl Sound {
    fn step(&self) -> PathBuf {
        self.folder.path().join("checkpoints/step-7")
    }
}

/// A run with a sound checkpoint, which inputs change file by file.
fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let step = folder.path().join("checkpoints/step-7");
        smallest::checkpoint(&step);
        let files = FILES.map(|name| (name, fs::read(step.join(name)).expect("written")));
        let manifest = fs::read(step.join("manifest.json")).expect("written");
        for (i, (name, content)) in files.iter().enumerate() {
            let mut seed = vec![0; 1 + 2 * i];
            seed.extend((content.len() as u16).to_le_bytes());
            seed.extend(content);
            smallest::seed(name, &seed);
        }
        smallest::seed("manifest", &[&[MANIFEST], manifest.as_slice()].concat());
        smallest::seed("mark", b"lstep-7\n");
        let manifest = serde_json::from_slice(&manifest).expect("JSON");
        Sound { folder, files: files.into(), manifest }
    })
}

fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (piece, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// What a checkpoint is loaded into.
struct Place {
    config: Config,
    parameters: Parameters,
    optimiser: (Adam, Ema),
}

/// What `train --resume`, `eval` and `--finetune-from` do with a checkpoint before they look at data.
fn use_it(checkpoint: &Checkpoint) {
    static PLACE: OnceLock<Mutex<Place>> = OnceLock::new();
    let place = PLACE.get_or_init(|| {
        let config = smallest::config();
        let parameters = smallest::parameters(&config);
        Mutex::new(Place { optimiser: smallest::optimiser(&parameters, &config), parameters, config })
    });
    let mut place = place.lock().expect("one thread");
    let Place { config, parameters, optimiser: (adam, ema) } = &mut *place;
    drop(checkpoint.network(checkpoint.best_weights(), &Device::Cpu));
    drop(finetune(parameters, checkpoint, Weights::Raw, &config.model, &smallest::vocabulary()));
    if let Ok(weights) = checkpoint.weights(Weights::Ema) {
        drop(ema.restore(&weights, checkpoint.state.ema_updates));
    }
    if let Ok(state) = checkpoint.optimizer() {
        drop(adam.restore(&state));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let sound = sound();
    let (mark, step) = (sound.folder.path().join("checkpoints/latest"), sound.step());
    let write = |name: &str, content: &[u8]| fs::write(step.join(name), content).expect("room");
    fs::write(&mark, "step-7\n").expect("room");
    let Some((kind, rest)) = bytes.split_first() else { return };
    match *kind {
        MANIFEST => write("manifest.json", rest),
        MARK => {
            write("manifest.json", sound.manifest.to_string().as_bytes());
            fs::write(&mark, rest).expect("room");
        }
        _ => {
            let mut manifest = sound.manifest.clone();
            for (name, piece) in FILES.iter().zip(pieces(rest)).filter(|(_, piece)| !piece.is_empty()) {
                write(name, piece);
                manifest["files"][name]["bytes"] = piece.len().into();
                manifest["files"][name]["sha256"] = format!("{:x}", Sha256::digest(piece)).into();
            }
            write("manifest.json", manifest.to_string().as_bytes());
        }
    }
    let path = if *kind == MARK { &mark } else { sound.folder.path() };
    if let Ok(checkpoint) = Checkpoint::open(path) {
        use_it(&checkpoint);
    }
    for (name, content) in &sound.files {
        write(name, content);
    }
});
