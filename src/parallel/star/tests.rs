use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::*;

/// A port that nobody used a moment ago.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

const SHORT: Duration = Duration::from_secs(20);

/// Runs `work` as several processes would, each in a thread; what each gives, and why each was ended.
fn together<R: Send + 'static>(
    size: usize,
    work: impl Fn(&Star) -> R + Send + Clone + 'static,
) -> Vec<(R, Vec<String>)> {
    let port = free_port();
    let threads: Vec<_> = (0..size)
        .map(|rank| {
            let work = work.clone();
            thread::spawn(move || {
                let (told, ends) = mpsc::channel();
                let told = Mutex::new(told);
                let on_end = move |error: &ParallelError| {
                    told.lock().unwrap().send(error.to_string()).unwrap();
                };
                let star = Star::join(("127.0.0.1", port), rank, size, SHORT, Box::new(on_end)).unwrap();
                let result = work(&star);
                (result, ends.try_iter().collect())
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn operations() {
    let all = together(3, |star| {
        let rank = star.rank();
        let mut sums = [rank as f64, 0.5];
        star.sum(&mut sums).unwrap();
        let mut many = vec![1f32 + rank as f32; 100_000];
        star.sum(&mut many).unwrap();
        assert!(many.iter().all(|&sum| sum == 6.0));
        let gathered = star.gather(&vec![rank as u8; rank]).unwrap();
        let said = star.broadcast(if rank == 0 { b"root".to_vec() } else { Vec::new() }).unwrap();
        star.leave();
        (sums, gathered, said)
    });
    for (rank, ((sums, gathered, said), ends)) in all.into_iter().enumerate() {
        assert_eq!((sums, &said[..]), ([3.0, 1.5], &b"root"[..]));
        let expected: Vec<Vec<u8>> = if rank == 0 { vec![vec![], vec![1], vec![2, 2]] } else { vec![] };
        assert_eq!((gathered, ends), (expected, vec![]));
    }
}

#[test]
fn the_reason_of_one_reaches_all() {
    for culprit in [0, 1] {
        let all = together(3, move |star| {
            if star.rank() == culprit {
                star.fail("no image 7");
                return String::new();
            }
            star.sum(&mut [0f64]).unwrap_err().to_string()
        });
        for (rank, (said, ends)) in all.into_iter().enumerate().filter(|(rank, _)| *rank != culprit) {
            assert!(
                said.contains(&format!("process {culprit}")) && said.contains("no image 7"),
                "{rank}: {said}"
            );
            assert_eq!(ends, [said], "told once");
        }
    }
}

#[test]
fn who_is_gone_without_a_word_ends_all() {
    let begun = Instant::now();
    let all = together(3, |star| {
        if star.rank() == 2 {
            // As the system does for a process that is killed.
            star.links.cut();
            return String::new();
        }
        star.gather(b"").and_then(|_| star.broadcast(Vec::new())).unwrap_err().to_string()
    });
    assert!(begun.elapsed() < SILENCE);
    for (said, _) in &all[..2] {
        assert!(said.contains("process 2") && said.contains("gone"), "{said}");
    }
}

#[test]
fn who_finishes_early_or_does_something_else_is_named() {
    let left = together(2, |star| match star.rank() {
        0 => star.gather(b"").unwrap_err().to_string(),
        _ => {
            star.leave();
            String::new()
        }
    });
    assert!(left[0].0.contains("process 1") && left[0].0.contains("finished"), "{}", left[0].0);
    let other = together(2, |star| match star.rank() {
        0 => star.gather(b"").map(drop).unwrap_err().to_string(),
        _ => star.sum(&mut [0f32]).unwrap_err().to_string(),
    });
    for (said, _) in other {
        assert!(said.contains("sum") && said.contains("gather"), "{said}");
    }
}

#[test]
fn who_does_not_come_is_named() {
    let join = |rank, size, port, seconds| {
        let patience = Duration::from_secs(seconds);
        let star = Star::join(("127.0.0.1", port), rank, size, patience, Box::new(|_| ()));
        star.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let port = free_port();
    let said = join(0, 3, port, 0);
    assert!(said.contains("1, 2"), "{said}");
    let said = join(1, 2, port, 0);
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let said = join(0, 2, taken.local_addr().unwrap().port(), 1);
    assert!(said.contains("MASTER_PORT"), "{said}");
}

/// A stranger at the door does not keep the processes from coming together.
#[test]
fn strangers_are_sent_away() {
    let port = free_port();
    let root = thread::spawn(move || {
        let star = Star::join(("127.0.0.1", port), 0, 2, SHORT, Box::new(|_| ())).unwrap();
        star.broadcast(b"hello".to_vec()).unwrap();
        star.leave();
    });
    let begun = Instant::now();
    let mut stranger = loop {
        match std::net::TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => assert!(begun.elapsed() < SHORT),
        }
    };
    std::io::Write::write_all(&mut stranger, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let star = Star::join(("127.0.0.1", port), 1, 2, SHORT, Box::new(|_| ())).unwrap();
    assert_eq!(star.broadcast(Vec::new()).unwrap(), b"hello");
    star.leave();
    root.join().unwrap();
}
