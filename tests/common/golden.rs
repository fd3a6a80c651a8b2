//! Reading the golden model cases.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Result, Tensor};
use partial_res::config::{ModelConfig, Task};
use partial_res::model::{Inputs, Targets};
use serde_json::Value;

pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/model")
}

pub fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// One case: its tensors, numbers, and the configuration it was made with.
pub struct Case {
    pub name: &'static str,
    pub tensors: HashMap<String, Tensor>,
    pub info: Value,
    pub cfg: ModelConfig,
}

impl Case {
    pub fn open(name: &'static str) -> Self {
        let info = json(&format!("{name}.json"));
        let tensors =
            candle_core::safetensors::load(folder().join(format!("{name}.safetensors")), &Device::Cpu)
                .unwrap();
        let variant = if info["variant"] == "prs" { ModelConfig::default() } else { ModelConfig::seqtr() };
        let task = match info["task"].as_str().unwrap() {
            "mask" => Task::Segmentation,
            "box" => Task::Detection,
            _ => Task::MultiTask,
        };
        let vertices = info["num_ray"].as_u64().unwrap_or(1) as usize;
        let cfg = ModelConfig { task, vertices, dropout: 0.0, cross_attention_dropout: 0.0, ..variant };
        Self { name, tensors, info, cfg }
    }

    pub fn number(&self, key: &str) -> f64 {
        self.info[key].as_f64().unwrap()
    }

    fn sizes(&self, name: &str) -> Vec<(usize, usize)> {
        let rows = self.tensors[name].to_vec2::<i64>().unwrap();
        rows.iter().map(|row| (row[0] as usize, row[1] as usize)).collect()
    }

    pub fn inputs(&self) -> Result<Inputs> {
        Ok(Inputs {
            images: self.tensors["in.image"].to_dtype(DType::F32)?,
            image_hw: self.sizes("in.img_hw"),
            image_of: vec![0, 1],
            words: self.tensors["in.ids"].to_dtype(DType::U32)?,
        })
    }

    pub fn targets(&self) -> Result<Targets> {
        let boxes = self.tensors.get("in.boxes").map(|boxes| {
            boxes.to_vec2::<f64>().unwrap().iter().map(|row| std::array::from_fn(|i| row[i])).collect()
        });
        let vertices = self.tensors.get("in.vertices").map(|vertices| {
            let rows = vertices.to_vec3::<f32>().unwrap();
            let points = |row: &Vec<Vec<f32>>| row[0].iter().zip(&row[1]).map(|(&x, &y)| [x, y]).collect();
            rows.iter().map(points).collect()
        });
        Ok(Targets { pad_hw: self.sizes("in.pad_hw"), boxes, vertices, labels: None })
    }

    /// Tokens of a golden sequence, [rows][length].
    pub fn tokens(&self, name: &str) -> Vec<Vec<u32>> {
        let rows = self.tensors[name].to_vec2::<i64>().unwrap();
        rows.iter().map(|row| row.iter().map(|&token| token as u32).collect()).collect()
    }
}

/// The largest absolute difference of two tensors of equal size.
pub fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.elem_count(), expected.elem_count(), "{:?} {:?}", found.shape(), expected.shape());
    let difference = (found.flatten_all().unwrap() - expected.flatten_all().unwrap()).unwrap();
    f64::from(difference.abs().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap())
}
