//! Several processes that train, evaluate or label as one.
//!
//! Every process runs the same program on its share of each batch; what they must agree on goes through a
//! few collective operations of an engine: MPI (feature `mpi`), or connections over TCP between processes that
//! were told where to meet. Gradients on GPUs are summed there, by NCCL (feature `nccl`), whichever of the two
//! brought the processes together. Which processes there are is a property of the whole program, as in MPI
//! itself: [`join`] once at the start, [`world`] anywhere.
//!
//! All processes must call the same operations in the same order. A process that fails leaves with
//! [`World::abort`], which ends the others too: none waits for an answer that will not come.

mod agreement;
mod alone;
mod error;
mod launch;
mod means;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod star;
mod tcp;

use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use alone::Alone;
pub use error::ParallelError;
use launch::Launch;
use tcp::Tcp;

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

    /// The work is done, and this process is going to end.
    fn leave(&self);

    /// Ends all processes; the others hear the reason.
    fn abort(&self, code: i32, reason: &str) -> !;
}

/// The processes that work together, and this one's place among them.
pub struct World {
    engine: Box<dyn Engine>,
    local_rank: usize,
    #[cfg(feature = "nccl")]
    nccl: OnceLock<nccl::Nccl>,
}

/// How long a process other than the root waits before it ends all, so that the root's reason comes first.
const PATIENCE: Duration = Duration::from_secs(1);

static WORLD: OnceLock<World> = OnceLock::new();

/// Joins the processes that a launcher has started: `mpirun` and its like, or whoever sets torchrun's
/// variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; alone without one. What it returns must live until
/// the work is done: dropping it leaves the others in good order.
///
/// # Errors
/// [`ParallelError::NotBuilt`] when a launcher has started several processes and the program has no engine for
/// them; variables that don't make sense; processes that don't come together in two minutes.
pub fn join() -> Result<Membership, ParallelError> {
    let Some(launch) = Launch::read(|name| std::env::var(name).ok())? else {
        return Ok(Membership::default());
    };
    let membership = match launch {
        Launch::Address { rank, size, local_rank, address: (host, port) } => {
            let engine = Tcp::join((&host, port), rank, size)?;
            WORLD.get_or_init(|| World::new(Box::new(engine), local_rank));
            Membership::default()
        }
        #[cfg(feature = "mpi")]
        Launch::Mpi { local_rank, .. } => {
            let (engine, universe) = mpi::Mpi::join()?;
            WORLD.get_or_init(|| World::new(Box::new(engine), local_rank));
            Membership { _universe: Some(universe) }
        }
        #[cfg(not(feature = "mpi"))]
        Launch::Mpi { variable, size, .. } => {
            return Err(ParallelError::NotBuilt { variable, count: size });
        }
    };
    // Unwinding would wait for the others to leave too, and they for this one.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        world().abort(101, &panic.to_string());
    }));
    Ok(membership)
}

/// Leaves the group when it is dropped.
#[derive(Default)]
pub struct Membership {
    #[cfg(feature = "mpi")]
    _universe: Option<::mpi::environment::Universe>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        world().engine.leave();
    }
}

/// The processes of [`join`], or this one alone.
pub fn world() -> &'static World {
    WORLD.get_or_init(|| World::new(Box::new(Alone), 0))
}

impl World {
    fn new(engine: Box<dyn Engine>, local_rank: usize) -> Self {
        Self {
            engine,
            local_rank,
            #[cfg(feature = "nccl")]
            nccl: OnceLock::new(),
        }
    }

    /// From 0.
    pub fn rank(&self) -> usize {
        self.engine.rank()
    }

    /// This process's number among those of its machine, from 0: which GPU is its own.
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// Processes.
    pub fn size(&self) -> usize {
        self.engine.size()
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
            self.engine.sum_f64(values);
        }
    }

    /// The sums of many pieces as if they were one: packed into buckets of a few megabytes, each one
    /// operation.
    fn sum_pieces(&self, pieces: &mut [Vec<f32>]) {
        if self.is_alone() {
            return;
        }
        let lengths: Vec<usize> = pieces.iter().map(Vec::len).collect();
        let mut bucket = Vec::new();
        for place in buckets(&lengths) {
            bucket.clear();
            pieces[place.clone()].iter().for_each(|piece| bucket.extend_from_slice(piece));
            self.engine.sum_f32(&mut bucket);
            let mut from = 0;
            for piece in &mut pieces[place] {
                let to = from + piece.len();
                piece.copy_from_slice(&bucket[from..to]);
                from = to;
            }
        }
    }

    /// Every process's own values, in the order of ranks.
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
        self.engine.gather(bytes)
    }

    /// What the root sends.
    pub fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.engine.broadcast(bytes)
    }

    /// Ends all processes with this code; alone, this one. Others than the root give it time to say its own
    /// reason, which may be the reason of theirs.
    pub fn abort(&self, code: i32, reason: &str) -> ! {
        if !self.is_root() {
            std::thread::sleep(PATIENCE);
        }
        self.engine.abort(code, reason)
    }
}

/// Which neighbours go over the wire together.
fn buckets(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    let (mut first, mut filled) = (0, 0);
    for (next, &length) in lengths.iter().enumerate() {
        if next > first && filled + length > BUCKET {
            places.push(first..next);
            (first, filled) = (next, 0);
        }
        filled += length;
    }
    if first < lengths.len() {
        places.push(first..lengths.len());
    }
    places
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

    #[test]
    fn buckets_hold_all_in_order() {
        assert!(buckets(&[]).is_empty());
        assert_eq!(buckets(&[1, 2, BUCKET]), [0..2, 2..3]);
        assert_eq!(buckets(&[2 * BUCKET, 0, BUCKET, 1]), [0..1, 1..3, 3..4]);
    }
}
