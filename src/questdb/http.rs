//! Requests to QuestDB over HTTP. Whatever answers: of an answer no more than a stated size is read, for no longer than a stated time.

use std::{io, sync::Arc, time::Duration};

use thiserror::Error;
use ureq::unversioned::{
    resolver::DefaultResolver,
    transport::{Connector as _, DefaultConnector},
};

use super::{Connection, cut, in_time::InTime};
use crate::files::read::{MAX_PEM_BYTES, read_regular};

/// Why there is no answer. Messages are cut to [`super::MAX_MESSAGE_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HttpError {
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// No whole answer in time.
    #[error("no whole answer in time")]
    Timeout,
    /// The answer has more than so many bytes.
    #[error("more than {0} bytes")]
    TooLarge(u64),
    /// The request cannot be made.
    #[error("{0}")]
    Setup(String),
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// How much of an answer is read.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From the request's first byte to the answer's last.
    pub time: Duration,
    /// Largest body, in bytes.
    pub bytes: u64,
}

/// The client. Cheap to clone; one connection is kept open between requests, shared by clones.
#[derive(Debug, Clone)]
pub struct Http {
    agent: ureq::Agent,
    connection: Arc<Connection>,
    authorization: Option<String>,
}

impl Http {
    /// A client of that connection; nothing is sent yet.
    pub fn new(connection: Arc<Connection>) -> Result<Self, HttpError> {
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(connection.request_timeout))
            .http_status_as_error(false)
            .max_idle_connections(1)
            .max_redirects(0);
        if let Some(path) = &connection.tls_roots {
            let pem = read_regular(path, MAX_PEM_BYTES)
                .map_err(|e| HttpError::Setup(format!("tls_roots {}: {e}", path.display())))?;
            let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            let roots = ureq::tls::RootCerts::new_with_certs(&certificates);
            config = config.tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build());
        }
        let authorization = connection.authorization();
        let connector = DefaultConnector::default().chain(InTime);
        let agent = ureq::Agent::with_parts(config.build(), connector, DefaultResolver::default());
        Ok(Self { agent, connection, authorization })
    }

    /// Asks for a page, with a parameter perhaps.
    pub fn get(&self, path: &str, query: Option<(&str, &str)>, bounds: Bounds) -> Result<Reply, HttpError> {
        let request = self.agent.get(self.url(path)).config().timeout_global(Some(bounds.time)).build();
        let request = match query {
            Some((name, value)) => request.query(name, value),
            None => request,
        };
        let request = match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        };
        read(request.call(), bounds)
    }

    /// Sends a body.
    pub fn post(&self, path: &str, body: &[u8], bounds: Bounds) -> Result<Reply, HttpError> {
        let request = self.agent.post(self.url(path)).config().timeout_global(Some(bounds.time)).build();
        let request = request.content_type("text/plain; charset=utf-8");
        let request = match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        };
        read(request.send(body), bounds)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.connection.base_url)
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, bounds: Bounds) -> Result<Reply, HttpError> {
    let unread = |error: ureq::Error| unanswered(&error, bounds.bytes);
    let mut answer = answer.map_err(unread)?;
    let status = answer.status().as_u16();
    // The client takes a body that ends at its limit for a larger one.
    let limit = bounds.bytes.saturating_add(1);
    let body = answer.body_mut().with_config().limit(limit).read_to_vec().map_err(unread)?;
    Ok(Reply { status, body })
}

fn unanswered(error: &ureq::Error, limit: u64) -> HttpError {
    match error {
        ureq::Error::Timeout(_) => HttpError::Timeout,
        ureq::Error::BodyExceedsLimit(_) => HttpError::TooLarge(limit),
        ureq::Error::BadUri(_) | ureq::Error::Tls(_) => HttpError::Setup(cut(&error.to_string()).to_owned()),
        ureq::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut => HttpError::Timeout,
        _ => HttpError::Unreachable(cut(&error.to_string()).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        thread::{self, JoinHandle},
        time::Instant,
    };

    use super::*;
    use crate::{questdb::Secrets, settings};

    const LIMIT: u64 = 10_000;

    /// A server that answers one request so, and a client of it. The answer ends when the client leaves.
    fn answering(answer: impl FnOnce(&mut TcpStream) -> io::Result<()> + Send + 'static) -> (Http, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let conf = format!("http::addr={};", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]).unwrap();
            let _ = answer(&mut stream);
        });
        let settings = settings::Questdb { conf, ..settings::Questdb::default() };
        (Http::new(Arc::new(Connection::new(&settings, Secrets::default()).unwrap())).unwrap(), server)
    }

    fn bounds(time: Duration) -> Bounds {
        Bounds { time, bytes: LIMIT }
    }

    #[test]
    fn an_answer_without_an_end_is_given_up_at_the_limit() {
        let (http, server) = answering(|stream| {
            stream.write_all(b"HTTP/1.1 400 Bad request\r\nContent-Type: application/json\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 4_096])?;
            }
        });
        let answer = http.post("/write", b"t x=1", bounds(Duration::from_mins(1)));
        assert_eq!(answer, Err(HttpError::TooLarge(LIMIT)));
        server.join().unwrap();
    }

    #[test]
    fn an_answer_as_large_as_the_limit_is_read() {
        let (http, server) = answering(|stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LIMIT}\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(&vec![b'x'; LIMIT as usize])
        });
        let answer = http.get("/exec", Some(("query", "SELECT 1")), bounds(Duration::from_mins(1))).unwrap();
        assert_eq!((answer.status, answer.body.len() as u64), (200, LIMIT));
        server.join().unwrap();
    }

    /// Bytes of an answer one by one, so fast that some are always there when the time is over.
    fn trickles(head: &'static [u8]) {
        let (http, server) = answering(|stream| {
            stream.write_all(head)?;
            loop {
                stream.write_all(b"x")?;
                thread::sleep(Duration::from_millis(1));
            }
        });
        let began = Instant::now();
        let bounds = Bounds { time: Duration::from_secs(3), bytes: u64::from(u32::MAX) };
        assert_eq!(http.get("/settings", None, bounds), Err(HttpError::Timeout));
        assert!(began.elapsed() < Duration::from_secs(20));
        drop(http);
        server.join().unwrap();
    }

    #[test]
    fn an_answer_that_trickles_is_given_up_in_time() {
        trickles(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n");
    }

    #[test]
    fn a_head_that_trickles_is_given_up_in_time() {
        trickles(b"HTTP/1.1 200 OK\r\nServer: ");
    }
}
