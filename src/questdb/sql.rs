//! A small blocking client of QuestDB's SQL endpoint (`GET /exec`).

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use super::{
    Connection, Table, answer, cut,
    http::{Bounds, Http, HttpError},
    identity::Identity,
    statement,
};
use crate::names;

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
    /// What was answered does not answer the question.
    #[error("this is no answer of QuestDB's: {0}")]
    Answer(String),
    /// The answer is larger than what is read.
    #[error("QuestDB's answer has more than {0} bytes")]
    TooLarge(u64),
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

/// The client. Cheap to clone; a connection is kept open between requests.
#[derive(Debug, Clone)]
pub struct Sql {
    http: Http,
    request_timeout: Duration,
}

impl Sql {
    /// A client of that connection; nothing is sent yet.
    pub fn new(connection: Arc<Connection>) -> Result<Self, SqlError> {
        let request_timeout = connection.request_timeout;
        Ok(Self { http: Http::new(connection)?, request_timeout })
    }

    fn bounds(&self, within: Option<Duration>) -> Bounds {
        let time = within.map_or(self.request_timeout, |within| within.min(self.request_timeout));
        Bounds { time, bytes: MAX_ANSWER_BYTES }
    }

    /// Whether the server answers at all (`GET /ping`).
    pub fn ping(&self, timeout: Duration) -> Result<(), SqlError> {
        match self.http.get("/ping", None, self.bounds(Some(timeout)))?.status {
            status @ 500.. => Err(SqlError::Overloaded(status)),
            _ => Ok(()),
        }
    }

    /// Runs one query and waits for its answer, at most the connection's request timeout.
    pub fn query(&self, statement: &str) -> Result<Table, SqlError> {
        self.query_within(statement, None)
    }

    /// The same with a shorter time.
    pub fn query_within(&self, statement: &str, within: Option<Duration>) -> Result<Table, SqlError> {
        answer::rows(&self.run(statement, within)?)
    }

    /// Runs a statement that makes or changes something, and waits until QuestDB says that it is done.
    pub fn change(&self, statement: &str) -> Result<(), SqlError> {
        answer::done(&self.run(statement, None)?)
    }

    /// The body of the answer to a statement that is not refused.
    fn run(&self, statement: &str, within: Option<Duration>) -> Result<Vec<u8>, SqlError> {
        let reply = self.http.get("/exec", Some(("query", statement)), self.bounds(within))?;
        match reply.status {
            200 => Ok(reply.body),
            401 | 403 => Err(SqlError::Auth),
            429 | 500.. => Err(SqlError::Overloaded(reply.status)),
            400..=499 => Err(answer::refusal(&reply)),
            status => Err(SqlError::Answer(format!("status {status}"))),
        }
    }

    /// When the server was started, in its own words; none when it says that it does not know the question, or that forebay may not ask it.
    pub fn started(&self) -> Result<Option<String>, SqlError> {
        let answer = match self.query(statement::SERVER_STARTED) {
            Err(SqlError::Refused { message, .. }) if is_never_told(&message) => return Ok(None),
            answer => answer?,
        };
        if !matches!(&answer.columns[..], [name] if name.starts_with("pg_postmaster_start_time")) {
            return Err(SqlError::Answer("it does not tell when the server was started".to_owned()));
        }
        let row = answer.only_row()?;
        let started = answer::text(&row, 0)?;
        match started.parse::<jiff::Timestamp>() {
            Ok(_) => Ok(Some(started.to_owned())),
            Err(_) => Err(SqlError::Answer(format!("{:?} is no time when a server was started", cut(started)))),
        }
    }

    /// Whether some row of a table has a value in a column.
    pub fn is_used(&self, table: &str, column: &str) -> Result<bool, SqlError> {
        let answer = self.query(&statement::first_value(table, column))?.with_columns(&[column])?;
        Ok(!answer.rows.is_empty())
    }

    /// What QuestDB knows of a table; none when there is no such table.
    pub fn table_info(&self, table: &str) -> Result<Option<TableInfo>, SqlError> {
        let names = [names::folded(table).into_owned()];
        let mut found = self.survey(&names)?;
        let Some(mut info) = found.pop() else { return Ok(None) };
        if !found.is_empty() || !names::same(&info.name, table) {
            let name = cut(&info.name);
            return Err(SqlError::Answer(format!("it is about table {name:?}, and {table:?} was asked for")));
        }
        // None: dropped between the two questions.
        let Some(mut columns) = self.columns_of(std::slice::from_ref(&info.name))? else { return Ok(None) };
        info.columns = columns.pop().unwrap_or_default();
        Ok(Some(info))
    }
}

/// Whether a question is refused because the server does not know it, or because this user may not ask it. Other refusals pass.
fn is_never_told(message: &str) -> bool {
    let message = message.to_lowercase();
    ["unknown function", "not supported", "denied", "permission"].iter().any(|word| message.contains(word))
}

impl From<HttpError> for SqlError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable(why) => Self::Unreachable(why),
            HttpError::Timeout => Self::Timeout,
            HttpError::TooLarge(bytes) => Self::TooLarge(bytes),
            HttpError::Setup(why) => Self::Setup(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_question_that_is_never_answered_is_told_from_one_that_may_be_later() {
        assert!(is_never_told("unknown function name: pg_postmaster_start_time()"));
        assert!(is_never_told("Access denied for device [SELECT]"));
        assert!(!is_never_told("timeout, query aborted [fd=7]") && !is_never_told("too many open files"));
    }
}
