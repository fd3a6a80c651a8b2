//! DarkNet's `.weights` to safetensors with the reference's tensor names.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::{ConvertError, Output, sha256};
use crate::config::DarknetConfig;
use crate::formats::darknet::{self, ConvUnit, Header};
use crate::report::Table;

/// The convolutions of the backbone in forward order, which is the order of the file.
pub fn darknet_units(cfg: &DarknetConfig) -> Vec<ConvUnit> {
    let unit = |name: String, out, input, kernel| ConvUnit {
        name: format!("vis_enc.darknet.{name}"),
        shape: [out, input, kernel, kernel],
    };
    let stage = |module: usize, channels: usize, pairs: usize| {
        (0..pairs).flat_map(move |i| {
            let name = |part| format!("{module}.module_list.{i}.{part}");
            [unit(name(0), channels / 2, channels, 1), unit(name(1), channels, channels / 2, 3)]
        })
    };
    let mut units = vec![unit("0".to_owned(), cfg.widths[0], 3, 3)];
    for i in 0..5 {
        units.push(unit((2 * i + 1).to_string(), cfg.widths[i + 1], cfg.widths[i], 3));
        units.extend(stage(2 * i + 2, cfg.widths[i + 1], cfg.blocks[i]));
    }
    let top = cfg.widths[5];
    units.extend(stage(11, top, cfg.tail));
    units.push(unit("12".to_owned(), top / 2, top, 1));
    units.push(unit("13".to_owned(), top, top / 2, 3));
    units
}

/// What was converted.
#[derive(Clone, Debug, PartialEq)]
pub struct DarknetReport {
    pub out: PathBuf,
    pub header: Header,
    /// Bytes after the last tensor that was wanted.
    pub left_over: u64,
    /// Module, convolutions in it and its numbers.
    pub modules: Vec<(String, usize, usize)>,
    /// Of the weights file, and of what was written.
    pub sha256: [String; 2],
}

/// Reads `file` for a backbone of `cfg` and writes `out`.
pub fn convert_darknet(
    file: &Path,
    cfg: &DarknetConfig,
    out: &Path,
    output: Output,
) -> Result<DarknetReport, ConvertError> {
    output.check(out)?;
    let reader =
        BufReader::new(File::open(file).map_err(|source| ConvertError::Read { path: file.into(), source })?);
    let units = darknet_units(cfg);
    let weights = darknet::read(reader, &units)
        .map_err(|source| ConvertError::Darknet { path: file.into(), source })?;

    let mut modules: Vec<(String, usize, usize)> = Vec::new();
    let mut tensors = HashMap::with_capacity(6 * units.len());
    for tensor in weights.tensors {
        let name = tensor.name.split('.').take(3).collect::<Vec<_>>().join(".");
        if modules.last().is_none_or(|(last, ..)| *last != name) {
            modules.push((name, 0, 0));
        }
        if let Some((_, convolutions, numbers)) = modules.last_mut() {
            *convolutions += usize::from(tensor.shape.len() == 4);
            *numbers += tensor.values.len();
        }
        tensors.insert(tensor.name, Tensor::from_vec(tensor.values, tensor.shape, &Device::Cpu)?);
    }
    // The file has none, but the network's names have.
    for unit in &units {
        let name = format!("{}.bn.num_batches_tracked", unit.name);
        tensors.insert(name, Tensor::zeros((), DType::I64, &Device::Cpu)?);
    }
    output.tensors(out, &tensors)?;
    let (header, left_over) = (weights.header, weights.left_over);
    let sha256 = [sha256(file)?, sha256(out)?];
    Ok(DarknetReport { out: out.into(), header, left_over, modules, sha256 })
}

impl fmt::Display for DarknetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["module", "convolutions", "numbers"]);
        for (name, convolutions, numbers) in &self.modules {
            table.row([name.clone(), convolutions.to_string(), numbers.to_string()]);
        }
        table.rule();
        let sum = |part: fn(&(String, usize, usize)) -> usize| self.modules.iter().map(part).sum::<usize>();
        table.row(["all".to_owned(), sum(|m| m.1).to_string(), sum(|m| m.2).to_string()]);
        writeln!(f, "{table}")?;
        let Header { major, minor, revision, seen } = self.header;
        writeln!(f, "header: version {major}.{minor}.{revision}, {seen} images seen")?;
        if self.left_over > 0 {
            writeln!(f, "{} bytes follow that this backbone does not have: ignored", self.left_over)?;
        }
        writeln!(f, "SHA-256 of the weights file: {}", self.sha256[0])?;
        writeln!(f, "SHA-256 of {}: {}", self.out.display(), self.sha256[1])?;
        write!(
            f,
            "WARNING: darknet.weights was trained without the images of RefCOCO's val and test splits, \
             yolov3.weights with them: scores of a model that begins from yolov3.weights are inflated. Say which \
             one it was wherever you report scores."
        )
    }
}
