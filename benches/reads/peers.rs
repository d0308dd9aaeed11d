//! The two servers, and clients that ask one thing at a time.

use std::{
    io::{Read, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{
    eventually,
    scratch::{self, Scratch, scratch},
    unique,
};

/// A server to read from.
pub trait Peer: Sync {
    /// A connection to it.
    fn connect(&self) -> Client;
}

/// A connection that asks for one key after the other.
pub struct Client {
    stream: UnixStream,
    requests: Vec<Vec<u8>>,
    is_complete: fn(&[u8]) -> bool,
}

impl Client {
    /// The whole answer to a request.
    fn ask(&mut self, request: usize, answer: &mut Vec<u8>) {
        let Self { stream, requests, is_complete } = self;
        stream.write_all(&requests[request % requests.len()]).expect("the server takes the request");
        answer.clear();
        let mut chunk = [0; 4_096];
        while !is_complete(answer) {
            let read = stream.read(&mut chunk).expect("the server answers");
            assert!(read > 0, "the server hung up");
            answer.extend_from_slice(&chunk[..read]);
        }
    }

    /// Reads keys in a mixed order for so long; the time of each read, in microseconds.
    pub fn read_for(mut self, seed: u64, time: Duration) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut answer, mut times) = (Vec::new(), Vec::new());
        let began = Instant::now();
        while began.elapsed() < time {
            let request = random.usize(0..self.requests.len());
            let asked = Instant::now();
            self.ask(request, &mut answer);
            times.push(asked.elapsed().as_secs_f64() * 1e6);
        }
        times
    }
}

/// The daemon.
pub struct Forebay {
    socket: PathBuf,
    table: String,
}

impl Forebay {
    /// The daemon behind that socket.
    pub fn new(socket: PathBuf, table: &str) -> Self {
        Self { socket, table: table.to_owned() }
    }

    /// What asks for a device.
    pub fn query(&self, device: u64) -> String {
        format!("table={}&site=site-{}&device=dev-{device}", self.table, device % 4)
    }

    /// The whole request for it.
    pub fn request(&self, device: u64) -> Vec<u8> {
        format!("GET /v1/latest?{} HTTP/1.1\r\nHost: f\r\n\r\n", self.query(device)).into_bytes()
    }

    /// The body of the answer about a device.
    pub fn value(&self, device: u64) -> Vec<u8> {
        let mut answer = Vec::new();
        self.connect().ask(device as usize, &mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        answer.split_off(head)
    }
}

impl Peer for Forebay {
    fn connect(&self) -> Client {
        client(&self.socket, (0..crate::SERIES).map(|device| self.request(device)).collect())
    }
}

/// A client of HTTP.
pub fn client(socket: &Path, requests: Vec<Vec<u8>>) -> Client {
    Client {
        stream: UnixStream::connect(socket).expect("a server's socket"),
        requests,
        is_complete: |answer| {
            let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
            let text = std::str::from_utf8(&answer[..head]).expect("a head of text");
            match text.split_once("content-length: ") {
                Some((_, rest)) => {
                    let length: usize = rest.split('\r').next().and_then(|n| n.parse().ok()).expect("a length");
                    answer.len() >= head + 4 + length
                }
                None => answer.ends_with(b"0\r\n\r\n"),
            }
        },
    }
}

/// A Redis of its own, without persistence.
pub struct Redis {
    process: Child,
    socket: PathBuf,
    _dir: Scratch,
}

impl Redis {
    /// Starts it. Debian's package of the tools has the server's program under another name, which tells by its name what it is to be.
    pub fn start() -> Self {
        let dir = scratch("redis");
        let socket = scratch::sockets().join(format!("{}.sock", unique("redis")));
        let process = Command::new("redis-check-rdb")
            .arg0("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(&*dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-tools is installed (tests/tools/install-deps bench)");
        eventually(Duration::from_secs(10), "Redis answers", || UnixStream::connect(&socket).is_ok());
        Self { process, socket, _dir: dir }
    }

    /// Gives it the answers that the daemon gives.
    pub fn fill(&self, keys: u64, forebay: &Forebay) {
        let mut stream = UnixStream::connect(&self.socket).expect("Redis's socket");
        for device in 0..keys {
            let (key, value) = (key(device), forebay.value(device));
            let head = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len());
            stream.write_all(&[head.as_bytes(), &value, b"\r\n"].concat()).expect("Redis takes it");
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).expect("Redis answers");
            assert_eq!(&answer, b"+OK\r\n");
        }
    }

    fn socket(&self) -> &Path {
        &self.socket
    }
}

fn key(device: u64) -> String {
    format!("reads:site-{}:dev-{device}", device % 4)
}

impl Peer for Redis {
    fn connect(&self) -> Client {
        let request = |device: u64| {
            let key = key(device);
            format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).into_bytes()
        };
        Client {
            stream: UnixStream::connect(self.socket()).expect("Redis's socket"),
            requests: (0..crate::SERIES).map(request).collect(),
            is_complete: |answer| {
                let Some(head) = answer.windows(2).position(|window| window == b"\r\n") else { return false };
                let length = std::str::from_utf8(&answer[1..head]).ok().and_then(|n| n.parse::<usize>().ok());
                answer.len() >= head + 2 + length.expect("a length") + 2
            },
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}
