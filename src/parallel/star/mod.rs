//! Processes around one of them, over TCP: the root has a connection with each of the others.
//!
//! It needs no library and no launcher, only an address that all can reach; sums pass through the root, which
//! is quick for small things and for few processes. Each connection has a thread that listens, so that a process
//! that dies, or a machine that falls silent, is noticed whatever the others are computing.

mod frame;
mod links;
mod rendezvous;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::ParallelError;
use frame::Purpose;
use links::{Links, Message, OnEnd, SILENCE};

/// How long processes wait for one another at the beginning.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// This process's place in the star.
pub struct Star {
    rank: usize,
    size: usize,
    links: Arc<Links>,
    /// What comes over each connection: at the root those with ranks 1 and above, elsewhere that with the root.
    inboxes: Vec<Mutex<Receiver<Message>>>,
    /// Dropped with the star, which ends the thread that says that this process is there.
    _alive: Sender<()>,
}

/// Numbers that are summed.
pub trait Number: Copy + Default + std::ops::AddAssign {
    /// Bytes of one.
    const BYTES: usize = size_of::<Self>();

    fn append(self, bytes: &mut Vec<u8>);

    /// From exactly as many bytes as it has.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(Self::NAN, Self::from_le_bytes)
            }
        }
    )*};
}

number!(f32 f64);

impl Star {
    /// Waits for the others at this address, where the root listens. `on_end` is called once if the work has to
    /// end because a process failed or is gone; operations then return that error too.
    ///
    /// # Errors
    /// An address that can't be used; processes that don't come in `patience`; ranks that don't fit.
    pub fn join(
        address: (&str, u16),
        rank: usize,
        size: usize,
        patience: Duration,
        on_end: OnEnd,
    ) -> Result<Self, ParallelError> {
        let streams = match rank {
            0 => rendezvous::gather(address, size, patience)?
                .into_iter()
                .enumerate()
                .map(|(i, s)| (i + 1, s))
                .collect(),
            _ => vec![(0, rendezvous::come(address, rank, size, patience)?)],
        };
        let mut readers = Vec::with_capacity(streams.len());
        for (rank, stream) in &streams {
            let settled = stream.set_read_timeout(Some(SILENCE));
            let settled = settled.and_then(|()| stream.set_write_timeout(Some(SILENCE)));
            let reader = settled.and_then(|()| stream.try_clone());
            readers.push(reader.map_err(|source| ParallelError::Connection { rank: *rank, source })?);
        }
        let links = Arc::new(Links::new(streams, on_end));
        let mut inboxes = Vec::with_capacity(readers.len());
        for (link, mut stream) in readers.into_iter().enumerate() {
            let (sender, receiver) = channel();
            let links = Arc::clone(&links);
            std::thread::spawn(move || links.listen(link, &mut stream, &sender));
            inboxes.push(Mutex::new(receiver));
        }
        let (alive, stop) = channel();
        let beating = Arc::clone(&links);
        std::thread::spawn(move || beating.beat(&stop));
        Ok(Self { rank, size, links, inboxes, _alive: alive })
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn size(&self) -> usize {
        self.size
    }

    fn receive(&self, link: usize, expected: Purpose) -> Result<Vec<u8>, ParallelError> {
        let inbox = self.inboxes[link].lock().unwrap_or_else(PoisonError::into_inner);
        match inbox.recv() {
            Ok((purpose, bytes)) if purpose == expected => Ok(bytes),
            Ok((found, _)) => {
                let [found, expected] =
                    [found, expected].map(|purpose| format!("{purpose:?}").to_lowercase());
                let rank = self.links.rank(link);
                Err(self.links.ended(ParallelError::OutOfStep { rank, found, expected }))
            }
            Err(_) => Err(self.links.ended(ParallelError::Left { rank: self.links.rank(link) })),
        }
    }

    /// What each process sends, in the order of ranks, at the root; nothing elsewhere.
    pub fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, ParallelError> {
        self.collect(bytes.to_vec(), Purpose::Gather)
    }

    fn collect(&self, own: Vec<u8>, purpose: Purpose) -> Result<Vec<Vec<u8>>, ParallelError> {
        if self.rank != 0 {
            return self.links.send(0, purpose, &own).map(|()| Vec::new());
        }
        let others = (0..self.inboxes.len()).map(|link| self.receive(link, purpose));
        std::iter::once(Ok(own)).chain(others).collect()
    }

    /// What the root sends.
    pub fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ParallelError> {
        self.spread(bytes, Purpose::Broadcast)
    }

    fn spread(&self, bytes: Vec<u8>, purpose: Purpose) -> Result<Vec<u8>, ParallelError> {
        if self.rank != 0 {
            return self.receive(0, purpose);
        }
        (0..self.inboxes.len()).try_for_each(|link| self.links.send(link, purpose, &bytes))?;
        Ok(bytes)
    }

    /// Replaces the values by their sums, added in the order of ranks: the same bits in each process.
    pub fn sum<T: Number>(&self, values: &mut [T]) -> Result<(), ParallelError> {
        let pack = |values: &[T]| {
            let mut bytes = Vec::with_capacity(values.len() * T::BYTES);
            values.iter().for_each(|value| value.append(&mut bytes));
            bytes
        };
        let expected = values.len() * T::BYTES;
        let fits = |rank: usize, bytes: &[u8]| match bytes.len() == expected {
            true => Ok(()),
            false => {
                let [found, expected] =
                    [bytes.len(), expected].map(|bytes| format!("a sum of {bytes} bytes"));
                Err(self.links.ended(ParallelError::OutOfStep { rank, found, expected }))
            }
        };
        let all = self.collect(pack(values), Purpose::Sum)?;
        for (rank, bytes) in all.iter().enumerate().skip(1) {
            fits(rank, bytes)?;
            for (value, other) in values.iter_mut().zip(bytes.chunks_exact(T::BYTES)) {
                *value += T::read(other);
            }
        }
        drop(all);
        let sums = self.spread(if self.rank == 0 { pack(values) } else { Vec::new() }, Purpose::Sum)?;
        fits(0, &sums)?;
        for (value, sum) in values.iter_mut().zip(sums.chunks_exact(T::BYTES)) {
            *value = T::read(sum);
        }
        Ok(())
    }

    /// This process fails: the others hear why, and end.
    pub fn fail(&self, reason: &str) {
        self.links.fail(self.rank, reason);
    }

    /// The work is done: connections that close are no failure any more.
    pub fn leave(&self) {
        self.links.leave();
    }
}

#[cfg(test)]
mod tests;
