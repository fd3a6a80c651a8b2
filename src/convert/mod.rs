//! Files of other programs made ours: what `tools/convert` calls.
//!
//! Each conversion reads untrusted files with the bounded readers of [`crate::formats`], checks the
//! result against what this program expects, and writes it whole or not at all through [`Output`].

mod checkpoint;
mod darknet;
mod error;
mod output;
mod predictions;
mod refer;
mod vectors;
mod vocabulary;

pub use checkpoint::{CheckpointReport, CheckpointRequest, Mismatch, convert_checkpoint};
pub use darknet::{DarknetReport, convert_darknet, darknet_units};
pub use error::ConvertError;
pub use output::{Output, sha256};
pub use predictions::{PredictionsReport, PredictionsRequest, convert_predictions};
pub use refer::{Counts, ReferReport, ReferRequest, convert_refer};
pub use vectors::{VectorsReport, convert_vectors};
pub use vocabulary::{VocabularyReport, convert_vocabulary};
