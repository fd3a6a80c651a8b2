//! Why processes don't come together.

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ParallelError {
    #[error(
        "{count} processes were started ({variable}), but this program was built for one: build it with \
         `--features mpi` (Debian: libopenmpi-dev, libclang-dev), or start it alone"
    )]
    NotBuilt { variable: &'static str, count: usize },
    #[error("MPI is in use already, or did not start")]
    NoMpi,
    #[error("MPI lets only {found} call it; the work runs on a thread of its own and needs Serialized")]
    Threads { found: String },
    #[error(
        "process {rank} does not have the weights of process 0: all must read the same files and be the same \
         program"
    )]
    OtherWeights { rank: usize },
    #[error("process {rank} has a gradient for other parameters than process 0")]
    OtherGradients { rank: usize },
}
