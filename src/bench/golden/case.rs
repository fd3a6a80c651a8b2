//! Reading a folder of golden data.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Result as TensorResult, Tensor};
use serde_json::Value;

use super::GoldenError;
use crate::config::{ModelConfig, Task};
use crate::model::{Inputs, Targets};

type Result<T> = std::result::Result<T, GoldenError>;

/// A JSON file and the safetensors file of the same name: what was recorded of one case, or of several.
pub(super) struct Record {
    json_path: PathBuf,
    tensors_path: PathBuf,
    pub json: Value,
    pub tensors: HashMap<String, Tensor>,
}

impl Record {
    /// `name` without extension, below the folder; the tensors stay on the CPU.
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        let [json_path, tensors_path] =
            ["json", "safetensors"].map(|extension| folder.join(format!("{name}.{extension}")));
        for path in [&json_path, &tensors_path] {
            if !path.is_file() {
                let missing = path.strip_prefix(folder).unwrap_or(path).display().to_string();
                return Err(GoldenError::Foreign { folder: folder.into(), missing });
            }
        }
        let json = json(&json_path)?;
        let tensors = candle_core::safetensors::load(&tensors_path, &Device::Cpu)
            .map_err(|source| GoldenError::Tensors { path: tensors_path.clone(), source })?;
        Ok(Self { json_path, tensors_path, json, tensors })
    }

    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| self.bad_tensor(name, "a tensor"))
    }

    /// The number at a JSON pointer (`/train_curve/loss/0`).
    pub fn number(&self, pointer: &str) -> Result<f64> {
        let value = self.json.pointer(pointer).and_then(Value::as_f64);
        value.ok_or_else(|| self.bad_field(pointer, "a number"))
    }

    pub fn bad_field(&self, pointer: &str, expected: &'static str) -> GoldenError {
        GoldenError::Field { path: self.json_path.clone(), field: pointer.to_owned(), expected }
    }

    fn bad_tensor(&self, name: &str, expected: &'static str) -> GoldenError {
        GoldenError::Field { path: self.tensors_path.clone(), field: name.to_owned(), expected }
    }
}

pub(super) fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).map_err(|source| GoldenError::Io { path: path.into(), source })?;
    serde_json::from_slice(&text).map_err(|source| GoldenError::Json { path: path.into(), source })
}

/// One model case and the configuration it was made with.
pub(super) struct Case {
    pub name: String,
    pub record: Record,
    pub cfg: ModelConfig,
}

impl Case {
    pub fn read(folder: &Path, name: &str) -> Result<Self> {
        let record = Record::read(folder, &format!("model/{name}"))?;
        let variant = match record.json["variant"].as_str() {
            Some("prs") => ModelConfig::default(),
            Some("plain") => ModelConfig::seqtr(),
            _ => return Err(record.bad_field("/variant", "`prs` or `plain`")),
        };
        let task = match record.json["task"].as_str() {
            Some("mask") => Task::Segmentation,
            Some("box") => Task::Detection,
            Some("both") => Task::MultiTask,
            _ => return Err(record.bad_field("/task", "`mask`, `box` or `both`")),
        };
        let vertices = match task {
            Task::Detection => 1,
            Task::Segmentation | Task::MultiTask => record.number("/num_ray")? as usize,
        };
        let cfg = ModelConfig { task, vertices, dropout: 0.0, cross_attention_dropout: 0.0, ..variant };
        Ok(Self { name: name.to_owned(), record, cfg })
    }

    /// Whether the reference can train it; if not, there is nothing but what it decodes.
    pub fn is_trained(&self) -> bool {
        self.record.json["trainable_in_reference"] == Value::Bool(true)
    }

    fn rows(&self, name: &str) -> Result<Vec<Vec<i64>>> {
        let rows = self.record.tensor(name)?.to_vec2();
        rows.map_err(|_| self.record.bad_tensor(name, "rows of 64-bit integers"))
    }

    fn sizes(&self, name: &str) -> Result<Vec<(usize, usize)>> {
        let size = |row: Vec<i64>| match row[..] {
            [height, width] => Ok((height as usize, width as usize)),
            _ => Err(self.record.bad_tensor(name, "rows of a height and a width")),
        };
        self.rows(name)?.into_iter().map(size).collect()
    }

    pub fn inputs(&self, device: &Device) -> Result<Inputs> {
        Ok(Inputs {
            images: self.record.tensor("in.image")?.to_dtype(DType::F32)?.to_device(device)?,
            image_hw: self.sizes("in.img_hw")?,
            image_of: vec![0, 1],
            words: self.record.tensor("in.ids")?.to_dtype(DType::U32)?.to_device(device)?,
        })
    }

    pub fn targets(&self) -> Result<Targets> {
        let boxes = |boxes: &Tensor| -> TensorResult<Vec<[f64; 4]>> {
            let rows = boxes.to_vec2::<f64>()?;
            Ok(rows.iter().map(|row| std::array::from_fn(|i| row[i])).collect())
        };
        let vertices = |vertices: &Tensor| -> TensorResult<Vec<Vec<[f32; 2]>>> {
            let rows = vertices.to_vec3::<f32>()?;
            let points = |row: &Vec<Vec<f32>>| row[0].iter().zip(&row[1]).map(|(&x, &y)| [x, y]).collect();
            Ok(rows.iter().map(points).collect())
        };
        let shaped = |name: &str, rank: usize, last: usize| match self.record.tensors.get(name) {
            Some(tensor) if tensor.rank() != rank || tensor.dim(1).is_ok_and(|dim| dim != last) => {
                Err(self.record.bad_tensor(name, "of the shape that its README.md says"))
            }
            found => Ok(found),
        };
        Ok(Targets {
            pad_hw: self.sizes("in.pad_hw")?,
            boxes: shaped("in.boxes", 2, 4)?.map(boxes).transpose()?,
            vertices: shaped("in.vertices", 3, 2)?.map(vertices).transpose()?,
            labels: None,
            weights: None,
        })
    }

    /// Tokens of a recorded sequence, `[rows][length]`.
    pub fn tokens(&self, name: &str) -> Result<Vec<Vec<u32>>> {
        let rows = self.rows(name)?;
        Ok(rows.iter().map(|row| row.iter().map(|&token| token as u32).collect()).collect())
    }
}
