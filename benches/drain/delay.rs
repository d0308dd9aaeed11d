//! A line to a server that takes its time: every byte arrives so much later, in either direction.
//!
//! Nothing is lost and the line carries whatever is put on it: what is measured is the cost of waiting alone. (A real long line
//! costs more: TCP's window opens by and by.)

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::mpsc::sync_channel,
    thread,
    time::{Duration, Instant},
};

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks on the way in one direction of a connection at most.
const CHUNKS: usize = 4_096;

/// Opens a delayed line to the server on that port; the port of its near end. It stays until the program ends.
pub fn line_to(server: u16, one_way: Duration) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
            for stream in [&client, &server] {
                let _ = stream.set_nodelay(true);
            }
            carry(client.try_clone().expect("a handle"), server.try_clone().expect("a handle"), one_way);
            carry(server, client, one_way);
        }
    });
    port
}

fn carry(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    let (sent, arriving) = sync_channel::<(Instant, Vec<u8>)>(CHUNKS);
    thread::spawn(move || {
        let mut bytes = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if sent.send((Instant::now() + one_way, bytes[..read].to_vec())).is_err() {
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
