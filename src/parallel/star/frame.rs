//! What goes over a connection: a byte that says what it is, a length, the bytes.

use std::io::{self, ErrorKind, Read, Write};

/// More than any message has; a length beyond it comes from a stranger.
const LONGEST: u64 = 1 << 33;
/// Whoever says something else first is no process of ours.
const MAGIC: &[u8] = concat!("partial-res ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// Which operation a message belongs to: processes that are out of step notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Gather,
    Broadcast,
    Sum,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first one, to the root.
    Hello {
        rank: usize,
        size: usize,
    },
    /// The first one from the root: all are there.
    Welcome,
    Message(Purpose, Vec<u8>),
    /// There is nothing to say, but somebody is there.
    Alive,
    /// The work is done.
    Goodbye,
    /// A process failed, or is gone: what was said about it. The others are to end.
    Failed(String),
}

impl Frame {
    pub fn message(purpose: Purpose, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        let kind = match purpose {
            Purpose::Gather => 2,
            Purpose::Broadcast => 3,
            Purpose::Sum => 4,
        };
        write(kind, bytes, to)
    }

    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Hello { rank, size } => {
                let numbers = [*rank as u64, *size as u64].map(u64::to_le_bytes);
                write(0, &[MAGIC, &numbers.concat()].concat(), to)
            }
            Self::Welcome => write(1, &[], to),
            Self::Message(purpose, bytes) => Self::message(*purpose, bytes, to),
            Self::Alive => write(5, &[], to),
            Self::Goodbye => write(6, &[], to),
            Self::Failed(what) => write(7, what.as_bytes(), to),
        }
    }

    /// # Errors
    /// The connection's, and `InvalidData` for what is no frame.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        // Only a message may be long.
        if length > LONGEST || (!(2..=4).contains(&kind) && length > 1 << 16) {
            return Err(strange());
        }
        // Not allocated before it comes.
        let mut bytes = Vec::new();
        if from.take(length).read_to_end(&mut bytes)? as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(match kind {
            0 => match bytes.strip_prefix(MAGIC).map(<[u8]>::as_chunks) {
                Some((&[rank, size], [])) => {
                    let [rank, size] = [rank, size].map(|number| u64::from_le_bytes(number) as usize);
                    Self::Hello { rank, size }
                }
                _ => return Err(strange()),
            },
            1 => Self::Welcome,
            2 => Self::Message(Purpose::Gather, bytes),
            3 => Self::Message(Purpose::Broadcast, bytes),
            4 => Self::Message(Purpose::Sum, bytes),
            5 => Self::Alive,
            6 => Self::Goodbye,
            7 => Self::Failed(String::from_utf8_lossy(&bytes).into_owned()),
            _ => return Err(strange()),
        })
    }
}

fn write(kind: u8, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
    let mut head = [kind; 9];
    head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    to.write_all(&head)?;
    to.write_all(bytes)
}

fn strange() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "what came is not from a process of this program and version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_strangers_are_noticed() {
        let frames = [
            Frame::Hello { rank: 1, size: 3 },
            Frame::Welcome,
            Frame::Message(Purpose::Sum, vec![1, 2, 3]),
            Frame::Message(Purpose::Gather, Vec::new()),
            Frame::Alive,
            Frame::Goodbye,
            Frame::Failed("no image".into()),
        ];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes).expect("memory"));
        let mut rest = &bytes[..];
        for frame in &frames {
            assert_eq!(&Frame::read(&mut rest).expect("a frame"), frame);
        }
        let kind = |mut bytes: &[u8]| Frame::read(&mut bytes).expect_err("refused").kind();
        assert_eq!(kind(&bytes[..20]), ErrorKind::UnexpectedEof);
        assert_eq!(kind(b"GET / HTTP/1.1\r\n\r\n"), ErrorKind::InvalidData);
        assert_eq!(kind(&[2, 255, 255, 255, 255, 255, 255, 255, 255]), ErrorKind::InvalidData);
    }
}
