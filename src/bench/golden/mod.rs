//! The network against values recorded from the reference, on any device.
//!
//! The golden data are a folder (`tests/golden` of the repository, whose README.md says what is in it): a few
//! networks with weights that follow from a rule, what they answer, their activations, losses and gradients,
//! the first steps of a training, and steps of the optimiser alone. [`Golden`] computes all of that anew and
//! says how far it is from what was recorded.

mod case;
mod curve;
mod error;
mod fill;
mod finding;
mod network;
mod optimiser;
mod tolerances;

use std::path::{Path, PathBuf};

use candle_core::Device;

use crate::model::Network;
use crate::nn::Parameters;
use case::Case;
pub use error::GoldenError;
pub use fill::filled;
pub use finding::Finding;
pub use tolerances::Tolerances;

/// Networks: Partial-RES and SeqTR (`plain`), for outlines, boxes or both.
pub const NETWORKS: [&str; 6] =
    ["prs_mask18", "prs_mask12", "prs_box", "plain_mask18", "plain_box", "plain_both12"];
/// The one whose first training steps were recorded.
const TRAINED: &str = "prs_mask18";
/// Settings of the optimiser.
pub const OPTIMISERS: [&str; 5] = ["adam_clip", "adam_noclip", "adam_noamsgrad", "adam_wd", "adam_lr_change"];
/// Rows of the word table.
const WORDS: usize = 64;

/// A folder of golden data and where they are to be computed anew.
pub struct Golden {
    folder: PathBuf,
    device: Device,
    tolerances: Tolerances,
}

impl Golden {
    /// # Errors
    /// If the folder is not there or is not one of golden data; its files are read when they are needed.
    pub fn open(folder: &Path, device: &Device, tolerances: Tolerances) -> Result<Self, GoldenError> {
        if !folder.is_dir() {
            return Err(GoldenError::NoFolder(folder.into()));
        }
        let models = NETWORKS.iter().map(|name| format!("model/{name}.json"));
        if let Some(missing) =
            models.chain(["optim/optim.json".to_owned()]).find(|file| !folder.join(file).is_file())
        {
            return Err(GoldenError::Foreign { folder: folder.into(), missing });
        }
        Ok(Self { folder: folder.into(), device: device.clone(), tolerances })
    }

    /// A JSON file, by its path in the folder.
    ///
    /// # Errors
    /// If it can't be read or is no JSON.
    pub fn json(&self, name: &str) -> Result<serde_json::Value, GoldenError> {
        case::json(&self.folder.join(name))
    }

    /// One of [`NETWORKS`] with the weights of the fill rule.
    ///
    /// # Errors
    /// If the case can't be read, or as [`Network::create`].
    pub fn network(&self, name: &str) -> Result<(Network, Parameters), GoldenError> {
        self.filled_network(&Case::read(&self.folder, name)?)
    }

    fn filled_network(&self, case: &Case) -> Result<(Network, Parameters), GoldenError> {
        let (network, parameters) = Network::create(&case.cfg, WORDS, 0, &self.device)?;
        fill::fill(&parameters)?;
        Ok((network, parameters))
    }
}
