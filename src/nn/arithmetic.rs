//! What an evaluation computes in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the products of an evaluation are computed in; sums are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    #[default]
    F32,
    /// On CUDA factors may be rounded to 10 bits of fraction, as PyTorch does in convolutions unless told otherwise.
    /// Without effect on the CPU.
    Tf32,
    /// Convolutions of images in bf16, with 7 bits of fraction, and so what lies between them; on the CPU rounded to it,
    /// which costs time there. Other products as in [`Arithmetic::Tf32`].
    Bf16,
}

impl Arithmetic {
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// Says whether CUDA may round the factors of products in f32. That holds for the whole process, so who computes
    /// says it anew.
    pub fn allow(self) {
        candle_core::cuda::set_gemm_reduced_precision_f32(!self.is_f32());
    }
}

#[derive(Debug, Error)]
#[error("unknown arithmetic {0:?}; expected f32, tf32 or bf16")]
pub struct UnknownArithmetic(String);

impl FromStr for Arithmetic {
    type Err = UnknownArithmetic;

    fn from_str(name: &str) -> Result<Self, UnknownArithmetic> {
        match name {
            "f32" => Ok(Self::F32),
            "tf32" => Ok(Self::Tf32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(UnknownArithmetic(name.into())),
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for arithmetic in [Arithmetic::F32, Arithmetic::Tf32, Arithmetic::Bf16] {
            let name = arithmetic.to_string();
            assert_eq!(name.parse::<Arithmetic>().expect("a name"), arithmetic);
            assert_eq!(serde_json::to_value(arithmetic).expect("plain data"), name);
        }
        let error = "f16".parse::<Arithmetic>().expect_err("no name");
        assert_eq!(error.to_string(), "unknown arithmetic \"f16\"; expected f32, tf32 or bf16");
    }
}
