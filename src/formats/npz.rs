//! NumPy's `.npz`, of one float32 array: the reference's `word_emb.npz`.

use thiserror::Error;

use super::zip::{Archive, ZipError};

/// Bytes that are unpacked at most; the largest vocabulary's vectors have some 40 MB.
const MAX_BYTES: u64 = 1 << 30;

/// What can be wrong with an array file.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum NpzError {
    #[error(transparent)]
    Zip(#[from] ZipError),
    #[error("the archive holds {found:?}, expected a single .npy array")]
    Members { found: Vec<String> },
    #[error("{name} is no .npy array: {problem}")]
    Header { name: String, problem: String },
    #[error("{name} holds {found} bytes of numbers, its shape {shape:?} needs {expected}")]
    Length { name: String, shape: Vec<usize>, found: usize, expected: u128 },
}

/// An array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The name under which it was saved.
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Reads an archive, compressed or not, that holds one float32 array.
pub fn read_array(bytes: &[u8]) -> Result<Array, NpzError> {
    let archive = Archive::new(bytes)?;
    let [member] = archive.members() else {
        let found = archive.members().iter().take(10).map(|member| member.name.clone()).collect();
        return Err(NpzError::Members { found });
    };
    let content = archive.read(member, MAX_BYTES)?;
    Archive::check(member, &content)?;
    let problem = |problem: String| NpzError::Header { name: member.name.clone(), problem };
    let (header, data) =
        split(&content).ok_or_else(|| problem("it does not begin like one, or was cut".to_owned()))?;
    let shape = shape(header).map_err(problem)?;
    let expected =
        shape.iter().try_fold(4u128, |size, &side| size.checked_mul(side as u128)).unwrap_or(u128::MAX);
    if data.len() as u128 != expected {
        return Err(NpzError::Length { name: member.name.clone(), shape, found: data.len(), expected });
    }
    let values = data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let name = member.name.strip_suffix(".npy").unwrap_or(&member.name).to_owned();
    Ok(Array { name, shape, values })
}

/// Shape and length of the header of a float32 `.npy` file that begins with these bytes.
pub(super) fn npy_header(start: &[u8]) -> Result<(Vec<usize>, usize), String> {
    let (header, data) = split(start).ok_or("it does not begin like a .npy file")?;
    Ok((shape(header)?, start.len() - data.len()))
}

/// The header text and the numbers after it.
fn split(content: &[u8]) -> Option<(&str, &[u8])> {
    let rest = content.strip_prefix(b"\x93NUMPY")?;
    let (&[major, _minor], rest) = rest.split_first_chunk()?;
    let (length, rest) = if major == 1 {
        let (length, rest) = rest.split_first_chunk()?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk()?;
        (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
    };
    let (header, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// The shape in a header `{'descr': '<f4', 'fortran_order': False, 'shape': (19, 300), }`.
fn shape(header: &str) -> Result<Vec<usize>, String> {
    let value = |key: &str| {
        let (_, rest) =
            header.split_once(&format!("'{key}':")).ok_or_else(|| format!("its header has no {key}"))?;
        Ok::<&str, String>(rest.trim_start())
    };
    let descr = value("descr")?;
    if !descr.starts_with("'<f4'") {
        let found: String = descr.chars().take_while(|&c| c != ',').take(20).collect();
        return Err(format!("its numbers are {found}, expected '<f4' (float32)"));
    }
    if !value("fortran_order")?.starts_with("False") {
        return Err("it is stored column by column, expected row by row".to_owned());
    }
    let tuple = value("shape")?;
    let sides = tuple.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(sides, _)| sides);
    sides
        .ok_or("its shape is no tuple".to_owned())?
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty())
        .map(|side| side.parse().map_err(|_| format!("its shape has {side:?} for a size")))
        .collect()
}
