//! Annotation files that hold part of another one: records as they stand, every other split kept.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::PseudoError;
use crate::data::Annotations;
use crate::report::{ReportError, write_whole};

/// SHA-256 of a text or of bytes, lower-case hexadecimal: what identifies an annotation file.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An error if the file exists, unless `force`.
pub fn refuse_to_replace(path: &Path, force: bool) -> Result<(), PseudoError> {
    if path.exists() && !force {
        return Err(PseudoError::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// Writes `{split: [records]}` with the `records` given for one split, and all other splits as they
/// are in `others`. What it was made from goes into `<name>.provenance.json` beside it, because the
/// layout of the file itself has no room for anything but splits.
pub(super) fn write_subset(
    path: &Path,
    others: &Annotations,
    split: &str,
    records: &[Cow<'_, str>],
    provenance: &impl Serialize,
) -> Result<(), PseudoError> {
    let write = |file: &mut std::fs::File| -> std::io::Result<()> {
        let mut out = BufWriter::new(file);
        out.write_all(b"{")?;
        for (i, name) in others.splits().enumerate() {
            let key = serde_json::to_string(name)?;
            write!(out, "{}{key}: [", if i > 0 { ", " } else { "" })?;
            let mut separator = "";
            let mut put = |record: &str| -> std::io::Result<()> {
                out.write_all(separator.as_bytes())?;
                separator = ", ";
                out.write_all(record.as_bytes())
            };
            if name == split {
                records.iter().try_for_each(|record| put(record))?;
            } else if let Ok(records) = others.records(name) {
                records.into_iter().try_for_each(&mut put)?;
            }
            out.write_all(b"]")?;
        }
        out.write_all(b"}\n")?;
        out.flush()
    };
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError::Io { path, source }
    };
    write_whole(path, |file| write(file).map_err(io(path)))?;
    let beside = provenance_path(path);
    let text = serde_json::to_string_pretty(provenance).expect("plain data") + "\n";
    write_whole(&beside, |file| file.write_all(text.as_bytes()).map_err(io(&beside)))?;
    Ok(())
}

/// Where the origin of an annotation file is written down.
pub fn provenance_path(path: &Path) -> PathBuf {
    path.with_extension("provenance.json")
}
