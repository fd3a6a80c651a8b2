//! Several processes that train, evaluate or label as one.
//!
//! Every process runs the same program on its share of each batch; what they must agree on goes through a
//! few collective operations of an engine that exists: MPI (feature `mpi`). Which processes there are is a
//! property of the whole program, as in MPI itself: [`join`] once at the start, [`world`] anywhere.
//!
//! All processes must call the same operations in the same order. A process that fails leaves with
//! [`World::abort`], which ends the others too: none waits for an answer that will not come.

mod alone;
mod error;
#[cfg(feature = "mpi")]
mod mpi;

use std::sync::OnceLock;
use std::time::Duration;

use alone::Alone;
pub use error::ParallelError;

/// What launchers set to the number of processes they start: Open MPI, MPICH and its relatives, Slurm.
const COUNTS: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"];
/// Elements that go over the wire in one operation: enough to hide latency, few enough that the copy stays
/// small beside the model.
const BUCKET: usize = 1 << 22;

/// Collective operations; errors end the program, since the others can't go on either.
trait Engine: Send + Sync {
    fn rank(&self) -> usize;

    fn size(&self) -> usize;

    /// Replaces the values by their sums over all processes, the same bits in each.
    fn sum_f32(&self, values: &mut [f32]);

    fn sum_f64(&self, values: &mut [f64]);

    /// What each process sends, in the order of ranks, at the root; nothing elsewhere.
    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>>;

    /// What the root sends.
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Ends all processes.
    fn abort(&self, code: i32) -> !;
}

/// The processes that work together, and this one's place among them.
pub struct World(Box<dyn Engine>);

/// What a process waits with its end.
const PATIENCE: Duration = Duration::from_secs(1);

static WORLD: OnceLock<World> = OnceLock::new();

/// Joins the processes that a launcher such as `mpirun` has started; alone without one. What it returns must
/// live until the work is done: dropping it leaves the others in good order.
///
/// # Errors
/// [`ParallelError::NotBuilt`] when a launcher has started several processes and the program has no engine for
/// them.
pub fn join() -> Result<Membership, ParallelError> {
    let launched = COUNTS.iter().find_map(|name| {
        let count: usize = std::env::var(name).ok()?.parse().ok()?;
        (count > 1).then_some((*name, count))
    });
    #[cfg(feature = "mpi")]
    if launched.is_some() {
        let (engine, universe) = mpi::Mpi::join()?;
        WORLD.get_or_init(|| World(Box::new(engine)));
        // Unwinding would wait for the others to leave too, and they for this one.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            hook(panic);
            world().abort(101);
        }));
        return Ok(Membership { _universe: Some(universe) });
    }
    #[cfg(not(feature = "mpi"))]
    if let Some((variable, count)) = launched {
        return Err(ParallelError::NotBuilt { variable, count });
    }
    Ok(Membership {
        #[cfg(feature = "mpi")]
        _universe: None,
    })
}

/// Leaves the group when it is dropped.
pub struct Membership {
    #[cfg(feature = "mpi")]
    _universe: Option<::mpi::environment::Universe>,
}

/// The processes of [`join`], or this one alone.
pub fn world() -> &'static World {
    WORLD.get_or_init(|| World(Box::new(Alone)))
}

impl World {
    /// From 0.
    pub fn rank(&self) -> usize {
        self.0.rank()
    }

    /// Processes.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// The one that speaks and writes.
    pub fn is_root(&self) -> bool {
        self.rank() == 0
    }

    /// Whether there is nobody else.
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// Sums over all processes in place, the same bits in each of them.
    pub fn sum_f64(&self, values: &mut [f64]) {
        if !self.is_alone() {
            self.0.sum_f64(values);
        }
    }

    /// The sums of many pieces as if they were one: packed into buckets of a few megabytes, each one
    /// operation.
    pub fn sum_pieces(&self, pieces: &mut [Vec<f32>]) {
        if self.is_alone() {
            return;
        }
        let mut bucket = Vec::new();
        let mut first = 0;
        for next in 1..=pieces.len() {
            let filled: usize = pieces[first..next].iter().map(Vec::len).sum();
            let full = pieces.get(next).is_none_or(|piece| filled + piece.len() > BUCKET);
            if !full {
                continue;
            }
            bucket.clear();
            pieces[first..next].iter().for_each(|piece| bucket.extend_from_slice(piece));
            self.0.sum_f32(&mut bucket);
            let mut from = 0;
            for piece in &mut pieces[first..next] {
                let to = from + piece.len();
                piece.copy_from_slice(&bucket[from..to]);
                from = to;
            }
            first = next;
        }
    }

    /// What each process has found, of every process, in the order of ranks.
    pub fn share_f64(&self, own: &[f64]) -> Vec<Vec<f64>> {
        let mut all = vec![0.0; own.len() * self.size()];
        all[self.rank() * own.len()..][..own.len()].copy_from_slice(own);
        self.sum_f64(&mut all);
        all.chunks(own.len().max(1)).map(<[f64]>::to_vec).collect()
    }

    /// Whether any process says so.
    pub fn any(&self, own: bool) -> bool {
        let mut sum = [f64::from(u8::from(own))];
        self.sum_f64(&mut sum);
        sum[0] > 0.0
    }

    /// What each process sends, in the order of ranks, at the root; nothing elsewhere.
    pub fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.0.gather(bytes)
    }

    /// What the root sends.
    pub fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.0.broadcast(bytes)
    }

    /// Ends all processes with this code; alone, this one. Others than the root give it time to say its own
    /// reason, which may be the reason of theirs.
    pub fn abort(&self, code: i32) -> ! {
        if !self.is_root() {
            std::thread::sleep(PATIENCE);
        }
        self.0.abort(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_agrees_with_itself() {
        let world = world();
        assert_eq!((world.rank(), world.size(), world.is_root(), world.is_alone()), (0, 1, true, true));
        assert_eq!(world.share_f64(&[1.0, 2.0]), [[1.0, 2.0]]);
        assert!(world.any(true) && !world.any(false));
        assert_eq!(world.gather(b"mine"), [b"mine"]);
        assert_eq!(world.broadcast(b"mine".to_vec()), b"mine");
        let mut pieces = [vec![1.0, 2.0], vec![], vec![3.0]];
        world.sum_pieces(&mut pieces);
        assert_eq!(pieces, [vec![1.0, 2.0], vec![], vec![3.0]]);
    }
}
