//! How processes find one another: the root listens, the others come.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::super::ParallelError;
use super::frame::Frame;

/// How long somebody who has connected may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// The connections of the root with ranks 1 and above, in their order.
pub fn gather(
    address: (&str, u16),
    size: usize,
    patience: Duration,
) -> Result<Vec<TcpStream>, ParallelError> {
    let failed = |source| ParallelError::Listen { address: format!("{}:{}", address.0, address.1), source };
    let known = address.to_socket_addrs().map_err(failed)?.collect();
    let listener = TcpListener::bind(&where_to_listen(address, known)[..]).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let mut there: Vec<Option<TcpStream>> = (1..size).map(|_| None).collect();
    let begun = Instant::now();
    while there.iter().any(Option::is_none) {
        if begun.elapsed() > patience {
            let absent = there.iter().enumerate().filter(|(_, stream)| stream.is_none());
            let ranks: Vec<String> = absent.map(|(i, _)| (i + 1).to_string()).collect();
            let address = listener.local_addr().map_err(failed)?.to_string();
            return Err(ParallelError::Absent {
                ranks: ranks.join(", "),
                address,
                seconds: patience.as_secs(),
            });
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        // A stranger is sent away, and the processes are waited for on.
        let Ok((rank, their_size)) = introduction(&stream) else { continue };
        if their_size != size || rank == 0 || rank >= size || there[rank - 1].is_some() {
            return Err(ParallelError::Rank { rank, their_size, size });
        }
        there[rank - 1] = Some(stream);
    }
    let there: Vec<TcpStream> = there.into_iter().flatten().collect();
    for (i, mut stream) in there.iter().enumerate() {
        let lost = |source| ParallelError::Connection { rank: i + 1, source };
        Frame::Welcome.write(&mut stream).map_err(lost)?;
    }
    Ok(there)
}

/// The addresses of `host` that the root may listen at. The name of a machine means a loopback address on that machine
/// itself where /etc/hosts says so (Debian's and Ubuntu's do: 127.0.1.1), but to all others it is one that they reach.
fn where_to_listen((host, port): (&str, u16), known: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let local = ["localhost", "loopback"].iter().any(|name| host.to_lowercase().contains(name));
    if local || host.parse::<IpAddr>().is_ok() {
        return known;
    }
    let reached: Vec<SocketAddr> = known.into_iter().filter(|address| !address.ip().is_loopback()).collect();
    if reached.is_empty() { vec![(Ipv4Addr::UNSPECIFIED, port).into()] } else { reached }
}

fn introduction(mut stream: &TcpStream) -> io::Result<(usize, usize)> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(INTRODUCTION))?;
    match Frame::read(&mut stream)? {
        Frame::Hello { rank, size } => Ok((rank, size)),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// The connection of another process with the root, once all are there.
pub fn come(
    address: (&str, u16),
    rank: usize,
    size: usize,
    patience: Duration,
) -> Result<TcpStream, ParallelError> {
    let begun = Instant::now();
    let mut stream = loop {
        match connect(address, patience) {
            Ok(stream) => break stream,
            // The root may have been started later.
            Err(_) if begun.elapsed() < patience => std::thread::sleep(PAUSE),
            Err(source) => {
                let address = format!("{}:{}", address.0, address.1);
                return Err(ParallelError::Connect { address, seconds: patience.as_secs(), source });
            }
        }
    };
    let lost = |source| ParallelError::Connection { rank: 0, source };
    stream.set_nodelay(true).map_err(lost)?;
    Frame::Hello { rank, size }.write(&mut stream).map_err(lost)?;
    stream.set_read_timeout(Some(patience)).map_err(lost)?;
    match Frame::read(&mut stream).map_err(lost)? {
        Frame::Welcome => Ok(stream),
        _ => Err(lost(ErrorKind::InvalidData.into())),
    }
}

fn connect(address: (&str, u16), patience: Duration) -> io::Result<TcpStream> {
    let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            // Where nobody listens yet, the system may have chosen that very port for this end: then it has connected
            // to itself.
            Ok(stream) if stream.local_addr()? == stream.peer_addr()? => {
                error = ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => return Ok(stream),
            Err(found) => error = found,
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A free port of those that Linux gives to who connects: it gives the others of each pair to who listens.
    fn port_of_who_connects() -> u16 {
        let port = |listener: TcpListener| listener.local_addr().unwrap().port();
        let mut pairs = std::iter::repeat_with(|| port(TcpListener::bind(("127.0.0.1", 0)).unwrap()) ^ 1);
        pairs.find(|&other| TcpListener::bind(("127.0.0.1", other)).is_ok()).unwrap()
    }

    /// As many tries as there are ports to choose from: a few of them get the one that is asked for.
    #[test]
    fn who_waits_does_not_connect_to_itself() {
        let port = port_of_who_connects();
        for _ in 0..1 << 15 {
            let answer = connect(("127.0.0.1", port), Duration::from_secs(5));
            assert!(answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused));
        }
    }

    #[test]
    fn the_name_of_a_machine_is_listened_at_where_others_reach_it() {
        let listen = |host: &str, known: &[&str]| {
            let known = known.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 7)).collect();
            let places = where_to_listen((host, 7), known).into_iter();
            places.map(|address| address.ip().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(listen("node0", &["127.0.1.1"]), ["0.0.0.0"]);
        assert_eq!(listen("node0", &["127.0.1.1", "10.0.0.5"]), ["10.0.0.5"]);
        assert_eq!(listen("node0", &["10.0.0.5", "fe80::1"]), ["10.0.0.5", "fe80::1"]);
        assert_eq!(listen("127.0.1.1", &["127.0.1.1"]), ["127.0.1.1"]);
        assert_eq!(listen("localhost", &["::1", "127.0.0.1"]), ["::1", "127.0.0.1"]);
    }
}
