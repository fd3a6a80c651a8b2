//! PyTorch files: golden ones (written by PyTorch, contents in `expected.json`), cut ones, changed
//! ones, and ones that were made to do harm.

#[path = "common/archive.rs"]
mod archive;

use std::path::Path;

use archive::{Entry, archive};
use partial_res::formats::pickle::{PickleError, Value};
use partial_res::formats::torch::{Container, TorchError, TorchFile};
use partial_res::formats::zip::ZipError;
use serde_json::Value as Json;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/formats");

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(FOLDER).join(name)).unwrap()
}

fn expected(key: &str) -> Json {
    serde_json::from_slice::<Json>(&golden("expected.json")).unwrap()[key].take()
}

/// Whether the value is what the JSON says, exactly. `module.` may stand before names of tensors.
fn compare(file: &TorchFile, value: Value, json: &Json, place: &str) {
    match json {
        Json::Object(tensor) if tensor.contains_key("dtype") => {
            let found = file.tensor(value).unwrap_or_else(|| panic!("{place}: no tensor")).unwrap();
            assert_eq!(found.dtype.name(), tensor["dtype"], "{place}");
            assert_eq!(Json::from(found.shape.clone()), tensor["shape"], "{place}");
            let values: Vec<f64> =
                tensor["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            assert_eq!(found.to_f64(), values, "{place}");
            let halves: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            assert_eq!(found.to_f32(), halves, "{place}");
        }
        Json::Object(dict) => {
            let pairs = file.pairs(value).unwrap_or_else(|| panic!("{place}: no dict"));
            let dict: Vec<_> = dict.iter().filter(|(key, _)| *key != "parameter_order").collect();
            // Of settings the golden file has those that matter.
            let settings = place.contains("param_groups") || place.ends_with("scheduler");
            assert!(pairs.len() == dict.len() || settings, "{place}");
            for (key, json) in dict {
                let found = file
                    .get(value, key)
                    .or_else(|| file.get(value, &format!("module.{key}")))
                    .or_else(|| {
                        let number = Value::Int(key.parse().ok()?);
                        pairs.iter().find(|(k, _)| *k == number).map(|(_, value)| *value)
                    });
                compare(
                    file,
                    found.unwrap_or_else(|| panic!("{place}.{key}")),
                    json,
                    &format!("{place}.{key}"),
                );
            }
        }
        Json::Array(list) => {
            let items = file.items(value).unwrap_or_else(|| panic!("{place}: no list"));
            assert_eq!(items.len(), list.len(), "{place}");
            for (i, (item, json)) in items.iter().zip(list).enumerate() {
                compare(file, *item, json, &format!("{place}[{i}]"));
            }
        }
        Json::String(text) => {
            let found = file.text(value).map(|text| text.as_bytes().to_vec());
            let found = found.or_else(|| file.bytes(value).map(|bytes| bytes.to_vec()));
            assert_eq!(found.as_deref(), Some(text.as_bytes()), "{place}");
        }
        Json::Number(number) => assert_eq!(file.number(value), number.as_f64(), "{place}"),
        Json::Bool(truth) => assert_eq!(value, Value::Bool(*truth), "{place}"),
        Json::Null => assert_eq!(value, Value::None, "{place}"),
    }
}

#[test]
fn golden_files_hold_exactly_what_they_should() {
    for (key, names) in [
        (
            "checkpoint",
            &[
                "ckpt_zip.pth",
                "ckpt_zip_module_cuda_numpy.pth",
                "ckpt_zip_module_cuda_numpy1.pth",
                "ckpt_legacy.pth",
                "ckpt_legacy_module_cuda.pth",
            ][..],
        ),
        ("odd", &["odd_tensors_zip.pth", "odd_tensors_legacy.pth"][..]),
        ("refine", &["refine_zip.pth", "refine_legacy.pth"][..]),
    ] {
        let expected = expected(key);
        for name in names {
            let bytes = golden(name);
            let container = Container::open(&bytes).unwrap();
            let file = container.read().unwrap();
            let value = if key == "odd" { file.get(file.root(), "state_dict").unwrap() } else { file.root() };
            compare(&file, value, &expected, name);
        }
    }
}

/// Reads all there is in a file; the errors of tensors don't stop it.
fn read_all(bytes: &[u8]) -> Result<usize, TorchError> {
    let container = Container::open(bytes)?;
    let file = container.read()?;
    let mut elements = 0;
    let mut values = vec![file.root()];
    let mut steps = 0;
    while let Some(value) = values.pop() {
        steps += 1;
        if steps > 10_000 {
            break;
        }
        file.describe(value);
        file.number(value);
        elements += file.bytes(value).map_or(0, |bytes| bytes.len());
        if let Some(Ok(tensor)) = file.tensor(value) {
            elements += tensor.to_f32().len() + tensor.to_i64().len();
        }
        values.extend(file.items(value).unwrap_or_default());
        values.extend(file.pairs(value).unwrap_or_default().iter().flat_map(|(k, v)| [*k, *v]));
    }
    Ok(elements)
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in
        ["odd_tensors_zip.pth", "odd_tensors_legacy.pth", "refine_zip.pth", "ckpt_legacy_module_cuda.pth"]
    {
        let bytes = golden(name);
        assert!(read_all(&bytes).unwrap() > 0, "{name}");
        for length in 0..bytes.len() {
            assert!(read_all(&bytes[..length]).is_err(), "{name} cut to {length}");
        }
    }
}

#[test]
fn changed_bytes_never_panic() {
    for name in ["odd_tensors_zip.pth", "odd_tensors_legacy.pth"] {
        let whole = golden(name);
        for at in 0..whole.len() {
            for change in [0x01, 0x20, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                drop(read_all(&bytes));
            }
        }
    }
}

/// The pickle of a tensor over storage "0" of four float32. The arguments are pickle code.
fn tensor(offset: &[u8], size: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut code =
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n".to_vec();
    code.extend(b"X\x01\0\0\x000X\x06\0\0\0cuda:0K\x04tQ");
    for part in [offset, size, strides] {
        code.extend(part);
    }
    code.extend(b"\x89ccollections\nOrderedDict\n)RtR.");
    code
}

const FOUR: [u8; 16] = [0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 64];

/// Both forms of a file with these values and the storage 1, 2, 3, 4, of which `bytes` are there.
fn files(pickle: &[u8], bytes: usize) -> [Vec<u8>; 2] {
    let zip = archive(&[Entry::stored("x/data.pkl", pickle), Entry::stored("x/data/0", &FOUR[..bytes])]);
    let mut legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    legacy.extend(pickle);
    legacy.extend(b"\x80\x02]X\x01\0\0\x000a.\x04\0\0\0\0\0\0\0");
    legacy.extend(&FOUR[..bytes]);
    [zip, legacy]
}

fn values(bytes: &[u8]) -> Result<Vec<f32>, TorchError> {
    let container = Container::open(bytes)?;
    let file = container.read()?;
    Ok(file.tensor(file.root()).unwrap()?.to_f32())
}

#[test]
fn views_are_read_and_lies_about_them_are_answered() {
    let read = |offset: &[u8], size: &[u8], strides: &[u8]| {
        let [zip, legacy] = files(&tensor(offset, size, strides), 16).map(|file| values(&file));
        assert_eq!(zip, legacy);
        zip.map_err(|error| error.to_string())
    };
    assert_eq!(read(b"K\0", b"(K\x02K\x02t", b"(K\x01K\x02t"), Ok(vec![1., 3., 2., 4.]));
    assert_eq!(read(b"K\x01", b"(K\x03t", b"(K\x01t"), Ok(vec![2., 3., 4.]));
    // Expanded: a stride of 0, as PyTorch writes it.
    assert_eq!(read(b"K\x03", b"(K\x02K\x02t", b"(K\0K\0t"), Ok(vec![4.; 4]));
    assert_eq!(read(b"K\0", b"(K\0K\x05t", b"(K\x05K\x01t"), Ok(vec![]));

    let big = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let with = |parts: &[&[u8]]| parts.concat();
    let exabyte = with(&[b"(", big, big, b"t"]);
    for (offset, size, strides, expected) in [
        (b"J\xff\xff\xff\xff" as &[u8], b"(K\x02t" as &[u8], b"(K\x01t" as &[u8], "begins at the integer -1"),
        (b"K\x03", b"(K\x02t", b"(K\x01t", "reaches beyond its storage of 4 elements"),
        (big, b"(K\x02t", b"(K\x01t", "reaches beyond its storage"),
        (b"K\0", b"(J\xfe\xff\xff\xfft", b"(K\x01t", "no counts"),
        (b"K\0", b"(K\x02t", b"(J\xff\xff\xff\xfft", "no counts"),
        (b"K\0", b"(K\x02K\x02t", b"(K\x01t", "has shape [2, 2] and strides [1]"),
        (b"K\0", b"(K\x05t", b"(K\x01t", "reaches beyond"),
        (b"K\0", &exabyte, b"(K\0K\0t", "has shape [9223372036854775807, 9223372036854775807]"),
        (b"K\0", &with(&[b"(", big, b"t"]), b"(K\0t", "in a storage of 4 elements"),
        (b"K\0", b"(K\x02t", &with(&[b"(", big, b"t"]), "reaches beyond"),
        (b"N", b"(K\x02t", b"(K\x01t", "begins at None"),
        (b"K\0", b"N", b"(K\x01t", "no counts"),
    ] {
        let message = read(offset, size, strides).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn storages_must_hold_what_is_announced() {
    let pickle = tensor(b"K\0", b"(K\x04t", b"(K\x01t");
    let [zip, legacy] = files(&pickle, 12);
    let message = values(&zip).unwrap_err().to_string();
    assert!(message.contains("storage 0: 12 bytes, but 4 elements of 4"), "{message}");
    assert!(matches!(values(&legacy), Err(TorchError::Truncated { .. })));
    let without = archive(&[Entry::stored("x/data.pkl", &pickle)]);
    assert!(values(&without).unwrap_err().to_string().contains("storage 0: the file does not have it"));
}

#[test]
fn what_is_no_checkpoint_is_recognised() {
    for (bytes, expected) in [
        (b"" as &[u8], "it is empty"),
        (b"\n<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\x10\0\0\0\0\0\0\0{\"a\":1}", "it looks like safetensors"),
        (b"hello", "it begins with \"hello\""),
    ] {
        let message = read_all(bytes).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn hostile_pickles_and_archives_are_answered() {
    // In either form: a call of os.system, a huge integer, a megabyte of nested tuples that are
    // harmless as long as nobody walks them, lists of lists that double.
    for file in files(b"cos\nsystem\n(S'true'\ntR.", 16) {
        let found = TorchError::Pickle(PickleError::Global { module: "os".into(), name: "system".into() });
        assert_eq!(read_all(&file), Err(found));
    }
    for file in files(b"\x8a\x09123456789.", 16) {
        assert!(matches!(read_all(&file), Err(TorchError::Pickle(PickleError::BigInteger { bytes: 9, .. }))));
    }
    let mut nested = vec![b')'];
    nested.extend(vec![0x85; 1_000_000]);
    nested.push(b'.');
    let mut doubling = b"]q\0".to_vec();
    for _ in 0..1000 {
        doubling.extend(b"]q\x01h\0ah\x01aq\0");
    }
    doubling.push(b'.');
    for pickle in [nested, doubling] {
        let [zip, _] = files(&pickle, 16);
        assert_eq!(read_all(&zip), Ok(0));
    }

    let pickle = tensor(b"K\0", b"(K\x04t", b"(K\x01t");
    let data = || Entry::stored("x/data.pkl", &pickle);
    let storage = || Entry::stored("x/data/0", &FOUR);
    assert_eq!(values(&archive(&[data(), Entry::deflated("x/data/0", &FOUR)])), Ok(vec![1., 2., 3., 4.]));
    let bomb = archive(&[data(), Entry::deflated("x/data/0", &vec![0; 100 << 20])]);
    assert!(matches!(values(&bomb), Err(TorchError::Bomb { .. })));
    let liar = archive(&[data(), Entry { size: 16, ..Entry::deflated("x/data/0", &vec![0; 100 << 20]) }]);
    assert!(matches!(values(&liar), Err(TorchError::Zip(ZipError::Unpacking { expected: 16, .. }))));
    let zip = |entries: &[Entry]| values(&archive(entries)).unwrap_err();
    assert!(matches!(zip(&[data(), storage(), storage()]), TorchError::Zip(ZipError::Twice { .. })));
    let encrypted = Entry { flags: 1, ..storage() };
    assert!(matches!(
        zip(&[data(), encrypted]),
        TorchError::Zip(ZipError::Unsupported { what: "encrypted", .. })
    ));
    assert!(matches!(
        zip(&[data(), Entry { checksum: 1, ..storage() }]),
        TorchError::Zip(ZipError::Checksum { .. })
    ));
    assert!(values(&archive(&[data(), Entry { checksum: 0, ..storage() }])).is_ok());
    assert!(matches!(zip(&[storage()]), TorchError::NoPickle { .. }));
    let big = Entry::stored("x/byteorder", b"big");
    assert_eq!(zip(&[data(), storage(), big]), TorchError::ByteOrder);
}
