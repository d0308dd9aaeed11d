//! A small blocking client of QuestDB's SQL endpoint (`GET /exec`).

use std::{fs, io, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::{Connection, cut, identity::Identity, statement};
use crate::{decode::repaired_json, names};

/// Largest answer read, in bytes.
pub const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// Words of refusals that pass, whatever else the message says.
const FOR_NOW: [&str; 14] = [
    "busy",
    "locked",
    "timeout",
    "timed out",
    "retry",
    "read-only",
    "no space",
    "too many open files",
    "could not",
    "memory limit",
    "allocate",
    "filesystem",
    "errno",
    "suspended",
];
/// Words of refusals that are about the statement: its syntax, names, types, and who may run it.
const FOR_GOOD: [&str; 20] = [
    "unexpected token",
    "unexpected character",
    " expected",
    "expecting",
    "syntax",
    "invalid column",
    "invalid table",
    "invalid name",
    "invalid character",
    "contains invalid",
    "not permitted",
    "too long",
    "reserved",
    "duplicate",
    "unsupported",
    "not supported",
    "incompatible",
    "access denied",
    "permission",
    "dedup",
];

/// Why there is no answer. Messages are cut to [`super::MAX_MESSAGE_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SqlError {
    /// No connection, or it broke.
    #[error("QuestDB is not reachable: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("QuestDB did not answer in time")]
    Timeout,
    /// 401 or 403.
    #[error("QuestDB refuses the credentials (check questdb.username, password_file, token_file)")]
    Auth,
    /// QuestDB answered that it cannot now.
    #[error("QuestDB is overloaded or failing (status {0})")]
    Overloaded(u16),
    /// The statement is refused.
    #[error("QuestDB refuses the statement at character {position}: {message}")]
    Refused {
        /// QuestDB's reason.
        message: String,
        /// Offset in the statement.
        position: u64,
    },
    /// The answer is no answer.
    #[error("QuestDB's answer cannot be read: {0}")]
    Answer(String),
    /// The connection cannot be set up.
    #[error("cannot ask QuestDB (check questdb.conf): {0}")]
    Setup(String),
}

impl SqlError {
    /// Whether the same statement may succeed later. Only a refusal that is known to be about the statement itself is for
    /// good: rows are set aside for it. A full disk is refused with the same status.
    pub fn is_transient(&self) -> bool {
        let Self::Refused { message, .. } = self else { return true };
        let message = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
        says(&FOR_NOW) || !says(&FOR_GOOD)
    }
}

/// A query's answer; empty for a statement that answers nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Column names.
    pub columns: Vec<String>,
    /// Values, a vector a row.
    pub rows: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    columns: Vec<AnswerColumn>,
    #[serde(default)]
    dataset: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct AnswerColumn {
    name: String,
}

/// Reads an answer; also one whose strings hold control characters as they are, as QuestDB writes a
/// NUL that somebody has stored.
fn read_answer(body: &[u8]) -> Result<Answer, SqlError> {
    serde_json::from_slice(body).or_else(|error| {
        let repaired = repaired_json(body).and_then(|body| serde_json::from_slice(&body).ok());
        repaired.ok_or_else(|| SqlError::Answer(error.to_string()))
    })
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    position: u64,
}

/// A table as QuestDB describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableInfo {
    /// Its name as created (QuestDB compares names without case).
    pub name: String,
    /// Whether it is a WAL table.
    pub wal: bool,
    /// Whether deduplication is on.
    pub dedup: bool,
    /// Its columns.
    pub columns: Vec<ColumnInfo>,
    /// Which one it is of those that have had its name.
    pub identity: Identity,
}

/// A column as QuestDB describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its type, such as `SYMBOL`.
    pub kind: String,
    /// Whether it is the designated timestamp.
    pub designated: bool,
    /// Whether it is a deduplication key.
    pub key: bool,
}

/// The client. Cheap to clone; connections are kept open between requests.
#[derive(Debug, Clone)]
pub struct Sql {
    agent: ureq::Agent,
    connection: Arc<Connection>,
    authorization: Option<String>,
}

impl Sql {
    /// A client of that connection; nothing is sent yet.
    pub fn new(connection: Arc<Connection>) -> Result<Self, SqlError> {
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(connection.request_timeout))
            .http_status_as_error(false)
            .max_idle_connections(1)
            .max_redirects(0);
        if let Some(path) = &connection.tls_roots {
            let pem = fs::read(path).map_err(|e| SqlError::Setup(format!("tls_roots {}: {e}", path.display())))?;
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
        Ok(Self { agent: config.build().into(), connection, authorization })
    }

    /// Whether the server answers at all (`GET /ping`).
    pub fn ping(&self, timeout: Duration) -> Result<(), SqlError> {
        let request = self.agent.get(format!("{}/ping", self.connection.base_url));
        let timeout = timeout.min(self.connection.request_timeout);
        let answer = request.config().timeout_global(Some(timeout)).build().call().map_err(|e| unsent(&e))?;
        match answer.status().as_u16() {
            status @ 500.. => Err(SqlError::Overloaded(status)),
            _ => Ok(()),
        }
    }

    /// Runs one statement and waits for its answer, at most the connection's request timeout.
    pub fn query(&self, statement: &str) -> Result<Table, SqlError> {
        self.query_within(statement, None)
    }

    /// The same with a shorter time.
    pub fn query_within(&self, statement: &str, within: Option<Duration>) -> Result<Table, SqlError> {
        let mut request = self.agent.get(format!("{}/exec", self.connection.base_url)).query("query", statement);
        if let Some(within) = within {
            let within = within.min(self.connection.request_timeout);
            request = request.config().timeout_global(Some(within)).build();
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut answer = request.call().map_err(|e| unsent(&e))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(|e| unsent(&e))?;
        match status {
            200 => {
                let answer = read_answer(&body)?;
                Ok(Table { columns: answer.columns.into_iter().map(|c| c.name).collect(), rows: answer.dataset })
            }
            401 | 403 => Err(SqlError::Auth),
            429 => Err(SqlError::Overloaded(status)),
            400..=499 => match serde_json::from_slice::<Refusal>(&body) {
                Ok(refusal) => {
                    Err(SqlError::Refused { message: cut(&refusal.error).to_owned(), position: refusal.position })
                }
                Err(_) => Err(SqlError::Answer(format!("status {status} without a reason"))),
            },
            _ => Err(SqlError::Overloaded(status)),
        }
    }

    /// When the server was started, in its own words; none when it does not tell.
    pub fn started(&self) -> Result<Option<String>, SqlError> {
        match self.query(statement::SERVER_STARTED) {
            Ok(answer) => {
                Ok(answer.rows.first().and_then(|row| row.first()).and_then(Value::as_str).map(str::to_owned))
            }
            Err(SqlError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether some row of a table has a value in a column.
    pub fn is_used(&self, table: &str, column: &str) -> Result<bool, SqlError> {
        Ok(!self.query(&statement::first_value(table, column))?.rows.is_empty())
    }

    /// What QuestDB knows of a table; none when there is no such table.
    pub fn table_info(&self, table: &str) -> Result<Option<TableInfo>, SqlError> {
        let names = [names::folded(table).into_owned()];
        let Some(mut info) = self.survey(&names)?.pop() else { return Ok(None) };
        // None: dropped between the two questions.
        let Some(mut columns) = self.columns_of(std::slice::from_ref(&info.name))? else { return Ok(None) };
        info.columns = columns.pop().unwrap_or_default();
        Ok(Some(info))
    }
}

fn unsent(error: &ureq::Error) -> SqlError {
    match error {
        ureq::Error::Timeout(_) => SqlError::Timeout,
        ureq::Error::BodyExceedsLimit(_) => SqlError::Answer(format!("more than {MAX_ANSWER_BYTES} bytes")),
        ureq::Error::BadUri(_) | ureq::Error::Tls(_) => SqlError::Setup(error.to_string()),
        ureq::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut => SqlError::Timeout,
        _ => SqlError::Unreachable(cut(&error.to_string()).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_a_nul_in_it_is_read() {
        let body = b"{\"columns\":[{\"name\":\"v\"}],\"dataset\":[[\"a\0b\"],[\"c\"]]}";
        let answer = read_answer(body).unwrap();
        assert_eq!(answer.dataset, [[Value::from("a\0b")], [Value::from("c")]]);
        assert!(read_answer(b"{\"columns\":[").is_err());
    }

    #[test]
    fn only_known_refusals_are_for_good() {
        let refused = |message: &str| SqlError::Refused { message: message.to_owned(), position: 0 };
        for passing in [
            "table busy [reason=insert]",
            "could not lock 'sensors' [reason='alter']",
            "[28] No space left on device [path=/db/sensors~7]",
            "could not open read-write [file=/db/sensors/_meta] too many open files",
            "unexpected filesystem error",
            "global RSS memory limit exceeded",
            "table is suspended",
            "something nobody has heard of",
            "table does not exist [table=sensors]",
        ] {
            assert!(refused(passing).is_transient(), "{passing}");
        }
        for lasting in [
            "unexpected token [x]",
            "'column' or constraint expected",
            "new column name contains invalid characters",
            "Invalid column: site",
            "Access denied for device [ALTER TABLE on sensors]",
            "deduplication is possible only on WAL tables",
            "duplicate column [name=site]",
        ] {
            assert!(!refused(lasting).is_transient(), "{lasting}");
        }
        assert!(SqlError::Timeout.is_transient() && SqlError::Overloaded(503).is_transient());
    }
}
