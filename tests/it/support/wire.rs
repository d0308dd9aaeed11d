//! A small MQTT 3.1.1 publisher that knows exactly what the broker has acknowledged, and costs little enough to share two
//! cores with what is measured.

use std::{
    io::{BufReader, Error, ErrorKind, Read, Result, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Most QoS 1 messages without their PUBACK.
const WINDOW: u64 = 1_000;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 16 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that publishes.
pub struct Publisher {
    stream: TcpStream,
    out: Vec<u8>,
    sent: u64,
    acks: Arc<Acks>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Acks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    acked: u64,
    /// Why no more PUBACKs come.
    ended: Option<String>,
}

impl Publisher {
    /// Connects with a clean session; `login` is user and password.
    pub fn connect(port: u16, login: Option<(&str, &str)>) -> Result<Self> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        stream.write_all(&connect_packet(login))?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack)?;
        if connack[0] != 0x20 || connack[3] != 0 {
            return Err(Error::new(ErrorKind::PermissionDenied, format!("refused with code {}", connack[3])));
        }
        stream.set_read_timeout(None)?;
        let acks = Arc::new(Acks::default());
        let reader = {
            let (acks, stream) = (Arc::clone(&acks), stream.try_clone()?);
            thread::spawn(move || {
                let why = read_acks(&acks, stream).err().map_or_else(String::new, |e| e.to_string());
                acks.lock().ended = Some(why);
                acks.changed.notify_all();
            })
        };
        Ok(Self { stream, out: Vec::with_capacity(WRITE_BYTES * 2), sent: 0, acks, reader: Some(reader) })
    }

    /// Publishes at QoS 1; blocks while the window is full.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        if self.sent - self.acks.lock().acked >= WINDOW {
            self.flush()?;
            let floor = self.sent - WINDOW / 2;
            self.acks.wait_for(floor, None)?;
        }
        let id = packet_id(self.sent);
        publish_packet(&mut self.out, topic, payload, Some(id), false);
        self.sent += 1;
        self.flush_if_large()
    }

    /// Publishes at QoS 0.
    pub fn publish_qos0(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        publish_packet(&mut self.out, topic, payload, None, false);
        self.flush_if_large()
    }

    /// Publishes a retained message at QoS 1.
    pub fn publish_retained(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        let id = packet_id(self.sent);
        publish_packet(&mut self.out, topic, payload, Some(id), true);
        self.sent += 1;
        self.flush()
    }

    /// Writes what was gathered.
    pub fn flush(&mut self) -> Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    /// QoS 1 messages published so far; those acknowledged are the first [`Self::acked`] of them.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// QoS 1 messages the broker has acknowledged.
    pub fn acked(&self) -> u64 {
        self.acks.lock().acked
    }

    /// Writes everything and waits until all of it is acknowledged.
    pub fn drain(&mut self, limit: Duration) -> Result<()> {
        self.flush()?;
        self.acks.wait_for(self.sent, Some(limit))
    }

    /// An error once the connection is gone.
    pub fn check(&self) -> Result<()> {
        match &self.acks.lock().ended {
            Some(why) => Err(Error::new(ErrorKind::ConnectionAborted, why.clone())),
            None => Ok(()),
        }
    }

    fn flush_if_large(&mut self) -> Result<()> {
        if self.out.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.flush();
        let _ = self.stream.write_all(&[0xE0, 0]);
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Acks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, count: u64, limit: Option<Duration>) -> Result<()> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut state = self.lock();
        while state.acked < count {
            if let Some(why) = &state.ended {
                return Err(Error::new(ErrorKind::ConnectionAborted, why.clone()));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Error::new(ErrorKind::TimedOut, format!("{} of {count} acknowledged", state.acked)));
            }
            let (next, _) =
                self.changed.wait_timeout(state, Duration::from_millis(100)).unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
        Ok(())
    }
}

fn read_acks(acks: &Acks, stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::with_capacity(16 * 1024, stream);
    let mut packet = [0; 4];
    loop {
        reader.read_exact(&mut packet)?;
        let mut state = acks.lock();
        // PUBACK (MQTT 3.1.1, section 3.4). The broker answers in the order of the messages, so a count says which.
        if packet[..2] != [0x40, 2] || u16::from_be_bytes([packet[2], packet[3]]) != packet_id(state.acked) {
            return Err(Error::new(ErrorKind::InvalidData, format!("unexpected packet {packet:?}")));
        }
        state.acked += 1;
        drop(state);
        acks.changed.notify_all();
    }
}

fn packet_id(count: u64) -> u16 {
    (count % 65_535) as u16 + 1
}

/// CONNECT (MQTT 3.1.1, section 3.1), with an empty client id and no keep-alive.
fn connect_packet(login: Option<(&str, &str)>) -> Vec<u8> {
    let flags = if login.is_some() { 0xC2 } else { 0x02 };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 0, 0, 0];
    for text in login.iter().flat_map(|(user, password)| [user, password]) {
        put_string(&mut body, text);
    }
    let mut packet = vec![0x10];
    put_length(&mut packet, body.len());
    packet.extend(body);
    packet
}

/// PUBLISH (MQTT 3.1.1, section 3.3): QoS 1 with a packet id, else QoS 0.
pub fn publish_packet(out: &mut Vec<u8>, topic: &str, payload: &[u8], id: Option<u16>, retain: bool) {
    out.push(0x30 | if id.is_some() { 2 } else { 0 } | u8::from(retain));
    put_length(out, 2 + topic.len() + if id.is_some() { 2 } else { 0 } + payload.len());
    put_string(out, topic);
    if let Some(id) = id {
        out.extend(id.to_be_bytes());
    }
    out.extend(payload);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let digit = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            return;
        }
    }
}
