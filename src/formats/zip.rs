//! Zip archives in memory, as NumPy and PyTorch write them: members stored or deflated, also with
//! 64-bit sizes. Each member's size is known before it is unpacked, and no more is unpacked.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use thiserror::Error;

/// Members that are read at most; a checkpoint has a few thousand.
const MAX_MEMBERS: u64 = 1 << 20;

/// What can be wrong with an archive.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ZipError {
    #[error("not a zip archive, or one that was cut: no end record found")]
    NoEnd,
    #[error("the zip archive is damaged: {what} at byte {position} is not where it should be or was cut")]
    Damaged { what: &'static str, position: u64 },
    #[error("the zip archive says it has {found} members, at most {MAX_MEMBERS} are read")]
    Members { found: u64 },
    #[error("the zip archive has two members named {name}")]
    Twice { name: String },
    #[error("member {name} of the zip archive is {what}, which is not read")]
    Unsupported { name: String, what: &'static str },
    #[error("member {name} of the zip archive has {found} bytes, at most {limit} are read here")]
    TooLarge { name: String, found: u64, limit: u64 },
    #[error("member {name} of the zip archive does not unpack to the {expected} bytes it says it has")]
    Unpacking { name: String, expected: u64 },
    #[error("member {name} of the zip archive has checksum {found:08x}, expected {expected:08x}")]
    Checksum { name: String, found: u32, expected: u32 },
}

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Bytes when unpacked.
    pub size: u64,
    checksum: u32,
    deflated: bool,
    packed: u64,
    header: u64,
}

impl Member {
    /// Whether its writer computed one. (0 may also be a checksum, of one file in four thousand million.)
    pub fn has_checksum(&self) -> bool {
        self.checksum != 0
    }
}

/// An archive whose list of members was read and found sound.
#[derive(Clone, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    members: Vec<Member>,
}

impl<'a> Archive<'a> {
    /// Reads the list of members.
    pub fn new(bytes: &'a [u8]) -> Result<Self, ZipError> {
        let (count, start) = end_record(bytes)?;
        if count > MAX_MEMBERS {
            return Err(ZipError::Members { found: count });
        }
        let (mut members, mut names, mut position) = (Vec::new(), HashSet::new(), start);
        for _ in 0..count {
            let (member, next) = entry(bytes, position)?;
            if !names.insert(member.name.clone()) {
                return Err(ZipError::Twice { name: member.name });
            }
            members.push(member);
            position = next;
        }
        Ok(Self { bytes, members })
    }

    /// All members in the order of the archive's list.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The member's bytes, borrowed if it is stored as it is. More than `limit` bytes are an error.
    /// The checksum is not looked at: [`Archive::check`].
    pub fn read(&self, member: &Member, limit: u64) -> Result<Cow<'a, [u8]>, ZipError> {
        let name = || member.name.clone();
        if member.size > limit {
            return Err(ZipError::TooLarge { name: name(), found: member.size, limit });
        }
        let wrong = |what| move || ZipError::Damaged { what, position: member.header };
        let header = slice(self.bytes, member.header, 30).filter(|h| h.starts_with(b"PK\x03\x04"));
        let header = header.ok_or_else(wrong("a member"))?;
        let start = member.header + 30 + u64::from(u16_at(header, 26)) + u64::from(u16_at(header, 28));
        let packed = slice(self.bytes, start, member.packed).ok_or_else(wrong("the content of a member"))?;
        let unpacking = || ZipError::Unpacking { name: name(), expected: member.size };
        if !member.deflated {
            return if member.packed == member.size { Ok(Cow::Borrowed(packed)) } else { Err(unpacking()) };
        }
        // The buffer grows with what really comes out; a size that is a lie costs nothing.
        let mut unpacked = Vec::new();
        let mut decoder = DeflateDecoder::new(packed).take(member.size.saturating_add(1));
        decoder.read_to_end(&mut unpacked).map_err(|_| unpacking())?;
        if unpacked.len() as u64 == member.size { Ok(Cow::Owned(unpacked)) } else { Err(unpacking()) }
    }

    /// Compares the bytes of a member with its checksum. (PyTorch may be told to write none.)
    pub fn check(member: &Member, bytes: &[u8]) -> Result<(), ZipError> {
        let mut crc = Crc::new();
        crc.update(bytes);
        let (found, expected) = (crc.sum(), member.checksum);
        if found == expected {
            return Ok(());
        }
        Err(ZipError::Checksum { name: member.name.clone(), found, expected })
    }
}

/// Number of members and where their list begins.
fn end_record(bytes: &[u8]) -> Result<(u64, u64), ZipError> {
    // The record is 22 bytes long and followed by a comment of at most 65 535.
    let earliest = bytes.len().saturating_sub(22 + 0xffff);
    let at = (earliest..(bytes.len() + 1).saturating_sub(22))
        .rev()
        .find(|&at| {
            bytes[at..].starts_with(b"PK\x05\x06")
                && usize::from(u16_at(bytes, at + 20)) == bytes.len() - at - 22
        })
        .ok_or(ZipError::NoEnd)?;
    let (count, start) = (u64::from(u16_at(bytes, at + 10)), u64::from(u32_at(bytes, at + 16)));
    if count != 0xffff && start != 0xffff_ffff {
        return Ok((count, start));
    }
    // A locator before the record says where the record with 64-bit numbers is.
    let Some(locator) = at.checked_sub(20).map(|l| &bytes[l..at]).filter(|l| l.starts_with(b"PK\x06\x07"))
    else {
        return Ok((count, start));
    };
    let position = u64_at(locator, 8);
    let record = slice(bytes, position, 56).filter(|record| record.starts_with(b"PK\x06\x06"));
    let record = record.ok_or(ZipError::Damaged { what: "the 64-bit end record", position })?;
    Ok((u64_at(record, 32), u64_at(record, 48)))
}

/// A member in the list, and where the next begins.
fn entry(bytes: &[u8], position: u64) -> Result<(Member, u64), ZipError> {
    let damaged = || ZipError::Damaged { what: "the list of members", position };
    let fixed = slice(bytes, position, 46).filter(|e| e.starts_with(b"PK\x01\x02")).ok_or_else(damaged)?;
    let [name, extra, comment] = [28, 30, 32].map(|at| u64::from(u16_at(fixed, at)));
    let raw = slice(bytes, position + 46, name).ok_or_else(damaged)?;
    let extra_fields = slice(bytes, position + 46 + name, extra).ok_or_else(damaged)?;
    let mut member = Member {
        name: String::from_utf8_lossy(raw).into_owned(),
        size: u64::from(u32_at(fixed, 24)),
        checksum: u32_at(fixed, 16),
        deflated: u16_at(fixed, 10) == 8,
        packed: u64::from(u32_at(fixed, 20)),
        header: u64::from(u32_at(fixed, 42)),
    };
    if u16_at(fixed, 8) & 1 != 0 {
        return Err(ZipError::Unsupported { name: member.name, what: "encrypted" });
    }
    if !matches!(u16_at(fixed, 10), 0 | 8) {
        return Err(ZipError::Unsupported { name: member.name, what: "packed in another way than deflate" });
    }
    // Numbers that don't fit in 32 bits stand, in this order, in the extra field number 1.
    let mut wide = wide_numbers(extra_fields);
    for number in [&mut member.size, &mut member.packed, &mut member.header] {
        if *number == 0xffff_ffff
            && let Some((first, rest)) = wide.split_first_chunk()
        {
            (*number, wide) = (u64::from_le_bytes(*first), rest);
        }
    }
    Ok((member, position + 46 + name + extra + comment))
}

fn wide_numbers(mut fields: &[u8]) -> &[u8] {
    while fields.len() >= 4 {
        let (id, length) = (u16_at(fields, 0), usize::from(u16_at(fields, 2)));
        let Some(content) = fields.get(4..4 + length) else { break };
        if id == 1 {
            return content;
        }
        fields = &fields[4 + length..];
    }
    &[]
}

fn slice(bytes: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let end = usize::try_from(start.checked_add(length)?).ok()?;
    bytes.get(usize::try_from(start).ok()?..end)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
