#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use partial_res::experiment::table::{Results, TableFile};
use partial_res::report::{append_results, read_results, write_results};
use tempfile::TempDir;

fn folder() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path().to_owned()
}

// All of the input is read as each of the tables that the program keeps.
fuzz_target!(|bytes: &[u8]| {
    let [results, table] = ["results.csv", "table.toml"].map(|name| folder().join(name));
    for name in ["results.csv", "cells.csv", "curves.csv", "table.toml"] {
        fs::write(folder().join(name), bytes).expect("room");
    }
    let tables = Results { folder: folder() };
    drop((tables.cells(), tables.curves(), TableFile::read(Some(&table))));
    if let Ok(rows) = read_results(&results) {
        write_results(&results, &rows[..rows.len() / 2]).expect("what was read is written");
        append_results(&results, &rows[rows.len() / 2..]).expect("what was read is written");
        let again = read_results(&results).expect("what was written is read");
        assert_eq!(format!("{again:?}"), format!("{rows:?}"));
    }
});
