//! A stand-in for a long or a thin line to a server: bytes arrive later, no faster than it carries, and not while it stalls.
//!
//! Nothing is lost. A real line costs more at first: TCP's window opens by and by.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::sync_channel,
    },
    thread,
    time::{Duration, Instant},
};

const CHUNK_BYTES: usize = 16 << 10;
/// Chunks on the way in one direction of a connection at most.
const CHUNKS: usize = 16_384;

/// What a line does to the bytes it carries.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line {
    /// Time from one end to the other.
    pub one_way: Duration,
    /// Bytes a second towards the server; as many as come where none.
    pub bytes_per_s: Option<f64>,
    /// Every so often nothing goes towards the server for so long.
    pub stalls: Option<(Duration, Duration)>,
}

/// A line that is open, until the program ends.
#[derive(Debug)]
pub struct Open {
    /// Port of its near end.
    pub port: u16,
    carried: Arc<AtomicU64>,
}

impl Open {
    /// Bytes carried towards the server so far.
    #[allow(dead_code, reason = "not every benchmark asks")]
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Line {
    /// Opens it to the server on that port.
    pub fn open(self, server: u16) -> Open {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let carried: Arc<AtomicU64> = Arc::default();
        let count = Arc::clone(&carried);
        thread::spawn(move || {
            let opened = Instant::now();
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                for stream in [&client, &server] {
                    let _ = stream.set_nodelay(true);
                }
                let towards = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                carry(towards.0, towards.1, self, opened, Arc::clone(&count));
                carry(server, client, Self { one_way: self.one_way, ..Self::default() }, opened, Arc::default());
            }
        });
        Open { port, carried }
    }

    /// When bytes arrive that are sent now, after those that arrive at `before`.
    fn arrival(&self, bytes: usize, opened: Instant, before: Instant) -> Instant {
        let mut due = Instant::now() + self.one_way;
        if let Some(rate) = self.bytes_per_s {
            due = due.max(before) + Duration::from_secs_f64(bytes as f64 / rate);
        }
        if let Some((every, span)) = self.stalls {
            let into = (due - opened).as_secs_f64() % every.as_secs_f64();
            // The first stall comes after a whole interval.
            if due - opened > every && into < span.as_secs_f64() {
                due += Duration::from_secs_f64(span.as_secs_f64() - into);
            }
        }
        due
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, line: Line, opened: Instant, count: Arc<AtomicU64>) {
    let (sent, arriving) = sync_channel::<(Instant, Vec<u8>)>(CHUNKS);
    thread::spawn(move || {
        let mut bytes = vec![0; CHUNK_BYTES];
        let mut due = Instant::now();
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            count.fetch_add(read as u64, Ordering::Relaxed);
            due = line.arrival(read, opened, due);
            if sent.send((due, bytes[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in arriving {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
