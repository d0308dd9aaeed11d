//! Requests that write rows.
//!
//! questdb-rs encodes the rows and reads the configuration string. Its sender would ask at /settings and read refusals without a
//! limit, and takes any status below 400 for success; so the requests are this file's.

use std::{sync::Arc, time::Duration};

use questdb::ingress::{ProtocolVersion, SenderBuilder};
use thiserror::Error;

use super::{
    Connection, Dialect, RowBuffer, cut,
    http::{Bounds, Http, HttpError, Reply},
    protocol::{NoVersion, version},
    refusal::refusal,
};

/// Largest answer read, in bytes: QuestDB refuses a request in some hundred.
pub const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Why QuestDB did not take a batch. Messages are cut to [`super::MAX_MESSAGE_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WriteError {
    /// No connection, or it broke.
    #[error("QuestDB is not reachable: {0}")]
    Unreachable(String),
    /// No answer in time; the request may still be executed later.
    #[error("QuestDB did not answer in time: {0}")]
    Timeout(String),
    /// QuestDB answered that it cannot now (5xx).
    #[error("QuestDB is overloaded or failing: {0}")]
    Overloaded(String),
    /// 401 or 403.
    #[error("QuestDB refuses the credentials (check questdb.username, password_file, token_file): {0}")]
    Auth(String),
    /// A row is refused, and with it the whole request.
    #[error("QuestDB refuses line {line}: {message}")]
    BadRow {
        /// The row's number in the request, from 1.
        line: usize,
        /// QuestDB's reason.
        message: String,
    },
    /// The request is refused and no line is named.
    #[error("QuestDB refuses the request: {message}")]
    Refused {
        /// QuestDB's reason.
        message: String,
    },
    /// What answers is not QuestDB: nobody has said that the rows are stored.
    #[error("this is no answer of QuestDB's: {0}")]
    Strange(String),
    /// The configuration cannot work with this server, or the request never left.
    #[error("cannot write to QuestDB (check questdb.conf): {0}")]
    Other(String),
}

/// The client, made when it is first needed and again after a failure.
#[derive(Debug)]
pub struct Writer {
    connection: Arc<Connection>,
    open: Option<Open>,
    /// Time for a request, its bytes apart.
    request_timeout: Duration,
}

#[derive(Debug)]
struct Open {
    http: Http,
    dialect: Dialect,
}

impl Writer {
    /// A writer that is not connected yet.
    pub fn new(connection: Arc<Connection>) -> Self {
        let request_timeout = connection.request_timeout;
        Self { connection, open: None, request_timeout }
    }

    /// Sets the time for the requests to come, at most the connection's.
    pub fn set_request_timeout(&mut self, timeout: Duration) {
        self.request_timeout = timeout.min(self.connection.request_timeout);
    }

    /// Connects unless connected already: asks the server for its protocol version.
    pub fn connect(&mut self) -> Result<(), WriteError> {
        if self.open.is_none() {
            // What forebay does not look at itself is put right or refused here, as the client would.
            SenderBuilder::from_conf(&self.connection.conf).map_err(|e| WriteError::Other(cut(e.msg()).to_owned()))?;
            let http = Http::new(Arc::clone(&self.connection))?;
            let dialect = Dialect(match self.connection.protocol_version() {
                Some(version) => version,
                None => self.ask_version(&http)?,
            });
            self.open = Some(Open { http, dialect });
        }
        Ok(())
    }

    fn ask_version(&self, http: &Http) -> Result<ProtocolVersion, WriteError> {
        let reply = http.get("/settings", None, self.bounds(0))?;
        match reply.status {
            200 | 404 => version(&reply).map_err(|why| match why {
                NoVersion::Strange(why) => WriteError::Strange(why.to_owned()),
                NoVersion::Unknown => {
                    WriteError::Other("the server speaks no known version of the protocol".to_owned())
                }
            }),
            _ => Err(failure(&reply)),
        }
    }

    /// The bytes of a request get time of their own.
    fn bounds(&self, request_bytes: usize) -> Bounds {
        let own = request_bytes as f64 / self.connection.min_throughput as f64;
        let own = if self.connection.min_throughput == 0 { 0.0 } else { own };
        Bounds { time: self.request_timeout + Duration::from_secs_f64(own), bytes: MAX_ANSWER_BYTES }
    }

    /// Gives up the connection; the next [`Self::connect`] opens another.
    pub fn disconnect(&mut self) {
        self.open = None;
    }

    /// What the connected server speaks.
    pub fn dialect(&self) -> Option<Dialect> {
        self.open.as_ref().map(|open| open.dialect)
    }

    /// Sends all rows in one request and waits for the answer; the buffer keeps them.
    pub fn send(&mut self, buffer: &RowBuffer) -> Result<(), WriteError> {
        self.connect()?;
        let Some(open) = &self.open else {
            return Err(WriteError::Unreachable("not connected".into()));
        };
        if buffer.dialect() != open.dialect {
            return Err(WriteError::Other("the rows are encoded in another version of the protocol".to_owned()));
        }
        let body = buffer.body().map_err(WriteError::Other)?;
        let most = self.connection.max_request_bytes;
        if body.len() > most {
            let what = format!("the request has {} bytes, and max_buf_size is {most}", body.len());
            return Err(WriteError::Other(what));
        }
        let reply = open.http.post("/write?precision=n", body, self.bounds(body.len()))?;
        // QuestDB says that it has stored rows in this one way (ILP over HTTP).
        if reply.status == 204 { Ok(()) } else { Err(failure(&reply)) }
    }
}

/// What an answer means that is no success.
fn failure(reply: &Reply) -> WriteError {
    let text = String::from_utf8_lossy(&reply.body);
    let message = || {
        let text = cut(text.trim());
        if text.is_empty() { format!("status {}", reply.status) } else { format!("status {}: {text}", reply.status) }
    };
    match reply.status {
        401 | 403 => WriteError::Auth(message()),
        404 => WriteError::Other("there is no /write: is the address that of QuestDB's HTTP port?".to_owned()),
        429 | 500.. => WriteError::Overloaded(message()),
        400..=499 => refusal(&reply.body).unwrap_or_else(|| WriteError::Overloaded(message())),
        _ => WriteError::Strange(message()),
    }
}

impl From<HttpError> for WriteError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable(why) => Self::Unreachable(why),
            HttpError::Timeout => Self::Timeout(error.to_string()),
            HttpError::TooLarge(_) => Self::Strange(error.to_string()),
            HttpError::Setup(why) => Self::Other(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> WriteError {
        failure(&Reply { status, body: body.into() })
    }

    #[test]
    fn only_one_answer_says_that_rows_are_stored() {
        for (status, body) in [(200, "{}"), (200, ""), (202, ""), (302, ""), (200, "<html>Sign in</html>")] {
            assert!(matches!(of(status, body), WriteError::Strange(_)), "{status} {body}");
        }
    }

    #[test]
    fn failures_are_told_apart_by_their_status() {
        assert!(matches!(of(401, "Unauthorized"), WriteError::Auth(_)));
        assert!(matches!(of(403, ""), WriteError::Auth(_)));
        assert!(matches!(of(404, ""), WriteError::Other(_)));
        for status in [429, 500, 503, 507] {
            assert!(matches!(of(status, r#"{"code":"invalid","message":"m"}"#), WriteError::Overloaded(_)), "{status}");
        }
        assert!(
            matches!(of(413, "<html>too large</html>"), WriteError::Overloaded(_)),
            "a proxy's: smaller ones may pass"
        );
        assert_eq!(
            of(400, r#"{"code":"invalid","message":"error in line 2: table: s","line":2}"#),
            WriteError::BadRow { line: 2, message: "table: s".into() }
        );
        assert!(of(503, &"ü".repeat(2_000)).to_string().len() < 700);
    }
}
