//! Means of tensors over all processes.

use candle_core::{Result, Tensor};

use super::World;

impl World {
    /// Replaces f32 tensors by their means over all processes. They go over the wire in buckets: from GPU to GPU
    /// with NCCL, otherwise through the memory of the CPU.
    ///
    /// # Errors
    /// The tensors' own; processes that fail end the program.
    pub fn means(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        if self.is_alone() {
            return Ok(tensors);
        }
        #[cfg(feature = "nccl")]
        if let Some(nccl) = self.nccl.get() {
            return nccl.means(&tensors);
        }
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let mut pieces = tensors.iter().map(values).collect::<Result<Vec<_>>>()?;
        self.sum_pieces(&mut pieces);
        let share = 1.0 / self.size() as f32;
        let back = |(tensor, mut piece): (&Tensor, Vec<f32>)| {
            piece.iter_mut().for_each(|value| *value *= share);
            Tensor::from_vec(piece, tensor.shape(), tensor.device())
        };
        tensors.iter().zip(pieces).map(back).collect()
    }
}
