//! A connection that says nothing and is there to break: when the server's process ends, it ends too.
//!
//! The client's own connections are opened again without a word, and a server that has restarted may have lost not only rows but the
//! tables they go to. What is sent then makes tables anew without deduplication keys. So nothing is sent before the server was asked when
//! it was started, unless it has run without a break since.

use std::{
    io::ErrorKind,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use super::outside::Vigil;

/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The watch over the process of the server at an address (`host:port`).
#[derive(Debug)]
pub struct Connected {
    address: String,
    stream: Option<TcpStream>,
}

impl Connected {
    /// One that is not begun.
    pub fn to(address: String) -> Self {
        Self { address, stream: None }
    }
}

impl Vigil for Connected {
    /// As far as a connection tells: a proxy in between hides a restart.
    fn is_unbroken(&self) -> bool {
        // A server has nothing to say here; one that says something is about to close.
        self.stream
            .as_ref()
            .is_some_and(|stream| matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock))
    }

    fn begin(&mut self) {
        self.stream = connect(&self.address);
    }

    fn end(&mut self) {
        self.stream = None;
    }
}

fn connect(address: &str) -> Option<TcpStream> {
    let mut addresses = address.to_socket_addrs().ok()?;
    let stream = addresses.find_map(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).ok())?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Instant};

    use super::*;

    #[test]
    fn it_breaks_with_the_server_and_can_be_begun_again() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut vigil = Connected::to(server.local_addr().unwrap().to_string());
        assert!(!vigil.is_unbroken());
        vigil.begin();
        assert!(vigil.is_unbroken());
        // A process that ends closes what it has, taken or not.
        drop(server);
        let deadline = Instant::now() + Duration::from_secs(10);
        while vigil.is_unbroken() {
            assert!(Instant::now() < deadline);
        }
        vigil.begin();
        assert!(!vigil.is_unbroken(), "nobody is there");
    }

    #[test]
    fn it_can_be_given_up() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut vigil = Connected::to(server.local_addr().unwrap().to_string());
        vigil.begin();
        assert!(vigil.is_unbroken());
        vigil.end();
        assert!(!vigil.is_unbroken());
    }
}
