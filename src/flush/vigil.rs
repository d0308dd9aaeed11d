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

/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The watch over the server's process. One that was never begun counts as broken.
#[derive(Debug, Default)]
pub struct Vigil {
    stream: Option<TcpStream>,
}

impl Vigil {
    /// Whether the server has run without a break since [`Self::begin`], as far as a connection tells. A proxy in between hides it.
    pub fn is_unbroken(&self) -> bool {
        // A server has nothing to say here; one that says something is about to close.
        self.stream
            .as_ref()
            .is_some_and(|stream| matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock))
    }

    /// Begins anew with the server at `address` (`host:port`). A failure leaves the vigil broken.
    pub fn begin(&mut self, address: &str) {
        self.stream = connect(address);
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
        let mut vigil = Vigil::default();
        assert!(!vigil.is_unbroken());
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        vigil.begin(&address);
        assert!(vigil.is_unbroken());
        // A process that ends closes what it has, taken or not.
        drop(server);
        let deadline = Instant::now() + Duration::from_secs(10);
        while vigil.is_unbroken() {
            assert!(Instant::now() < deadline);
        }
        vigil.begin(&address);
        assert!(!vigil.is_unbroken(), "nobody is there");
    }
}
