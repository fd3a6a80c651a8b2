//! The weights of the golden model cases: every tensor follows from its name and shape
//! (tests/golden/README.md, "Fill rule").

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};

use crate::nn::Parameters;
use crate::random::{Stream, fnv1a};

/// Offset and scale of a tensor's values.
fn rule(name: &str, dims: &[usize]) -> (f32, f64) {
    let ends = |suffix: &str| name.ends_with(suffix);
    if ends("running_var") {
        return (1.0, 0.5);
    }
    if ends("running_mean") {
        return (0.0, 0.1);
    }
    let in_stage =
        [2, 4, 6, 8, 10].iter().any(|i| name.starts_with(&format!("vis_enc.darknet.{i}.module_list.")));
    if in_stage && ends(".1.bn.weight") {
        return (0.3, 0.05);
    }
    if dims.len() == 1 {
        return if ends(".weight") { (1.0, 0.1) } else { (0.0, 0.1) };
    }
    if ends("query_embedding.weight") {
        return (0.0, 6.0);
    }
    if ends("seq_positional_encoding.embedding.weight") {
        return (0.0, 4.0);
    }
    if ends("embedding.weight") || ends("task_prompt.weight") {
        return (0.0, 1.0);
    }
    let fan_in: usize = dims[1..].iter().product();
    let gain = if dims.len() == 4 && !name.starts_with("head.") { 2.0 } else { 1.0 };
    let mut scale = (3.0 * gain / fan_in as f64).sqrt();
    if name == "vis_enc.darknet.0.conv.weight" {
        scale /= 128.0;
    } else if ends("multihead_attn.out_proj.weight") {
        scale *= 0.25;
    } else if ends("linear2.weight") {
        scale *= 0.5;
    }
    (0.0, scale)
}

/// The values of the tensor of this name in a model case.
pub fn filled(name: &str, dims: &[usize]) -> Vec<f32> {
    let n = dims.iter().product();
    if name.ends_with("num_batches_tracked") {
        return vec![0.0; n];
    }
    let (offset, scale) = rule(name, dims);
    let scale = scale as f32;
    let positive = name.ends_with("running_var");
    let mut stream = Stream::from_key(fnv1a(name));
    (0..n)
        .map(|_| {
            let unit = ((stream.next_u64() >> 40) as i64 - (1 << 23)) as f32 * 2f32.powi(-23);
            let value = scale * if positive { unit.abs() } else { unit };
            if offset == 0.0 { value } else { offset + value }
        })
        .collect()
}

/// Gives each parameter of a network its values.
pub(super) fn fill(parameters: &Parameters) -> Result<()> {
    let tensor = |name: &str, dims: &[usize]| {
        let dtype = if dims.is_empty() { DType::I64 } else { DType::F32 };
        Tensor::from_vec(filled(name, dims), dims, &Device::Cpu)?
            .to_dtype(dtype)?
            .to_device(parameters.device())
    };
    let all = parameters.all();
    let tensors = all.iter().map(|p| Ok((p.name.clone(), tensor(&p.name, p.var.dims())?)));
    // Names and shapes are its own, so that all of them fit.
    parameters.load(&tensors.collect::<Result<HashMap<_, _>>>()?)?;
    Ok(())
}
