//! Whether all processes have been given the same.

use sha2::{Digest, Sha256};

use super::{ParallelError, World};

impl World {
    /// Compares something that all must have alike; `what` says of a process that has not what it has, as in
    /// "another configuration". All processes must call it.
    ///
    /// # Errors
    /// [`ParallelError::Other`], in every process.
    pub fn check_same(&self, what: &str, own: &[u8]) -> Result<(), ParallelError> {
        match self.unlike_root(own) {
            Some(rank) => Err(ParallelError::Other { rank, what: what.to_owned() }),
            None => Ok(()),
        }
    }

    /// The same of what identifies weights, such as the hashes of their files.
    ///
    /// # Errors
    /// [`ParallelError::OtherWeights`], in every process.
    pub fn check_same_weights(&self, own: &[u8]) -> Result<(), ParallelError> {
        self.unlike_root(own).map_or(Ok(()), |rank| Err(ParallelError::OtherWeights { rank }))
    }

    /// The first process that has other bytes than the root.
    fn unlike_root(&self, own: &[u8]) -> Option<usize> {
        if self.is_alone() {
            return None;
        }
        // A sum carries numbers of 32 bits as they are.
        let pieces: Vec<f64> = Sha256::digest(own)
            .chunks(4)
            .map(|piece| piece.iter().fold(0.0, |number, &byte| number * 256.0 + f64::from(byte)))
            .collect();
        let all = self.share_f64(&pieces);
        all.iter().position(|other| *other != all[0])
    }
}
