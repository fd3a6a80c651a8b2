//! The Message Passing Interface, for processes on one machine or many.

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use super::{Engine, ParallelError};

/// All processes of the launcher.
pub(super) struct Mpi {
    rank: i32,
    size: i32,
}

impl Mpi {
    /// The universe must outlive all use of the engine.
    pub fn join() -> Result<(Self, Universe), ParallelError> {
        let (universe, threading) =
            mpi::initialize_with_threading(Threading::Serialized).ok_or(ParallelError::NoMpi)?;
        if threading < Threading::Serialized {
            return Err(ParallelError::Threads { found: format!("{threading:?}") });
        }
        let world = universe.world();
        Ok((Self { rank: world.rank(), size: world.size() }, universe))
    }
}

fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

fn count(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a message is shorter than 2 GiB")
}

impl Engine for Mpi {
    fn rank(&self) -> usize {
        self.rank as usize
    }

    fn size(&self) -> usize {
        self.size as usize
    }

    fn sum_f32(&self, values: &mut [f32]) {
        let own = values.to_vec();
        world().all_reduce_into(&own[..], values, SystemOperation::sum());
    }

    fn sum_f64(&self, values: &mut [f64]) {
        let own = values.to_vec();
        world().all_reduce_into(&own[..], values, SystemOperation::sum());
    }

    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let world = world();
        let root = world.process_at_rank(0);
        let length = count(bytes.len());
        if self.rank != 0 {
            root.gather_into(&length);
            root.gather_varcount_into(bytes);
            return Vec::new();
        }
        let mut lengths = vec![0; self.size as usize];
        root.gather_into_root(&length, &mut lengths[..]);
        let starts: Vec<i32> = lengths
            .iter()
            .scan(0, |end, &length| {
                *end += length;
                Some(*end - length)
            })
            .collect();
        let mut all = vec![0u8; lengths.iter().map(|&length| length as usize).sum()];
        root.gather_varcount_into_root(
            bytes,
            &mut PartitionMut::new(&mut all[..], &lengths[..], &starts[..]),
        );
        let pieces = starts.iter().zip(&lengths);
        pieces.map(|(&start, &length)| all[start as usize..(start + length) as usize].to_vec()).collect()
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let world = world();
        let root = world.process_at_rank(0);
        let mut length = bytes.len() as u64;
        root.broadcast_into(&mut length);
        bytes.resize(length as usize, 0);
        root.broadcast_into(&mut bytes[..]);
        bytes
    }

    /// Dropping the universe does it.
    fn leave(&self) {}

    /// All speak on the launcher's terminal, where the reason has been said.
    fn abort(&self, code: i32, _: &str) -> ! {
        world().abort(code)
    }
}
