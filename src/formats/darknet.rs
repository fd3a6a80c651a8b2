//! DarkNet's `.weights`: a header, then float32 without any names.
//!
//! Per convolution, in forward order: norm bias, norm weight, running mean, running variance,
//! convolution weight (checked against a file that the reference reads, golden `darknet_order.json`).

use std::io::Read;

use thiserror::Error;

/// A convolution with its batch norm: the name before `.conv` and `.bn`, and the weight's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvUnit {
    pub name: String,
    /// `[out, in, height, width]`
    pub shape: [usize; 4],
}

impl ConvUnit {
    /// Names and shapes of the unit's tensors in the order of the file.
    fn tensors(&self) -> [(String, Vec<usize>); 5] {
        let channels = vec![self.shape[0]];
        let norm = |part: &str| (format!("{}.bn.{part}", self.name), channels.clone());
        [
            norm("bias"),
            norm("weight"),
            norm("running_mean"),
            norm("running_var"),
            (format!("{}.conv.weight", self.name), self.shape.to_vec()),
        ]
    }
}

/// A tensor of the file, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// What stands before the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub major: i32,
    pub minor: i32,
    pub revision: i32,
    /// Images seen in training; 32 bits before version 0.2, 64 since.
    pub seen: u64,
}

/// The tensors that were asked for, and how much was left.
#[derive(Clone, Debug, PartialEq)]
pub struct DarknetWeights {
    pub header: Header,
    pub tensors: Vec<NamedTensor>,
    /// Bytes after the last tensor: a whole YOLOv3 has its detection layers there.
    pub left_over: u64,
}

#[derive(Debug, Error)]
pub enum DarknetError {
    #[error("the file ends inside its header: {found} bytes, a header has 16 or 20")]
    Header { found: usize },
    #[error(
        "not a DarkNet weights file: version {major}.{minor} in the header; a PyTorch file (.pth) is for `cargo convert checkpoint`"
    )]
    Version { major: i32, minor: i32 },
    #[error(
        "the file ends too early: `{tensor}` needs {expected} bytes, {found} are left (complete layers: {complete}); \
         it was cut short, or belongs to a smaller network"
    )]
    Short { tensor: String, expected: usize, found: usize, complete: usize },
    #[error(
        "`{tensor}` has the value {value}, which none of this backbone can have: the file is of another network than DarkNet-53 or \
         YOLOv3, or damaged"
    )]
    Value { tensor: String, value: f32 },
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
}

/// Reads the tensors of `units` in order; what follows them is counted and ignored (quirk 52).
///
/// # Errors
/// A file that ends early names the first tensor that is missing; nothing is filled in.
pub fn read(mut file: impl Read, units: &[ConvUnit]) -> Result<DarknetWeights, DarknetError> {
    let header = read_header(&mut file)?;
    let mut tensors = Vec::with_capacity(5 * units.len());
    for (complete, unit) in units.iter().enumerate() {
        for (name, shape) in unit.tensors() {
            let expected = 4 * shape.iter().product::<usize>();
            let mut bytes = Vec::new();
            (&mut file).take(expected as u64).read_to_end(&mut bytes)?;
            if bytes.len() < expected {
                return Err(DarknetError::Short { tensor: name, expected, found: bytes.len(), complete });
            }
            let values: Vec<f32> =
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            // The file has no names: variances that are none tell that it is of another network.
            let lowest = if name.ends_with("running_var") { 0.0 } else { f32::NEG_INFINITY };
            if let Some(&value) = values.iter().find(|value| !value.is_finite() || **value < lowest) {
                return Err(DarknetError::Value { tensor: name, value });
            }
            tensors.push(NamedTensor { name, shape, values });
        }
    }
    let left_over = std::io::copy(&mut file, &mut std::io::sink())?;
    Ok(DarknetWeights { header, tensors, left_over })
}

fn read_header(file: &mut impl Read) -> Result<Header, DarknetError> {
    let mut bytes = Vec::new();
    file.take(16).read_to_end(&mut bytes)?;
    if bytes.len() < 16 {
        return Err(DarknetError::Header { found: bytes.len() });
    }
    let word =
        |bytes: &[u8], i: usize| i32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    let (major, minor, revision) = (word(&bytes, 0), word(&bytes, 4), word(&bytes, 8));
    if !(0..1000).contains(&major) || !(0..1000).contains(&minor) {
        return Err(DarknetError::Version { major, minor });
    }
    let low = u64::from(word(&bytes, 12) as u32);
    if major * 10 + minor < 2 {
        return Ok(Header { major, minor, revision, seen: low });
    }
    file.take(4).read_to_end(&mut bytes)?;
    if bytes.len() < 20 {
        return Err(DarknetError::Header { found: bytes.len() });
    }
    Ok(Header { major, minor, revision, seen: low | u64::from(word(&bytes, 16) as u32) << 32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: [i32; 2], seen_words: usize, floats: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = [version[0], version[1], 5].iter().flat_map(|v| v.to_le_bytes()).collect();
        bytes.extend([7u8, 0, 0, 0].iter().chain(&[0; 4]).take(4 * seen_words));
        bytes.extend((0..floats).flat_map(|i| (i as f32).to_le_bytes()));
        bytes
    }

    fn units() -> Vec<ConvUnit> {
        let unit = |name: &str, shape| ConvUnit { name: name.into(), shape };
        vec![unit("darknet.0", [2, 3, 1, 1]), unit("darknet.1", [1, 2, 1, 1])]
    }

    #[test]
    fn order_names_and_rest() {
        for (version, seen_words) in [([0, 2], 2), ([0, 1], 1)] {
            let weights = read(&file(version, seen_words, 14 + 6 + 3)[..], &units()).unwrap();
            assert_eq!((weights.header.seen, weights.left_over), (7, 12));
            let conv = &weights.tensors[4];
            assert_eq!((conv.name.as_str(), &conv.shape[..]), ("darknet.0.conv.weight", &[2, 3, 1, 1][..]));
            assert_eq!(conv.values, [8., 9., 10., 11., 12., 13.]);
            assert_eq!(weights.tensors[9].values, [18., 19.]);
        }
    }

    #[test]
    fn every_truncation_is_an_error_that_names_a_tensor_or_the_header() {
        let whole = file([0, 2], 2, 14 + 6);
        for cut in 0..whole.len() {
            match read(&whole[..cut], &units()) {
                Err(DarknetError::Header { .. }) => assert!(cut < 20),
                Err(DarknetError::Short { tensor, .. }) => {
                    assert!(tensor.starts_with("darknet."), "{tensor}")
                }
                other => panic!("{cut}: {other:?}"),
            }
        }
        assert!(read(&whole[..], &units()).is_ok());
    }

    #[test]
    fn another_kind_of_file_is_recognised() {
        let error = read(&b"<!DOCTYPE html><html>"[..], &units()).unwrap_err();
        assert!(matches!(error, DarknetError::Version { .. }), "{error}");
    }
}
