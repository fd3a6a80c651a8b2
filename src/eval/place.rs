//! Where results go.

use std::path::Path;

use super::EvalError;
use crate::whole::NewFile;

/// Finds out before hours of work whether a file can be written whole there, which replaces what has the name.
///
/// # Errors
/// A folder that can't be made or written to; something else than a file under that name, such as `/dev/stdout`.
pub fn check_place(path: &Path) -> Result<(), EvalError> {
    NewFile::beside(path).map(drop).map_err(|source| EvalError::NoPlace { path: path.into(), source })
}
