//! PyTorch files of the old form, to order.

use candle_core::{DType, Tensor};

/// A Python value.
pub enum Py {
    None,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Py>),
    Dict(Vec<(Py, Py)>),
    /// float32 or int64.
    Tensor(Tensor),
}

impl Py {
    /// A dict with keys of text.
    pub fn dict(pairs: impl IntoIterator<Item = (String, Py)>) -> Self {
        Self::Dict(pairs.into_iter().map(|(key, value)| (Self::Text(key), value)).collect())
    }
}

/// As `torch.save(value, path, _use_new_zipfile_serialization=False)` writes it.
pub fn legacy(value: &Py) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02".to_vec();
    let mut storages = Vec::new();
    write(value, &mut bytes, &mut storages);
    bytes.extend(b".\x80\x02](");
    (0..storages.len()).for_each(|key| text(&key.to_string(), &mut bytes));
    bytes.extend(b"e.");
    for tensor in storages {
        bytes.extend((tensor.elem_count() as u64).to_le_bytes());
        let flat = tensor.flatten_all().unwrap();
        match tensor.dtype() {
            DType::I64 => bytes.extend(flat.to_vec1::<i64>().unwrap().iter().flat_map(|v| v.to_le_bytes())),
            _ => bytes.extend(flat.to_vec1::<f32>().unwrap().iter().flat_map(|v| v.to_le_bytes())),
        }
    }
    bytes
}

fn text(text: &str, code: &mut Vec<u8>) {
    code.push(b'X');
    code.extend((text.len() as u32).to_le_bytes());
    code.extend(text.as_bytes());
}

fn integer(number: i64, code: &mut Vec<u8>) {
    code.extend(b"\x8a\x08");
    code.extend(number.to_le_bytes());
}

fn tuple(numbers: &[usize], code: &mut Vec<u8>) {
    code.push(b'(');
    numbers.iter().for_each(|&number| integer(number as i64, code));
    code.push(b't');
}

fn write<'a>(value: &'a Py, code: &mut Vec<u8>, storages: &mut Vec<&'a Tensor>) {
    match value {
        Py::None => code.push(b'N'),
        Py::Int(number) => integer(*number, code),
        Py::Float(number) => {
            code.push(b'G');
            code.extend(number.to_be_bytes());
        }
        Py::Bool(truth) => code.push(if *truth { 0x88 } else { 0x89 }),
        Py::Text(value) => text(value, code),
        Py::List(items) => {
            code.extend(b"](");
            items.iter().for_each(|item| write(item, code, storages));
            code.push(b'e');
        }
        Py::Dict(pairs) => {
            code.extend(b"}(");
            for (key, value) in pairs {
                write(key, code, storages);
                write(value, code, storages);
            }
            code.push(b'u');
        }
        Py::Tensor(tensor) => {
            code.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            text("storage", code);
            let class = if tensor.dtype() == DType::I64 { "LongStorage" } else { "FloatStorage" };
            code.extend(format!("ctorch\n{class}\n").as_bytes());
            text(&storages.len().to_string(), code);
            text("cuda:0", code);
            integer(tensor.elem_count() as i64, code);
            code.extend(b"tQK\0");
            tuple(tensor.dims(), code);
            tuple(&tensor.stride()[..tensor.rank()], code);
            code.extend(b"\x89ccollections\nOrderedDict\n)RtR");
            storages.push(tensor);
        }
    }
}
