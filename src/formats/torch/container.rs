//! Where the pickle and the storages of a file are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::legacy::{self, MAGIC};
use super::{ALLOWED, TorchError, TorchFile};
use crate::formats::pickle::{Limits, Pickle};
use crate::formats::zip::{Archive, Member};

/// Members may unpack to this many times the size of the file: PyTorch doesn't compress.
const MAX_RATIO: u64 = 16;
const SLACK: u64 = 1 << 20;

/// A file whose parts were found.
#[derive(Debug)]
pub struct Container<'a> {
    bytes: &'a [u8],
    pickle: Cow<'a, [u8]>,
    storages: Storages<'a>,
}

#[derive(Debug)]
enum Storages<'a> {
    Zip {
        archive: Archive<'a>,
        /// Members by the key of their storage.
        members: HashMap<String, Member>,
    },
    Legacy(HashMap<String, Range<usize>>),
}

impl<'a> Container<'a> {
    /// Recognises the form of a file in memory and finds its parts.
    pub fn open(bytes: &'a [u8]) -> Result<Self, TorchError> {
        if bytes.starts_with(b"PK") {
            return Self::zip(bytes);
        }
        if bytes.starts_with(MAGIC) {
            let (pickle, storages) = legacy::locate(bytes)?;
            let pickle = Cow::Borrowed(&bytes[pickle]);
            return Ok(Self { bytes, pickle, storages: Storages::Legacy(storages) });
        }
        Err(TorchError::Kind { found: recognise(bytes) })
    }

    fn zip(bytes: &'a [u8]) -> Result<Self, TorchError> {
        let archive = Archive::new(bytes)?;
        let found = archive.members().iter().fold(0u64, |sum, member| sum.saturating_add(member.size));
        let limit = (bytes.len() as u64).saturating_mul(MAX_RATIO).saturating_add(SLACK);
        if found > limit {
            return Err(TorchError::Bomb { found, limit });
        }
        let mut pickles =
            archive.members().iter().filter(|m| m.name.split('/').next_back() == Some("data.pkl"));
        let (Some(member), None) = (pickles.next(), pickles.next()) else {
            let names: Vec<&str> = archive.members().iter().take(5).map(|m| m.name.as_str()).collect();
            let found = format!("{} members: {}", archive.members().len(), names.join(", "));
            return Err(TorchError::NoPickle { found });
        };
        let prefix = member.name.strip_suffix("data.pkl").unwrap_or_default().to_owned();
        let pickle = content(&archive, member)?;
        if let Some(order) = archive.member(&format!("{prefix}byteorder"))
            && &*content(&archive, order)? == b"big"
        {
            return Err(TorchError::ByteOrder);
        }
        let folder = format!("{prefix}data/");
        let members = archive.members().iter();
        let members = members.filter_map(|m| Some((m.name.strip_prefix(&folder)?.to_owned(), m.clone())));
        let members = members.collect();
        Ok(Self { bytes, pickle, storages: Storages::Zip { archive, members } })
    }

    /// Reads the pickle.
    pub fn read(&self) -> Result<TorchFile<'_>, TorchError> {
        // A checkpoint's table of contents has some 30 values for each tensor.
        let limits = Limits { nodes: 1 << 22, memo: 1 << 22, ..Limits::default() };
        Ok(TorchFile { pickle: Pickle::read(&self.pickle, ALLOWED, limits)?, container: self })
    }

    /// The bytes of a storage.
    pub(super) fn storage(&self, key: &str) -> Result<Cow<'_, [u8]>, TorchError> {
        let missing =
            || TorchError::Storage { key: short(key), problem: "the file does not have it".to_owned() };
        match &self.storages {
            Storages::Zip { archive, members } => content(archive, members.get(key).ok_or_else(missing)?),
            Storages::Legacy(ranges) => {
                let range = ranges.get(key).ok_or_else(missing)?;
                Ok(Cow::Borrowed(&self.bytes[range.clone()]))
            }
        }
    }
}

fn content<'a>(archive: &Archive<'a>, member: &Member) -> Result<Cow<'a, [u8]>, TorchError> {
    let bytes = archive.read(member, u64::MAX)?;
    // PyTorch may be told to compute none.
    if member.has_checksum() {
        Archive::check(member, &bytes)?;
    }
    Ok(bytes)
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

/// What a file that is none of PyTorch's may be.
fn recognise(bytes: &[u8]) -> String {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]).trim_start().to_lowercase();
    if bytes.is_empty() {
        return "it is empty".to_owned();
    }
    if start.starts_with("<!doctype") || start.starts_with("<html") {
        return "it is a web page; download the file itself".to_owned();
    }
    if bytes.len() > 9 && bytes[8] == b'{' {
        return "it looks like safetensors, which needs no conversion".to_owned();
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return "it is a tar archive, as PyTorch wrote before 0.1.10; load it in Python and save it again"
            .to_owned();
    }
    if start.starts_with("version https://git-lfs") {
        return "it is a pointer of Git LFS; download the file itself".to_owned();
    }
    format!("it begins with \"{}\"", bytes[..bytes.len().min(8)].escape_ascii())
}
