//! A server that is far away: whatever goes there or comes back is a while under way.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use super::process::free_port;

/// The way to a server. It ends with the process.
pub struct Distance {
    port: u16,
}

impl Distance {
    /// The way to the server on that port, with so long one way.
    pub fn before(server: u16, one_way: Duration) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                let twice = |stream: &TcpStream| stream.try_clone().expect("a handle");
                carry(twice(&client), twice(&server), one_way);
                carry(server, client, one_way);
            }
        });
        Self { port }
    }

    /// Value of forebay's `questdb.conf`.
    pub fn conf(&self) -> String {
        format!("http::addr=127.0.0.1:{};", self.port)
    }
}

/// Carries bytes in one direction; any number of them may be under way.
fn carry(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    let (leave, arrive) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if leave.send((Instant::now() + one_way, bytes[..read].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        let _ = to.set_nodelay(true);
        for (at, bytes) in arrive {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
