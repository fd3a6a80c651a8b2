//! Zip archives to order.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// One member as it is to appear in an archive; sizes may be lies.
pub struct Entry {
    pub name: &'static str,
    pub packed: Vec<u8>,
    pub size: u32,
    pub checksum: u32,
    pub method: u16,
    pub flags: u16,
}

impl Entry {
    pub fn deflated(name: &'static str, content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        Self { packed: encoder.finish().unwrap(), method: 8, ..Self::stored(name, content) }
    }

    pub fn stored(name: &'static str, content: &[u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(content);
        Self {
            name,
            packed: content.to_vec(),
            size: content.len() as u32,
            checksum: crc.sum(),
            method: 0,
            flags: 0,
        }
    }

    /// The fields that a member's own header and its entry in the list have in common.
    fn common(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [20, self.flags, self.method, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [self.checksum, self.packed.len() as u32, self.size] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend(0u16.to_le_bytes());
        bytes
    }
}

pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for entry in entries {
        list.extend(b"PK\x01\x02\x14\x00");
        list.extend(entry.common());
        list.extend([0; 10]);
        list.extend((bytes.len() as u32).to_le_bytes());
        list.extend(entry.name.as_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(entry.common());
        bytes.extend(entry.name.as_bytes());
        bytes.extend(&entry.packed);
    }
    let start = bytes.len() as u32;
    bytes.extend(&list);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((entries.len() as u16).to_le_bytes());
    bytes.extend((list.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}
