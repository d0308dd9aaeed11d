//! A stand-in for what lies between forebay and QuestDB: it passes requests on, keeps them, cuts them off, or swallows answers.
//!
//! It does to a request what networks, proxies and hanging servers do, and nothing else: the bytes that reach the server are those that
//! the client sent, in their order, and each at most once.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::process::free_port;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// What becomes of a request that writes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on, and so is the answer.
    Pass,
    /// It is kept until [`Proxy::release`]; the client hears nothing.
    Hold,
    /// The same, and the client is told that nothing was heard of the server (504).
    HoldAndTell,
    /// It is passed on after so long.
    Late(Duration),
    /// It is refused with this status in place of the server.
    Refuse(u16),
    /// It is passed on, and the client hears nothing.
    Swallow,
    /// It is passed on, and the client's connection is cut in place of the answer.
    Lose,
    /// Its first bytes are passed on, then both connections are cut.
    Cut(usize),
}

#[derive(Default)]
struct State {
    fates: VecDeque<Fate>,
    /// What becomes of requests that no fate was set for.
    usual: Option<fn(u64, &[u8]) -> Fate>,
    held: Vec<Vec<u8>>,
    /// Requests that write rows, as they came.
    writes: u64,
    last_bytes: usize,
}

/// A proxy in front of a server.
pub struct Proxy {
    /// Where it listens on the loopback.
    pub port: u16,
    server: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// A proxy in front of the server on that port.
    pub fn before(server: u16) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(client, server, &state));
            }
        });
        Self { port, server, state }
    }

    /// Value of forebay's `questdb.conf`.
    pub fn conf(&self) -> String {
        format!("http::addr=127.0.0.1:{};", self.port)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Sets what becomes of the next request that writes rows (of those after it, when called again).
    pub fn next(&self, fate: Fate) {
        self.state().fates.push_back(fate);
    }

    /// Sets what becomes of every request that writes rows, by its number (from 1) and its bytes.
    pub fn usually(&self, fate: fn(u64, &[u8]) -> Fate) {
        self.state().usual = Some(fate);
    }

    /// Ends [`Self::usually`].
    pub fn pass_all(&self) {
        self.state().usual = None;
    }

    /// Requests kept.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Requests that write rows so far.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Bytes of the last of them, head and body.
    pub fn last_bytes(&self) -> usize {
        self.state().last_bytes
    }

    /// Delivers the requests kept, each over a connection of its own; the server's status codes.
    pub fn release(&self) -> Vec<u16> {
        let held = std::mem::take(&mut self.state().held);
        let deliver = |request: Vec<u8>| {
            let mut server = connect(self.server).expect("the server is there");
            server.write_all(&request).expect("the server takes it");
            let answer = read_message(&mut BufReader::new(server)).expect("the server answers");
            String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status")
        };
        held.into_iter().map(deliver).collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(stream)
}

/// One client's requests; none once either side has gone.
fn serve(client: TcpStream, server: u16, state: &Mutex<State>) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut to_client = client.try_clone().ok()?;
    let mut from_client = BufReader::new(client);
    let mut connection: Option<(TcpStream, BufReader<TcpStream>)> = None;
    loop {
        let request = read_message(&mut from_client)?;
        let fate = decide(&request, state);
        match fate {
            Fate::Pass | Fate::Late(_) => {
                if let Fate::Late(time) = fate {
                    thread::sleep(time);
                }
                if connection.is_none() {
                    let stream = connect(server).ok()?;
                    connection = Some((stream.try_clone().ok()?, BufReader::new(stream)));
                }
                let (to_server, from_server) = connection.as_mut()?;
                to_server.write_all(&request).ok()?;
                let answer = read_message(from_server)?;
                to_client.write_all(&answer).ok()?;
            }
            Fate::Hold => {
                lock(state).held.push(request);
                return silence(&mut from_client);
            }
            Fate::HoldAndTell => {
                lock(state).held.push(request);
                let text = "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                return to_client.write_all(text.as_bytes()).ok();
            }
            Fate::Refuse(status) => {
                let text = format!("HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\n\r\n");
                to_client.write_all(text.as_bytes()).ok()?;
            }
            Fate::Swallow | Fate::Lose => {
                let mut to_server = connect(server).ok()?;
                to_server.write_all(&request).ok()?;
                read_message(&mut BufReader::new(to_server))?;
                return if fate == Fate::Lose { None } else { silence(&mut from_client) };
            }
            Fate::Cut(bytes) => {
                let mut to_server = connect(server).ok()?;
                to_server.write_all(&request[..bytes.min(request.len())]).ok()?;
                to_server.shutdown(Shutdown::Write).ok()?;
                // What the server says is no concern of the client's; its end says that it has seen the cut.
                let _ = to_server.read_to_end(&mut Vec::new());
                return to_client.shutdown(Shutdown::Both).ok();
            }
        }
    }
}

fn decide(request: &[u8], state: &Mutex<State>) -> Fate {
    if !request.starts_with(b"POST /write") {
        return Fate::Pass;
    }
    let mut state = lock(state);
    state.writes += 1;
    state.last_bytes = request.len();
    match (state.fates.pop_front(), state.usual) {
        (Some(fate), _) => fate,
        (None, Some(usual)) => usual(state.writes, request),
        (None, None) => Fate::Pass,
    }
}

/// Says nothing until the client gives up.
fn silence(client: &mut impl Read) -> Option<()> {
    let _ = client.read(&mut [0]);
    None
}

/// The bytes of one request or answer: its head, and its body by `Content-Length` or chunks (RFC 9112, section 6).
pub(super) fn read_message(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = read_line(from, &mut message)?.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        if line.trim().is_empty() {
            break;
        }
    }
    if !chunked {
        read_exactly(from, length, &mut message)?;
        return Some(message);
    }
    loop {
        let size = usize::from_str_radix(read_line(from, &mut message)?.trim(), 16).ok()?;
        read_exactly(from, size + 2, &mut message)?;
        if size == 0 {
            return Some(message);
        }
    }
}

fn read_line(from: &mut impl BufRead, message: &mut Vec<u8>) -> Option<String> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line).ok()? == 0 {
        return None;
    }
    message.extend_from_slice(&line);
    Some(String::from_utf8_lossy(&line).into_owned())
}

fn read_exactly(from: &mut impl BufRead, bytes: usize, message: &mut Vec<u8>) -> Option<()> {
    let start = message.len();
    message.resize(start + bytes, 0);
    from.read_exact(&mut message[start..]).ok()
}
