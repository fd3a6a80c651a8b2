//! What a run ended in.

use std::fs;
use std::path::Path;

use partial_res::checkpoint::Checkpoint;
use partial_res::report::read_results;

/// Without what the clock says.
#[derive(PartialEq)]
pub struct End {
    /// The bytes of the last checkpoint's weights, averaged weights and optimizer's state.
    pub tensors: [Vec<u8>; 3],
    /// The rows of `results.csv`.
    pub results: Vec<String>,
}

pub fn end(run: &Path) -> End {
    let folder = Checkpoint::open(run).unwrap().folder;
    let tensors = ["model", "ema", "optimizer"]
        .map(|name| fs::read(folder.join(format!("{name}.safetensors"))).unwrap());
    let mut rows = read_results(&run.join("results.csv")).unwrap();
    rows.iter_mut().for_each(|row| (row.samples_per_s, row.seconds) = (None, None));
    End { tensors, results: rows.into_iter().map(|row| format!("{row:?}")).collect() }
}
