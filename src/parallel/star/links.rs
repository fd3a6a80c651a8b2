//! Connections that notice when the other side is gone.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::super::ParallelError;
use super::frame::{Frame, Purpose};

/// Somebody who has not said a word for so long is gone.
pub const SILENCE: Duration = Duration::from_secs(20);
/// Who computes says so often that he is there.
pub const HEARTBEAT: Duration = Duration::from_secs(4);
/// How long the news of a failure waits for a message that is on its way.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What a process hears from another.
pub type Message = (Purpose, Vec<u8>);
/// Is told why the work can't go on, once.
pub type OnEnd = Box<dyn Fn(&ParallelError) + Send + Sync>;

/// The sending halves of all connections, and why they ended.
pub struct Links {
    writers: Vec<(usize, Mutex<TcpStream>)>,
    end: OnceLock<Arc<ParallelError>>,
    /// Nothing is wrong any more with connections that close.
    done: OnceLock<()>,
    on_end: OnEnd,
}

impl Links {
    /// To these ranks.
    pub fn new(streams: Vec<(usize, TcpStream)>, on_end: OnEnd) -> Self {
        let writers = streams.into_iter().map(|(rank, stream)| (rank, Mutex::new(stream))).collect();
        Self { writers, end: OnceLock::new(), done: OnceLock::new(), on_end }
    }

    fn writer(&self, link: usize) -> MutexGuard<'_, TcpStream> {
        self.writers[link].1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn rank(&self, link: usize) -> usize {
        self.writers[link].0
    }

    pub fn send(&self, link: usize, purpose: Purpose, bytes: &[u8]) -> Result<(), ParallelError> {
        let sent = Frame::message(purpose, bytes, &mut *self.writer(link));
        sent.map_err(|error| self.ended(lost(self.rank(link), error)))
    }

    /// Why the work ended, which is `error` unless something else was the first.
    pub fn ended(&self, error: ParallelError) -> ParallelError {
        self.end(error, None);
        self.end.get().map_or(ParallelError::Done, |end| ParallelError::Ended(Arc::clone(end)))
    }

    /// Tells the others, but not the one who brought the news, and then whoever asked to be told.
    fn end(&self, error: ParallelError, from: Option<usize>) {
        let error = Arc::new(error);
        if self.done.get().is_some() || self.end.set(Arc::clone(&error)).is_err() {
            return;
        }
        self.tell(&Frame::Failed(error.to_string()), from);
        (self.on_end)(&error);
    }

    /// This process fails: the others hear why.
    pub fn fail(&self, rank: usize, reason: &str) {
        if self.done.set(()).is_ok() && self.end.get().is_none() {
            self.tell(&Frame::Failed(format!("process {rank} failed: {reason}")), None);
        }
    }

    /// The work is done.
    pub fn leave(&self) {
        if self.done.set(()).is_ok() {
            self.tell(&Frame::Goodbye, None);
        }
    }

    /// The last word on each connection.
    fn tell(&self, frame: &Frame, except: Option<usize>) {
        for (link, (_, writer)) in self.writers.iter().enumerate() {
            if Some(link) == except {
                continue;
            }
            let begun = Instant::now();
            let stream = loop {
                match writer.try_lock() {
                    Ok(stream) => break Some(stream),
                    Err(TryLockError::Poisoned(stream)) => break Some(stream.into_inner()),
                    Err(TryLockError::WouldBlock) if begun.elapsed() > LAST_WORD => break None,
                    Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
                }
            };
            let Some(mut stream) = stream else { continue };
            // Who is gone does not hear it.
            let told = frame.write(&mut *stream).and_then(|()| stream.flush());
            drop(told.and_then(|()| stream.shutdown(Shutdown::Write)));
        }
    }

    #[cfg(test)]
    pub fn cut(&self) {
        self.done.set(()).unwrap();
        self.writers.iter().for_each(|(_, writer)| writer.lock().unwrap().shutdown(Shutdown::Both).unwrap());
    }

    /// Says every now and then that this process is there, until the other end of `stop` is gone.
    pub fn beat(&self, stop: &Receiver<()>) {
        while stop.recv_timeout(HEARTBEAT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            for (_, writer) in &self.writers {
                // Where a message is on its way, that says it too; a connection that is broken is noticed
                // by who listens to it.
                if let Ok(mut stream) = writer.try_lock() {
                    drop(Frame::Alive.write(&mut *stream));
                }
            }
        }
    }

    /// Hands on what comes over one connection, until its end.
    pub fn listen(&self, link: usize, stream: &mut TcpStream, inbox: &Sender<Message>) {
        let rank = self.rank(link);
        loop {
            let broken = match Frame::read(stream) {
                Ok(Frame::Message(purpose, bytes)) => {
                    // Nobody waits for it any more: the work is ending.
                    if inbox.send((purpose, bytes)).is_err() {
                        return;
                    }
                    continue;
                }
                Ok(Frame::Alive) => continue,
                Ok(Frame::Goodbye) => return,
                Ok(Frame::Failed(what)) => return self.end(ParallelError::Stopped(what), Some(link)),
                Ok(Frame::Hello { .. } | Frame::Welcome) => ErrorKind::InvalidData.into(),
                Err(error) => error,
            };
            return self.end(lost(rank, broken), Some(link));
        }
    }
}

/// What a connection that broke says about the other side.
fn lost(rank: usize, source: io::Error) -> ParallelError {
    match source.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            ParallelError::Gone { rank }
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            ParallelError::Silent { rank, seconds: SILENCE.as_secs() }
        }
        _ => ParallelError::Connection { rank, source },
    }
}
