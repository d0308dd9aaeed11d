//! Rows into QuestDB. The only file that knows questdb-rs.

use std::{sync::Arc, time::Duration};

use questdb::{
    Error, ErrorCode,
    ingress::{Buffer, ColumnName, ProtocolVersion, Sender, SenderBuilder, TableName, TimestampMicros},
};
use thiserror::Error;

use super::{Connection, cut};
use crate::{
    entry::{RowRef, ValueRef},
    point::MAX_NAME_BYTES,
};

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
    /// The configuration cannot work with this server, or the request never left.
    #[error("cannot write to QuestDB (check questdb.conf): {0}")]
    Other(String),
}

/// The sender, built when it is first needed and again after a failure.
#[derive(Debug)]
pub struct Writer {
    connection: Arc<Connection>,
    sender: Option<Sender>,
}

impl Writer {
    /// A writer that is not connected yet.
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, sender: None }
    }

    /// Connects unless connected already: asks the server for its protocol version.
    pub fn connect(&mut self) -> Result<(), WriteError> {
        if self.sender.is_none() {
            self.sender = Some(self.build().map_err(|e| classify(&e))?);
        }
        Ok(())
    }

    fn build(&self) -> Result<Sender, Error> {
        let connection = &self.connection;
        let mut builder = SenderBuilder::from_conf(&connection.conf)?;
        if !connection.conf.contains("retry_timeout") {
            builder = builder.retry_timeout(Duration::ZERO)?;
        }
        if !connection.timeout_in_conf {
            builder = builder.request_timeout(connection.request_timeout)?;
        }
        if let (Some(username), Some(password)) = (&connection.username, &connection.secrets.password) {
            builder = builder.username(username)?.password(password)?;
        } else if let Some(token) = &connection.secrets.token {
            builder = builder.token(token)?;
        }
        builder.build()
    }

    /// Gives up the connection; the next [`Self::connect`] opens another.
    pub fn disconnect(&mut self) {
        self.sender = None;
    }

    /// An empty buffer that speaks the server's version of the protocol.
    pub fn buffer(&self) -> RowBuffer {
        RowBuffer::new(self.sender.as_ref().map_or(ProtocolVersion::V3, Sender::protocol_version))
    }

    /// Whether the buffer speaks the connected server's version.
    pub fn speaks(&self, buffer: &RowBuffer) -> bool {
        self.sender.as_ref().is_none_or(|sender| sender.protocol_version() == buffer.version)
    }

    /// Sends all rows in one request and waits for the answer; the buffer keeps them.
    pub fn send(&mut self, buffer: &RowBuffer) -> Result<(), WriteError> {
        self.connect()?;
        let Some(sender) = self.sender.as_mut() else {
            return Err(WriteError::Unreachable("not connected".into()));
        };
        sender.flush_and_keep(&buffer.inner).map_err(|e| classify(&e))
    }
}

/// Rows encoded for one request.
#[derive(Debug)]
pub struct RowBuffer {
    inner: Buffer,
    version: ProtocolVersion,
    names: KnownNames,
}

/// Names of the row before, found valid: rows that follow each other mostly have the same. Bounded by a row's limits.
#[derive(Debug, Default)]
struct KnownNames {
    table: String,
    columns: Vec<String>,
}

impl KnownNames {
    fn table<'n>(&mut self, name: &'n str) -> Result<TableName<'n>, Error> {
        if self.table != name {
            TableName::new(name)?;
            name.clone_into(&mut self.table);
        }
        Ok(TableName::new_unchecked(name))
    }

    /// A column's name by its place in the row.
    fn column<'n>(&mut self, place: usize, name: &'n str) -> Result<ColumnName<'n>, Error> {
        match self.columns.get_mut(place) {
            Some(known) if known == name => {}
            Some(known) => {
                ColumnName::new(name)?;
                name.clone_into(known);
            }
            None => {
                ColumnName::new(name)?;
                self.columns.push(name.to_owned());
            }
        }
        Ok(ColumnName::new_unchecked(name))
    }
}

impl Default for RowBuffer {
    /// A buffer that speaks the newest version.
    fn default() -> Self {
        Self::new(ProtocolVersion::V3)
    }
}

impl RowBuffer {
    fn new(version: ProtocolVersion) -> Self {
        Self { inner: Buffer::with_max_name_len(version, MAX_NAME_BYTES), version, names: KnownNames::default() }
    }

    /// Appends a row. A row the protocol cannot carry is undone; the error is its reason.
    pub fn add(&mut self, table: &str, row: &RowRef<'_>) -> Result<(), String> {
        let added = self.inner.set_marker().and_then(|()| write_row(&mut self.inner, &mut self.names, table, row));
        match added {
            Ok(()) => Ok(()),
            Err(error) => match self.inner.rewind_to_marker() {
                Ok(()) => Err(cut(error.msg()).to_owned()),
                Err(worse) => {
                    self.inner.clear();
                    Err(format!("{}; {}", cut(error.msg()), cut(worse.msg())))
                }
            },
        }
    }

    /// Appends the rows that belong together, all or none: none when one of them is not given or the protocol cannot carry it.
    pub fn add_all<'r>(&mut self, table: &str, mut rows: impl Iterator<Item = Option<RowRef<'r>>>) -> bool {
        if self.inner.set_marker().is_err() {
            return false;
        }
        let Self { inner, names, .. } = self;
        let taken = rows.all(|row| row.is_some_and(|row| write_row(inner, names, table, &row).is_ok()));
        if !taken && inner.rewind_to_marker().is_err() {
            inner.clear();
        }
        taken
    }

    /// Rows in it.
    pub fn rows(&self) -> usize {
        self.inner.row_count()
    }

    /// Bytes in it.
    pub fn bytes(&self) -> usize {
        self.inner.len()
    }

    /// Bytes allocated for it.
    pub fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Drops the rows and keeps the memory, unless more than `keep_bytes` of it are allocated.
    pub fn clear(&mut self, keep_bytes: usize) {
        if self.inner.capacity() > keep_bytes {
            *self = Self::new(self.version);
        } else {
            self.inner.clear();
        }
    }
}

#[cfg(test)]
impl RowBuffer {
    /// An empty buffer that speaks the version that is all text.
    pub fn text() -> Self {
        Self::new(ProtocolVersion::V1)
    }

    /// Whether it speaks that version.
    pub fn is_text(&self) -> bool {
        self.version == ProtocolVersion::V1
    }

    /// What is in it.
    pub fn as_text(&self) -> &str {
        std::str::from_utf8(self.inner.as_bytes()).unwrap()
    }
}

fn write_row(buffer: &mut Buffer, names: &mut KnownNames, table: &str, row: &RowRef<'_>) -> Result<(), Error> {
    buffer.table(names.table(table)?)?;
    let mut place = 0;
    for (name, value) in row.symbols() {
        buffer.symbol(names.column(place, name)?, value)?;
        place += 1;
    }
    for (name, value) in row.fields() {
        let name = names.column(place, name)?;
        place += 1;
        match value {
            ValueRef::Bool(v) => buffer.column_bool(name, v)?,
            ValueRef::Long(v) => buffer.column_i64(name, v)?,
            ValueRef::Double(v) => buffer.column_f64(name, v)?,
            ValueRef::Text(v) => buffer.column_str(name, v)?,
        };
    }
    buffer.at(TimestampMicros::new(row.time.to_micros()))
}

fn classify(error: &Error) -> WriteError {
    let text = error.msg();
    let message = cut(text).to_owned();
    match error.code() {
        ErrorCode::AuthError => WriteError::Auth(message),
        // The constructor's error carries a status only as text.
        ErrorCode::ProtocolVersionError if text.contains("401") || text.contains("403") => WriteError::Auth(message),
        ErrorCode::ProtocolVersionError if text.contains("status code: 5") => WriteError::Overloaded(message),
        ErrorCode::SocketError | ErrorCode::ProtocolVersionError if text.contains("timeout:") => {
            WriteError::Timeout(message)
        }
        ErrorCode::SocketError | ErrorCode::ProtocolVersionError | ErrorCode::CouldNotResolveAddr => {
            WriteError::Unreachable(message)
        }
        ErrorCode::ServerFlushError => refusal(text),
        _ => WriteError::Other(message),
    }
}

/// Reads QuestDB's answer out of the client's error: JSON with `code`, `message` and perhaps `line`, or a proxy's own text.
///
/// The client does not tell the status. `internal error` and whatever is not QuestDB's JSON is taken for 5xx: the rows
/// are kept and sent again.
fn refusal(text: &str) -> WriteError {
    let Some(Reply { code, message, line }) = Reply::read(text) else {
        return WriteError::Overloaded(cut(text).to_owned());
    };
    let message = cut(&message);
    if code != "invalid" && code != "request too large" {
        return WriteError::Overloaded(format!("{code}: {message}"));
    }
    let message = without_line(message).to_owned();
    match line {
        Some(line) if line > 0 => WriteError::BadRow { line: line as usize, message },
        _ => WriteError::Refused { message },
    }
}

/// What QuestDB says of a request it does not take.
struct Reply {
    code: String,
    message: String,
    line: Option<u64>,
}

impl Reply {
    /// Reads the client's error text: QuestDB's JSON as it came, or, where the answer's type is plain `application/json` (as
    /// behind some proxies), what the client makes of it: `message [id: …, code: …, line: …]`.
    fn read(text: &str) -> Option<Self> {
        let json = text.find('{').and_then(|at| serde_json::from_str::<serde_json::Value>(&text[at..]).ok());
        if let Some(json) = json {
            return Some(Self {
                code: json["code"].as_str().unwrap_or_default().to_owned(),
                message: json["message"].as_str().unwrap_or(text).to_owned(),
                line: json["line"].as_u64(),
            });
        }
        let (message, details) = text.strip_suffix(']')?.rsplit_once(" [")?;
        let detail = |name: &str| details.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix(": "));
        Some(Self {
            code: detail("code")?.to_owned(),
            message: message.to_owned(),
            line: detail("line").and_then(|line| line.parse().ok()),
        })
    }
}

/// The reason without the number of the line, so that equal reasons read alike.
fn without_line(message: &str) -> &str {
    let Some((_, rest)) = message.split_once("error in line ") else { return message };
    rest.split_once(": ").map_or(message, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::{Rows, encode_rows},
        point::{Row, Timestamp, Value},
    };

    fn body(table: &str, fields: &[(&str, Value)], micros: i64) -> Vec<u8> {
        let fields = fields.iter().map(|(n, v)| ((*n).into(), v.clone())).collect();
        let row = Row {
            time: Some(Timestamp(micros * 1_000)),
            device_time: true,
            symbols: vec![("device".into(), "d 1".into())],
            fields,
        };
        let mut out = Vec::new();
        encode_rows(table, &[row], &mut out).unwrap();
        out
    }

    fn add(buffer: &mut RowBuffer, body: &[u8]) -> Result<(), String> {
        let mut rows = Rows::decode(body).unwrap();
        let table = rows.table;
        buffer.add(table, &rows.next().unwrap().unwrap())
    }

    #[test]
    fn a_refused_row_leaves_no_trace() {
        let mut buffer = RowBuffer::new(ProtocolVersion::V1);
        add(&mut buffer, &body("t", &[("x", Value::Long(1)), ("ok", Value::Bool(true))], 5)).unwrap();
        let before = buffer.inner.as_bytes().to_vec();
        assert_eq!(before, b"t,device=d\\ 1 x=1i,ok=t 5000\n");
        for bad in [
            body("a/b", &[("x", Value::Long(1))], 5),
            body("t", &[("x/y", Value::Long(1))], 5),
            body("t", &[("x", Value::Long(1))], -5),
        ] {
            assert!(add(&mut buffer, &bad).is_err());
            assert_eq!((buffer.inner.as_bytes(), buffer.rows()), (&before[..], 1));
        }
        add(&mut buffer, &body("t", &[("x", Value::Double(1.5))], 6)).unwrap();
        assert_eq!(buffer.rows(), 2);
    }

    #[test]
    fn rows_are_added_all_or_none() {
        let mut buffer = RowBuffer::new(ProtocolVersion::V1);
        add(&mut buffer, &body("t", &[("x", Value::Long(1))], 5)).unwrap();
        let before = buffer.inner.as_bytes().to_vec();
        let [good, bad] = [body("t", &[("x", Value::Long(2))], 6), body("t", &[("x/y", Value::Long(2))], 6)];
        let rows = |bodies: &[&'static [u8]]| -> Vec<_> {
            bodies.iter().map(|body| Rows::decode(body).unwrap().next().unwrap().ok()).collect()
        };
        let (good, bad): (&'static [u8], &'static [u8]) = (good.leak(), bad.leak());
        assert!(!buffer.add_all("t", rows(&[good, bad]).into_iter()));
        assert!(!buffer.add_all("t", [rows(&[good]).remove(0), None].into_iter()));
        assert_eq!((buffer.inner.as_bytes(), buffer.rows()), (&before[..], 1));
        assert!(buffer.add_all("t", rows(&[good, good]).into_iter()));
        // A name is looked at again wherever it differs from the row's before.
        assert!(
            !buffer.add_all("t", rows(&[good, bad]).into_iter()) && !buffer.add_all("a/b", rows(&[good]).into_iter())
        );
        assert_eq!(buffer.rows(), 3);
    }

    #[test]
    fn answers_are_told_apart() {
        let text = r#"Could not flush buffer: {"code":"invalid","message":"failed to parse line protocol:errors encountered on line(s):\nerror in line 2: table: s","line":2,"errorId":"x"}"#;
        assert_eq!(refusal(text), WriteError::BadRow { line: 2, message: "table: s".into() });
        assert!(matches!(refusal(r#"x: {"code":"invalid","message":"m"}"#), WriteError::Refused { .. }));
        assert!(matches!(refusal(r#"x: {"code":"internal error","message":"m"}"#), WriteError::Overloaded(_)));
        let made = "Could not flush buffer: error in line 2: table: {s} [id: x-1, code: invalid, line: 2]";
        assert_eq!(refusal(made), WriteError::BadRow { line: 2, message: "table: {s}".into() });
        assert!(matches!(refusal("x: y [id: x-1, code: internal error]"), WriteError::Overloaded(_)));
        assert!(matches!(refusal("x: <html>502</html>"), WriteError::Overloaded(_)));
        let long = format!("x: {}", "ü".repeat(2_000));
        assert!(refusal(&long).to_string().len() < 700);
    }
}
