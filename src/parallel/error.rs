//! Why processes don't come together, or don't go on together.

use std::sync::Arc;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ParallelError {
    #[error(
        "{count} processes were started ({variable}), but this program was built without MPI: build it with \
         `--features mpi` (Debian: libopenmpi-dev, libclang-dev), set MASTER_ADDR and MASTER_PORT for all of them \
         (docs/parallel.md), or start it alone"
    )]
    NotBuilt { variable: &'static str, count: usize },
    #[error("{name} is {}; expected {expected}", if found.is_empty() { "not set".to_owned() } else { format!("`{found}`") })]
    Variable { name: &'static str, found: String, expected: &'static str },
    #[error("MPI is in use already, or did not start")]
    NoMpi,
    #[error("MPI lets only {found} call it; the work runs on a thread of its own and needs Serialized")]
    Threads { found: String },
    #[error(
        "process 0 can't listen at {address} ({source}): MASTER_ADDR must be an address of its machine, \
         MASTER_PORT a free port"
    )]
    Listen { address: String, source: std::io::Error },
    #[error(
        "process {ranks} did not come to {address}, where process 0 listens, within {seconds} s; are all started, with \
         the same MASTER_ADDR, MASTER_PORT and WORLD_SIZE, and is that an address that they can reach?"
    )]
    Absent { ranks: String, address: String, seconds: u64 },
    #[error(
        "no process 0 at {address} within {seconds} s ({source}): is it running, and are MASTER_ADDR and MASTER_PORT right?"
    )]
    Connect { address: String, seconds: u64, source: std::io::Error },
    #[error(
        "a process came as rank {rank} of {their_size} to one of {size}: each needs a RANK of its own and the same WORLD_SIZE"
    )]
    Rank { rank: usize, their_size: usize, size: usize },
    #[error("the connection with process {rank} broke: {source}")]
    Connection { rank: usize, source: std::io::Error },
    #[error("process {rank} is gone without a word; was it killed?")]
    Gone { rank: usize },
    #[error("nothing was heard of process {rank} for {seconds} s; is its machine still there?")]
    Silent { rank: usize, seconds: u64 },
    /// What another process said.
    #[error("{0}")]
    Stopped(String),
    #[error("process {rank} has finished, and is waited for: all must be given the same work")]
    Left { rank: usize },
    #[error(
        "process {rank} is out of step ({found} where {expected} was expected): all must run the same command on \
         the same data"
    )]
    OutOfStep { rank: usize, found: String, expected: String },
    #[error("the work of all processes has ended")]
    Done,
    /// Whatever ended the work, for each who asks.
    #[error(transparent)]
    Ended(Arc<ParallelError>),
    #[error(
        "process {rank} does not have the weights of process 0: all must read the same files (of a run that is being \
         trained name one checkpoint, RUN/checkpoints/step-N) and be the same program"
    )]
    OtherWeights { rank: usize },
    /// `what`: such as "another configuration".
    #[error("process {rank} has {what} than process 0: all must run the same command on the same files")]
    Other { rank: usize, what: String },
    #[error("process {rank} has a gradient for other parameters than process 0")]
    OtherGradients { rank: usize },
    #[cfg(feature = "nccl")]
    #[error("NCCL: {0}; NCCL_DEBUG=INFO tells more")]
    Nccl(String),
    #[cfg(feature = "nccl")]
    #[error("process {rank} computes on another kind of device than process 0: all need a GPU, or none")]
    OtherDevice { rank: usize },
}
