//! A stand-in for brokers that do what mosquitto cannot be made to do. It speaks as much MQTT as a test needs, and sends what it is told
//! to send, packet for packet, again on each connection until that is acknowledged.

use std::{
    io::{Read, Result, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::process::free_port;

/// How it behaves.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Its CONNACK behind the fixed header.
    pub connack: Vec<u8>,
    /// The highest QoS that it grants.
    pub most_qos: u8,
    /// Whether it speaks MQTT 5: its answers have properties.
    pub is_five: bool,
    /// Packets that it delivers once subscribed, with their packet ids (0 at QoS 0).
    pub deliver: Vec<(u16, Vec<u8>)>,
    /// Whether it closes each connection once it has delivered.
    pub closes: bool,
}

#[derive(Default)]
struct State {
    connections: usize,
    /// Packets that came, without their fixed header.
    came: Vec<(u8, Vec<u8>)>,
    acknowledged: Vec<u16>,
}

/// The stand-in; it listens until the tests end.
pub struct StandIn {
    /// Its port on the loopback.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl StandIn {
    /// One that behaves so.
    pub fn start(script: Script) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (script, state) = (script.clone(), Arc::clone(&shared));
                lock(&state).connections += 1;
                // A connection that ends is no fault of the stand-in's.
                thread::spawn(move || drop(serve(client, &script, &state)));
            }
        });
        Self { port, state }
    }

    /// Value of forebay's `mqtt.url`.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// Packet ids that were acknowledged, in order; of QoS 2 those that were released.
    pub fn acknowledged(&self) -> Vec<u16> {
        lock(&self.state).acknowledged.clone()
    }

    /// Packets of a type that came, without their fixed header.
    pub fn came(&self, kind: u8) -> Vec<Vec<u8>> {
        lock(&self.state).came.iter().filter(|(first, _)| first >> 4 == kind).map(|(_, body)| body.clone()).collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut client: TcpStream, script: &Script, state: &Mutex<State>) -> Result<()> {
    client.set_nodelay(true)?;
    loop {
        let (first, body) = read_packet(&mut client)?;
        lock(state).came.push((first, body.clone()));
        match first >> 4 {
            1 => send(&mut client, 0x20, &script.connack)?,
            5 => send(&mut client, 0x62, &body[..2])?,
            4 | 7 => lock(state).acknowledged.push(id(&body)),
            8 => {
                let mut answer = body[..2].to_vec();
                answer.extend(granted(&body, script));
                send(&mut client, 0x90, &answer)?;
                for (id, packet) in &script.deliver {
                    let is_done = lock(state).acknowledged.contains(id);
                    if !is_done {
                        client.write_all(packet)?;
                    }
                }
                if script.closes {
                    return client.shutdown(Shutdown::Both);
                }
            }
            10 => {
                let answer = if script.is_five { [&body[..2], &[0, 0]].concat() } else { body[..2].to_vec() };
                send(&mut client, 0xB0, &answer)?;
            }
            12 => send(&mut client, 0xD0, &[])?,
            14 => return Ok(()),
            _ => {}
        }
    }
}

fn id(body: &[u8]) -> u16 {
    u16::from_be_bytes([body[0], body[1]])
}

/// The rest of a SUBACK: properties with MQTT 5, and for each filter the QoS.
fn granted(body: &[u8], script: &Script) -> Vec<u8> {
    let mut answer = if script.is_five { vec![0] } else { Vec::new() };
    // A test's properties are shorter than 128 bytes.
    let mut at = 2 + if script.is_five { 1 + usize::from(body[2]) } else { 0 };
    while at + 2 < body.len() {
        at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        answer.push((body[at] & 3).min(script.most_qos));
        at += 1;
    }
    answer
}

fn send(client: &mut TcpStream, first: u8, body: &[u8]) -> Result<()> {
    client.write_all(&[&[first, body.len() as u8], body].concat())
}

fn read_packet(client: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    client.read_exact(&mut byte)?;
    let (first, mut length, mut shift) = (byte[0], 0, 0);
    loop {
        client.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    Ok((first, body))
}
