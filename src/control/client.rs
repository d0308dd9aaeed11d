//! The commands' side of the socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::{Body, Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

use super::api::Problem;
use crate::files::access::{self, Wish};

/// Largest answer taken.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Longest line of an event stream taken.
const MAX_EVENT_BYTES: usize = 4 << 20;
/// How long an event stream may say nothing, not even that it is still there, which a daemon says each 15 s.
const EVENT_TIMEOUT: Duration = Duration::from_mins(1);
/// How long the daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What can go wrong between a command and the daemon.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket file.
    #[error("the daemon is not reachable: there is no socket {}; start it (systemctl start forebay), unless it is changing its ring's size (systemctl status forebay), or name its socket with --socket", .0.display())]
    Missing(PathBuf),
    /// Not allowed to connect.
    #[error("the daemon is not reachable: you may not connect to {}; {advice}", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
        /// What to do about it.
        advice: String,
    },
    /// Nobody listens.
    #[error("the daemon is not reachable: nobody listens on {}; it has died or was killed, see systemctl status forebay", .0.display())]
    Refused(PathBuf),
    /// Connecting failed otherwise.
    #[error("the daemon is not reachable on {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No answer in time.
    #[error("the daemon on {} took the connection and did not answer within {} s; see its log", path.display(), within.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        within: Duration,
    },
    /// The connection broke.
    #[error("the connection to the daemon on {} broke", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// How.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon says no.
    #[error("{} ({})", .0.detail, .0.hint)]
    Problem(Problem),
    /// Not what a daemon answers.
    #[error("the answer is not forebay's: {0}; is {path} forebay's socket?", path = .1.display())]
    Strange(String, PathBuf),
}

impl ClientError {
    /// Whether there is no daemon to talk to, as opposed to one that says no.
    pub fn is_unreachable(&self) -> bool {
        !matches!(self, Self::Problem(_) | Self::Strange(..))
    }
}

/// One connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    sender: SendRequest<Empty<Bytes>>,
    patience: Duration,
}

impl Client {
    /// Connects to the daemon's socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let silent = || ClientError::Silent { path: path.into(), within: ANSWER_TIMEOUT };
        let connected = timeout(ANSWER_TIMEOUT, UnixStream::connect(path)).await.map_err(|_| silent())?;
        let stream = connected.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ClientError::Missing(path.into()),
            io::ErrorKind::PermissionDenied => {
                ClientError::Denied { path: path.into(), advice: access::advice(path, Wish::Connect) }
            }
            io::ErrorKind::ConnectionRefused => ClientError::Refused(path.into()),
            _ => ClientError::Connect { path: path.into(), source },
        })?;
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|why| broken(path, why))?;
        tokio::spawn(connection);
        Ok(Self { path: path.into(), sender, patience: ANSWER_TIMEOUT })
    }

    /// Lets the daemon take so long for an answer, for requests that are work.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The body of a `GET`, which must be a success.
    pub async fn get(&mut self, path_and_query: &str) -> Result<Vec<u8>, ClientError> {
        self.fetch(Method::GET, path_and_query).await
    }

    /// The body of a `POST` without a body of its own.
    pub async fn post(&mut self, path_and_query: &str) -> Result<Vec<u8>, ClientError> {
        self.fetch(Method::POST, path_and_query).await
    }

    /// The JSON document that answers a `POST` without a body of its own.
    pub async fn post_json<T: serde::de::DeserializeOwned>(&mut self, path_and_query: &str) -> Result<T, ClientError> {
        let body = self.post(path_and_query).await?;
        serde_json::from_slice(&body).map_err(|why| ClientError::Strange(why.to_string(), self.path.clone()))
    }

    /// The same for what takes the daemon a while.
    pub async fn post_within(&mut self, path_and_query: &str, limit: Duration) -> Result<Vec<u8>, ClientError> {
        let body = self.ask(Method::POST, path_and_query, limit).await?;
        self.read(body).await
    }

    /// The JSON document of a `GET`.
    pub async fn get_json<T: serde::de::DeserializeOwned>(&mut self, path_and_query: &str) -> Result<T, ClientError> {
        let body = self.get(path_and_query).await?;
        serde_json::from_slice(&body).map_err(|why| ClientError::Strange(why.to_string(), self.path.clone()))
    }

    /// Follows a stream of server-sent events.
    pub async fn events(mut self, path_and_query: &str) -> Result<Events, ClientError> {
        let body = self.ask(Method::GET, path_and_query, ANSWER_TIMEOUT).await?;
        Ok(Events { body, buffer: Vec::new(), client: self })
    }

    async fn fetch(&mut self, method: Method, path_and_query: &str) -> Result<Vec<u8>, ClientError> {
        let body = self.ask(method, path_and_query, ANSWER_TIMEOUT).await?;
        self.read(body).await
    }

    async fn ask(&mut self, method: Method, path_and_query: &str, limit: Duration) -> Result<Incoming, ClientError> {
        let request = Request::builder().method(method).uri(path_and_query).header(header::HOST, "forebay");
        let request = request.body(Empty::new()).map_err(|why| broken(&self.path, why))?;
        let answer = timeout(limit, self.sender.send_request(request)).await;
        let answer = answer.map_err(|_| self.silent())?.map_err(|why| broken(&self.path, why))?;
        let (status, body) = (answer.status(), answer.into_body());
        if status.is_success() { Ok(body) } else { Err(self.problem(status, body).await) }
    }

    async fn problem(&self, status: StatusCode, body: Incoming) -> ClientError {
        match self.read(body).await.map(|body| serde_json::from_slice(&body)) {
            Ok(Ok(problem)) => ClientError::Problem(problem),
            _ => ClientError::Strange(format!("status {status} without a problem document"), self.path.clone()),
        }
    }

    async fn read<B: Body<Data = Bytes>>(&self, body: B) -> Result<Vec<u8>, ClientError>
    where
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let whole = timeout(self.patience, Limited::new(body, MAX_ANSWER_BYTES).collect()).await;
        let whole = whole.map_err(|_| self.silent())?.map_err(|why| broken(&self.path, why))?;
        Ok(whole.to_bytes().into())
    }

    fn silent(&self) -> ClientError {
        ClientError::Silent { path: self.path.clone(), within: self.patience }
    }
}

fn broken(path: &Path, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Broken { path: path.into(), source: why.into() }
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its kind; empty for an update.
    pub event: String,
    /// Its data.
    pub data: String,
}

/// A stream of server-sent events.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    buffer: Vec<u8>,
    client: Client,
}

impl Events {
    /// The next event; `None` once the daemon ends the stream.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            if let Some(event) = take_event(&mut self.buffer) {
                return Ok(Some(event));
            }
            let silent = |_| ClientError::Silent { path: self.client.path.clone(), within: EVENT_TIMEOUT };
            match timeout(EVENT_TIMEOUT, self.body.frame()).await.map_err(silent)? {
                None => return Ok(None),
                Some(Err(why)) => return Err(broken(&self.client.path, why)),
                Some(Ok(frame)) => self.buffer.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
            if self.buffer.len() > MAX_EVENT_BYTES {
                let what = format!("an event of more than {MAX_EVENT_BYTES} bytes");
                return Err(ClientError::Strange(what, self.client.path.clone()));
            }
        }
    }
}

/// Takes the first whole event out of the buffer; comments are skipped.
fn take_event(buffer: &mut Vec<u8>) -> Option<ServerEvent> {
    loop {
        let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
        let block: Vec<u8> = buffer.drain(..end + 2).collect();
        let mut event = ServerEvent::default();
        for line in String::from_utf8_lossy(&block).lines() {
            if let Some(data) = line.strip_prefix("data:") {
                event.data.push_str(data.trim_start());
            } else if let Some(kind) = line.strip_prefix("event:") {
                kind.trim().clone_into(&mut event.event);
            }
        }
        if !event.data.is_empty() {
            return Some(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_at_blank_lines_and_comments_skipped() {
        let mut buffer = b": keep-alive\n\ndata: {\"a\":1}\n\nevent: missed\ndata: 7\n\ndata: par".to_vec();
        let event = |event: &str, data: &str| Some(ServerEvent { event: event.into(), data: data.into() });
        assert_eq!(take_event(&mut buffer), event("", "{\"a\":1}"));
        assert_eq!(take_event(&mut buffer), event("missed", "7"));
        assert_eq!(take_event(&mut buffer), None);
        assert_eq!(buffer, b"data: par");
    }
}
