//! Processes that were told where to find one another: a star of connections (see [`Star`]).

use std::io::Write;

use super::star::{PATIENCE, Star};
use super::{Engine, ParallelError};

pub(super) struct Tcp(Star);

impl Tcp {
    /// Waits for the others at this address.
    pub fn join(address: (&str, u16), rank: usize, size: usize) -> Result<Self, ParallelError> {
        let on_end = move |error: &ParallelError| end(rank, error);
        Star::join(address, rank, size, PATIENCE, Box::new(on_end)).map(Self)
    }

    /// An operation can fail only because the work of all has ended, and then a thread that listens is ending the
    /// process or has done so.
    fn done<T>(&self, result: Result<T, ParallelError>) -> T {
        result.unwrap_or_else(|error| end(self.0.rank(), &error))
    }
}

/// Says why, and ends this process.
fn end(rank: usize, error: &ParallelError) -> ! {
    // Where nobody reads errors, the exit code still tells.
    drop(writeln!(std::io::stderr(), "process {rank}: stopped: {error}"));
    exit_at_once(1)
}

/// Ends this process without the exit handlers of libraries. The others are gone, so a sum on the GPUs may never end,
/// and the main thread may sit in a call of CUDA's driver that waits for it: CUDA's handlers would wait for both.
fn exit_at_once(code: i32) -> ! {
    // Errors are not buffered, and lines of standard output go out one by one: nothing has to be flushed, which would
    // wait for a main thread that writes to a full pipe.
    // SAFETY: this ends the process, whatever its other threads hold.
    unsafe { libc::_exit(code) }
}

impl Engine for Tcp {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn sum_f32(&self, values: &mut [f32]) {
        self.done(self.0.sum(values));
    }

    fn sum_f64(&self, values: &mut [f64]) {
        self.done(self.0.sum(values));
    }

    fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.done(self.0.gather(bytes))
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.done(self.0.broadcast(bytes))
    }

    fn leave(&self) {
        self.0.leave();
    }

    fn abort(&self, code: i32, reason: &str) -> ! {
        self.0.fail(reason);
        exit_at_once(code)
    }
}
