//! Archives and arrays: sound ones, cut ones, and ones that lie.

#[path = "common/archive.rs"]
mod archive;

use archive::{Entry, archive};
use partial_res::formats::npz::{NpzError, read_array};
use partial_res::formats::zip::{Archive, ZipError};

/// A `.npy` file, version 1.
fn npy(descr: &str, shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[test]
fn arrays_are_read_stored_and_deflated() {
    let content = npy("'<f4'", "(2, 3)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    for entry in [Entry::stored("words.npy", &content), Entry::deflated("words.npy", &content)] {
        let array = read_array(&archive(&[entry])).unwrap();
        assert_eq!((array.name.as_str(), array.shape), ("words", vec![2, 3]));
        assert_eq!(array.values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }
    let single = read_array(&archive(&[Entry::stored("x", &npy("'<f4'", "()", &[7.0]))])).unwrap();
    assert_eq!((single.shape, single.values), (vec![], vec![7.0]));
}

#[test]
fn an_archive_cut_anywhere_is_an_error() {
    let whole = archive(&[Entry::deflated("a.npy", &npy("'<f4'", "(3,)", &[1.0, 2.0, 3.0]))]);
    assert!(read_array(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(read_array(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_harmless() {
    let whole = archive(&[Entry::deflated("a.npy", &npy("'<f4'", "(3,)", &[1.0, 2.0, 3.0]))]);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(array) = read_array(&bytes) {
            assert_eq!(array.values, [1.0, 2.0, 3.0], "bit {bit}");
        }
    }
}

#[test]
fn archives_that_lie_are_answered() {
    let content = npy("'<f4'", "(1,)", &[1.0]);
    let stored = || Entry::stored("a.npy", &content);
    let deflated = || Entry::deflated("a.npy", &content);
    let error = |entries: &[Entry]| match read_array(&archive(entries)) {
        Err(NpzError::Zip(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        error(&[Entry { flags: 1, ..stored() }]),
        ZipError::Unsupported { what: "encrypted", .. }
    ));
    assert!(matches!(error(&[Entry { method: 12, ..stored() }]), ZipError::Unsupported { .. }));
    assert!(matches!(error(&[stored(), stored()]), ZipError::Twice { .. }));
    assert!(matches!(error(&[Entry { checksum: 1, ..stored() }]), ZipError::Checksum { expected: 1, .. }));
    assert!(matches!(error(&[Entry { size: 5, ..deflated() }]), ZipError::Unpacking { expected: 5, .. }));
    assert!(matches!(error(&[Entry { size: 0xffff_0000, ..deflated() }]), ZipError::TooLarge { .. }));

    // 100 MB of zeros in 100 kB that say they are 10 bytes: no more than 11 are unpacked.
    let bomb = archive(&[Entry { size: 10, ..Entry::deflated("a.npy", &vec![0; 100 << 20]) }]);
    assert!(matches!(read_array(&bomb), Err(NpzError::Zip(ZipError::Unpacking { .. }))));
    let archive = Archive::new(&bomb).unwrap();
    assert_eq!(archive.member("a.npy").unwrap().size, 10);
}

#[test]
fn arrays_of_another_kind_are_named() {
    for (content, expected) in [
        (npy("'<f8'", "(1,)", &[1.0, 2.0]), "its numbers are '<f8', expected '<f4'"),
        (npy("'<f4'", "(1, 2)", &[1.0]), "holds 4 bytes of numbers, its shape [1, 2] needs 8"),
        (npy("'<f4'", "(999999999999, 999999999999, 999999999999)", &[1.0]), "needs 3999999999988"),
        (npy("'<f4'", "(-1,)", &[1.0]), "its shape has \"-1\" for a size"),
        (b"no array".to_vec(), "does not begin like one"),
    ] {
        let message = read_array(&archive(&[Entry::stored("a.npy", &content)])).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert!(matches!(read_array(&archive(&[])), Err(NpzError::Members { .. })));
}
