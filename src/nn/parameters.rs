//! The store of a network's tensors.
//!
//! It hands tensors to modules through a `VarBuilder`, makes each on first request with values
//! that depend on the seed and its name alone, and knows which of them training may change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::random::Stream;

/// What training does to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The optimiser changes it.
    Trainable,
    /// It stays as loaded; no gradient is computed for it.
    Frozen,
    /// Statistics of a batch norm: they change in the forward pass.
    Buffer,
}

/// What the store must know about a network beyond shapes and initial values.
pub trait Rules: Send + Sync {
    /// Whether training leaves this parameter alone.
    fn frozen(&self, name: &str) -> bool;

    /// The name whose stream the initial values are drawn from; equal names give equal values.
    fn drawn_as(&self, name: &str, shape: &Shape) -> String;
}

/// A named tensor of the store.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    pub var: Var,
    pub role: Role,
}

/// A tensor whose shape is not the network's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    pub name: String,
    pub expected: Vec<usize>,
    pub found: Vec<usize>,
}

/// What loading did, each list in the order of the network or, for unexpected names, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    pub loaded: Vec<String>,
    /// Of the network, but not in the map: left as they were.
    pub missing: Vec<String>,
    /// In the map, but not of the network: ignored.
    pub unexpected: Vec<String>,
    /// Left as they were.
    pub wrong_shape: Vec<ShapeMismatch>,
}

impl LoadReport {
    /// Every tensor of the network was loaded and nothing was left over.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong_shape.is_empty()
    }
}

#[derive(Default)]
struct Entries {
    order: Vec<Parameter>,
    index: HashMap<String, usize>,
}

/// The tensors of a network in the order its modules asked for them, which is the order of the
/// reference's `state_dict`. Clones share the tensors.
#[derive(Clone)]
pub struct Parameters {
    seed: u64,
    device: Device,
    rules: Arc<dyn Rules>,
    entries: Arc<Mutex<Entries>>,
}

impl Parameters {
    pub fn new(seed: u64, device: &Device, rules: Arc<dyn Rules>) -> Self {
        Self { seed, device: device.clone(), rules, entries: Arc::default() }
    }

    /// For a network to be trained: tensors that are not there yet are made, trainable ones are
    /// variables of the graph, frozen ones are not.
    pub fn builder(&self) -> VarBuilder<'static> {
        self.backend(true)
    }

    /// For a network that only infers: the same storage, always up to date, but nothing is part
    /// of a graph, so that activations are freed as soon as they are used.
    pub fn inference(&self) -> VarBuilder<'static> {
        self.backend(false)
    }

    fn backend(&self, graph: bool) -> VarBuilder<'static> {
        let view = View { parameters: self.clone(), graph };
        VarBuilder::from_backend(Box::new(view), DType::F32, self.device.clone())
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All tensors, in `state_dict` order.
    pub fn all(&self) -> Vec<Parameter> {
        self.entries().order.clone()
    }

    /// What the optimiser changes, in `state_dict` order.
    pub fn trainable(&self) -> Vec<Parameter> {
        self.all().into_iter().filter(|parameter| parameter.role == Role::Trainable).collect()
    }

    pub fn get(&self, name: &str) -> Option<Parameter> {
        let entries = self.entries();
        entries.index.get(name).map(|&i| entries.order[i].clone())
    }

    /// Copies every tensor of the network found in `tensors`. Names are matched exactly.
    pub fn load(&self, tensors: &HashMap<String, Tensor>) -> Result<LoadReport> {
        let entries = self.entries();
        let mut report = LoadReport::default();
        for Parameter { name, var, .. } in &entries.order {
            match tensors.get(name) {
                None => report.missing.push(name.clone()),
                Some(tensor) if tensor.shape() != var.shape() => report.wrong_shape.push(ShapeMismatch {
                    name: name.clone(),
                    expected: var.dims().to_vec(),
                    found: tensor.dims().to_vec(),
                }),
                Some(tensor) => {
                    var.set(&tensor.to_dtype(var.dtype())?.to_device(&self.device)?.contiguous()?)?;
                    report.loaded.push(name.clone());
                }
            }
        }
        report.unexpected =
            tensors.keys().filter(|name| !entries.index.contains_key(*name)).cloned().collect();
        report.unexpected.sort();
        Ok(report)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn get_or_make(&self, name: &str, shape: Shape, init: Init, dtype: DType) -> Result<Parameter> {
        let mut entries = self.entries();
        if let Some(&i) = entries.index.get(name) {
            let found = &entries.order[i];
            if found.var.shape() != &shape {
                candle_core::bail!(
                    "{name} has shape {:?}, the network asks for {shape:?}",
                    found.var.shape()
                );
            }
            return Ok(found.clone());
        }
        let mut stream = Stream::new(self.seed, &self.rules.drawn_as(name, &shape));
        let values = draw(&init, shape.elem_count(), &mut stream)?;
        let tensor =
            Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(&self.device)?;
        let role = if is_buffer(name) {
            Role::Buffer
        } else if self.rules.frozen(name) {
            Role::Frozen
        } else {
            Role::Trainable
        };
        let parameter = Parameter { name: name.to_owned(), var: Var::from_tensor(&tensor)?, role };
        let i = entries.order.len();
        entries.index.insert(name.to_owned(), i);
        entries.order.push(parameter.clone());
        Ok(parameter)
    }
}

fn is_buffer(name: &str) -> bool {
    ["running_mean", "running_var", "num_batches_tracked"].iter().any(|suffix| name.ends_with(suffix))
}

fn draw(init: &Init, n: usize, stream: &mut Stream) -> Result<Vec<f32>> {
    Ok(match *init {
        Init::Const(value) => vec![value as f32; n],
        Init::Randn { mean, stdev } => (0..n).map(|_| (mean + stdev * stream.normal()) as f32).collect(),
        Init::Uniform { lo, up } => (0..n).map(|_| stream.range(lo, up) as f32).collect(),
        Init::Kaiming { .. } => {
            candle_core::bail!("initial values are hinted by constants, normals or uniforms")
        }
    })
}

struct View {
    parameters: Parameters,
    graph: bool,
}

impl View {
    fn tensor(&self, parameter: &Parameter) -> Tensor {
        // A batch norm updates its buffers through the variable.
        if self.graph && parameter.role != Role::Frozen {
            parameter.var.as_tensor().clone()
        } else {
            parameter.var.as_detached_tensor()
        }
    }
}

impl SimpleBackend for View {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, _: &Device) -> Result<Tensor> {
        Ok(self.tensor(&self.parameters.get_or_make(name, shape, init, dtype)?))
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        match self.parameters.get(name) {
            Some(parameter) => Ok(self.tensor(&parameter)),
            None => candle_core::bail!("the network has no tensor named {name}"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.parameters.get(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FreezeTable;

    impl Rules for FreezeTable {
        fn frozen(&self, name: &str) -> bool {
            name == "table"
        }

        fn drawn_as(&self, name: &str, _: &Shape) -> String {
            name.to_owned()
        }
    }

    fn store(names: &[&str]) -> Result<Parameters> {
        let parameters = Parameters::new(5, &Device::Cpu, Arc::new(FreezeTable));
        for name in names {
            parameters.builder().get_with_hints((3, 2), name, super::super::init::STANDARD_NORMAL)?;
        }
        Ok(parameters)
    }

    fn values(parameters: &Parameters, name: &str) -> Vec<f32> {
        parameters.get(name).unwrap().var.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn values_depend_on_the_name_and_not_on_the_order() -> Result<()> {
        let (one, two) = (store(&["a", "b"])?, store(&["b", "table", "a"])?);
        assert_eq!(values(&one, "a"), values(&two, "a"));
        assert_ne!(values(&one, "a"), values(&one, "b"));
        Ok(())
    }

    #[test]
    fn roles_and_views() -> Result<()> {
        let parameters = store(&["table", "w", "bn.running_var"])?;
        let roles: Vec<Role> = parameters.all().iter().map(|p| p.role).collect();
        assert_eq!(roles, [Role::Frozen, Role::Trainable, Role::Buffer]);
        assert!(!parameters.builder().get((3, 2), "table")?.is_variable());
        assert!(parameters.builder().get((3, 2), "w")?.is_variable());
        let inferring = parameters.inference().get((3, 2), "w")?;
        assert!(!inferring.is_variable());
        parameters.get("w").unwrap().var.set(&Tensor::ones((3, 2), DType::F32, &Device::Cpu)?)?;
        assert_eq!(inferring.sum_all()?.to_scalar::<f32>()?, 6.0);
        Ok(())
    }

    #[test]
    fn loading_says_what_it_did() -> Result<()> {
        let parameters = store(&["a", "b", "c"])?;
        let before = values(&parameters, "b");
        let tensors = HashMap::from([
            ("a".to_owned(), Tensor::zeros((3, 2), DType::F64, &Device::Cpu)?),
            ("b".to_owned(), Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?),
            ("z".to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu)?),
        ]);
        let report = parameters.load(&tensors)?;
        assert_eq!(report.loaded, ["a"]);
        assert_eq!(report.missing, ["c"]);
        assert_eq!(report.unexpected, ["z"]);
        let mismatch = ShapeMismatch { name: "b".to_owned(), expected: vec![3, 2], found: vec![2, 3] };
        assert_eq!(report.wrong_shape, [mismatch]);
        assert_eq!(values(&parameters, "a"), [0.0; 6]);
        assert_eq!(values(&parameters, "b"), before);
        Ok(())
    }
}
