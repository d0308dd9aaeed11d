//! A relay between the daemon and a server, and a tap that notes what the daemon acknowledges.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::process::free_port;

/// Sees the bytes that pass in one direction of one connection, before they are passed on.
type Watch = Box<dyn FnMut(&[u8]) + Send>;

/// Passes connections on to a server from [`Relay::open`] on; before that nobody answers on its port.
pub struct Relay {
    /// The port to connect to.
    pub port: u16,
    stop: Arc<AtomicBool>,
    /// Directions of connections in which bytes may still pass.
    flowing: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// A relay that is not open yet.
    pub fn shut() -> Self {
        Self { port: free_port(), stop: Arc::default(), flowing: Arc::default(), thread: None }
    }

    /// Has connections go to the server on that port.
    pub fn open(&mut self, server: u16) {
        self.open_watched(server, || (Box::new(|_| {}), Box::new(|_| {})));
    }

    fn open_watched(&mut self, server: u16, watch: impl Fn() -> (Watch, Watch) + Send + 'static) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).expect("the relay's port is free");
        let (stop, flowing) = (Arc::clone(&self.stop), Arc::clone(&self.flowing));
        self.thread = Some(thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                let (to_server, to_client) = watch();
                let (client_too, server_too) =
                    (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                pump(client_too, server_too, to_server, &flowing);
                pump(server, client, to_client, &flowing);
            }
        }));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut watch: Watch, flowing: &Arc<AtomicUsize>) {
    let flowing = Arc::clone(flowing);
    flowing.fetch_add(1, Ordering::SeqCst);
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            watch(&bytes[..read]);
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        flowing.fetch_sub(1, Ordering::SeqCst);
    });
}

/// A message: topic and payload.
pub type Message = (String, Vec<u8>);

/// Stands between the daemon and the broker, and notes which messages the daemon acknowledges. They speak MQTT 5.
pub struct Tap {
    relay: Relay,
    acknowledged: Arc<Mutex<Vec<Message>>>,
}

impl Tap {
    /// A tap on the line to the broker on that port.
    pub fn start(broker: u16) -> Self {
        let mut relay = Relay::shut();
        let acknowledged: Arc<Mutex<Vec<Message>>> = Arc::default();
        let list = Arc::clone(&acknowledged);
        relay.open_watched(broker, move || {
            // Packet ids belong to a connection.
            let delivered: Arc<Mutex<HashMap<u16, Message>>> = Arc::default();
            let (list, open) = (Arc::clone(&list), Arc::clone(&delivered));
            let (mut from_daemon, mut from_broker) = (Packets::default(), Packets::default());
            let to_broker: Watch = Box::new(move |bytes| {
                from_daemon.each(bytes, |first, body| {
                    let id = body.first_chunk().map(|id| u16::from_be_bytes(*id));
                    let message = id.filter(|_| first == PUBACK).and_then(|id| lock(&open).remove(&id));
                    lock(&list).extend(message);
                });
            });
            let to_daemon: Watch = Box::new(move |bytes| {
                from_broker.each(bytes, |first, body| {
                    if first & 0xF6 == PUBLISH_QOS1 {
                        let (id, message) = parse_publish(body);
                        lock(&delivered).insert(id, message);
                    }
                });
            });
            (to_broker, to_daemon)
        });
        Self { relay, acknowledged }
    }

    /// URL for the daemon.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.relay.port)
    }

    /// How many messages the daemon has acknowledged.
    pub fn count(&self) -> usize {
        lock(&self.acknowledged).len()
    }

    /// Whether every connection is over, and all that passed is noted.
    pub fn is_still(&self) -> bool {
        self.relay.flowing.load(Ordering::SeqCst) == 0
    }

    /// The messages the daemon has acknowledged.
    pub fn acknowledged(&self) -> Vec<Message> {
        lock(&self.acknowledged).clone()
    }
}

const PUBACK: u8 = 0x40;
/// PUBLISH at QoS 1, the flags of duplicates and retained messages left out (MQTT 5.0, section 3.3.1).
const PUBLISH_QOS1: u8 = 0x32;

/// Topic, packet id, properties, payload (MQTT 5.0, section 3.3.2).
fn parse_publish(body: &[u8]) -> (u16, Message) {
    let topic_bytes = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let (topic, rest) = body[2..].split_at(topic_bytes);
    let id = u16::from_be_bytes([rest[0], rest[1]]);
    let (properties, length_bytes) = variable_length(&rest[2..]).expect("a whole packet");
    (id, (String::from_utf8_lossy(topic).into_owned(), rest[2 + length_bytes + properties..].to_vec()))
}

/// Cuts a stream of bytes into packets.
#[derive(Default)]
struct Packets {
    bytes: Vec<u8>,
}

impl Packets {
    fn each(&mut self, bytes: &[u8], mut packet: impl FnMut(u8, &[u8])) {
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((length, length_bytes)) = self.bytes.get(at + 1..).and_then(variable_length) {
            let body = at + 1 + length_bytes;
            let Some(bytes) = self.bytes.get(body..body + length) else { break };
            packet(self.bytes[at], bytes);
            at = body + length;
        }
        self.bytes.drain(..at);
    }
}

/// A variable byte integer, and the bytes it takes (MQTT 5.0, section 1.5.5).
fn variable_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..=end].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7F));
    Some((value, end + 1))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
