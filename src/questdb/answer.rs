//! What QuestDB answers to a statement, read strictly (pure): whoever answers something else is not QuestDB, and nothing may be
//! concluded from it. No rows in the answer to a question means that there are none; no answer does not.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{SqlError, cut, http::Reply};
use crate::{decode::repaired_json, names};

/// The answer to a query: at least its columns, and rows of as many values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Column names.
    pub columns: Vec<String>,
    /// Values, a vector a row.
    pub rows: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Answer {
    columns: Option<Vec<AnswerColumn>>,
    dataset: Option<Vec<Vec<Value>>>,
    ddl: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct AnswerColumn {
    name: String,
}

/// Why an answer is not one.
fn strange(what: impl Into<String>) -> SqlError {
    SqlError::Answer(what.into())
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    position: u64,
}

/// Reads JSON; also where strings hold control characters as they are, as QuestDB writes a NUL that
/// somebody has stored.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqlError> {
    serde_json::from_slice(body).or_else(|error| {
        let repaired = repaired_json(body).and_then(|body| serde_json::from_slice(&body).ok());
        repaired.ok_or_else(|| strange(cut(&error.to_string())))
    })
}

fn read(body: &[u8]) -> Result<Answer, SqlError> {
    let answer: Answer = json(body)?;
    match answer.error {
        // What goes wrong once rows are on their way can be told only behind them.
        Some(error) => Err(strange(format!("it ends with an error: {}", cut(&error)))),
        None => Ok(answer),
    }
}

/// Why a statement is refused.
pub fn refusal(reply: &Reply) -> SqlError {
    match json::<Refusal>(&reply.body) {
        Ok(Refusal { error, position }) => SqlError::Refused { message: cut(&error).to_owned(), position },
        Err(_) => strange(format!("status {} without a reason", reply.status)),
    }
}

/// The answer to a query.
pub fn rows(body: &[u8]) -> Result<Table, SqlError> {
    let answer = read(body)?;
    let columns = answer.columns.ok_or_else(|| strange("it has no columns"))?;
    let rows = answer.dataset.ok_or_else(|| strange("it has no dataset"))?;
    if columns.is_empty() {
        return Err(strange("it has no columns"));
    }
    if rows.iter().any(|row| row.len() != columns.len()) {
        return Err(strange("a row has more or fewer values than there are columns"));
    }
    Ok(Table { columns: columns.into_iter().map(|column| column.name).collect(), rows })
}

/// That a statement that makes or changes something was carried out.
pub fn done(body: &[u8]) -> Result<(), SqlError> {
    match read(body)?.ddl.as_deref() {
        Some("OK") => Ok(()),
        _ => Err(strange("it does not say that the statement was carried out")),
    }
}

impl Table {
    /// Itself, where it has these columns in this order: the answer to what was asked.
    pub fn with_columns(self, wanted: &[&str]) -> Result<Self, SqlError> {
        let is_same = |(got, wanted): (&String, &&str)| names::same(got, wanted);
        if self.columns.len() == wanted.len() && self.columns.iter().zip(wanted).all(is_same) {
            return Ok(self);
        }
        let got = format!("{:?}", self.columns);
        Err(strange(format!("it has the columns {}, and {wanted:?} were asked for", cut(&got))))
    }

    /// Itself, where it has these columns first: versions of QuestDB differ in what they tell beyond them.
    pub fn beginning_with(self, wanted: &[&str]) -> Result<Self, SqlError> {
        let is_same = |(got, wanted): (&String, &&str)| names::same(got, wanted);
        if self.columns.len() >= wanted.len() && self.columns.iter().zip(wanted).all(is_same) {
            return Ok(self);
        }
        let got = format!("{:?}", self.columns);
        Err(strange(format!("it has the columns {}, and {wanted:?} were asked for", cut(&got))))
    }

    /// The one row of the answer to what has one.
    pub fn only_row(self) -> Result<Vec<Value>, SqlError> {
        match <[_; 1]>::try_from(self.rows) {
            Ok([row]) => Ok(row),
            Err(rows) => Err(strange(format!("it has {} rows in place of one", rows.len()))),
        }
    }
}

/// A value that has to be text, and some.
pub fn text(row: &[Value], at: usize) -> Result<&str, SqlError> {
    let text = row.get(at).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| unfit(row, at, "text"))
}

/// A value that has to be true or false.
pub fn flag(row: &[Value], at: usize) -> Result<bool, SqlError> {
    row.get(at).and_then(Value::as_bool).ok_or_else(|| unfit(row, at, "true or false"))
}

/// A value that has to be a whole number.
pub fn number(row: &[Value], at: usize) -> Result<i64, SqlError> {
    row.get(at).and_then(Value::as_i64).ok_or_else(|| unfit(row, at, "a whole number"))
}

fn unfit(row: &[Value], at: usize, wanted: &str) -> SqlError {
    let value = row.get(at).unwrap_or(&Value::Null).to_string();
    strange(format!("{} stands where {wanted} was asked for", cut(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What answers in QuestDB's place may say.
    const STRANGE: [&str; 14] = [
        "",
        "{}",
        "[]",
        "null",
        "OK",
        "<html><body>Sign in</body></html>",
        r#"{"dataset":null}"#,
        r#"{"columns":null,"dataset":null}"#,
        r#"{"columns":[],"dataset":[]}"#,
        r#"{"columns":[{"name":"a"}]}"#,
        r#"{"dataset":[["x"]]}"#,
        r#"{"columns":[{"name":"a"}],"dataset":[[]]}"#,
        r#"{"columns":[{"name":"a"}],"dataset":[[1,2]]}"#,
        r#"{"columns":[{"name":"a"}],"dataset":[[1]],"error":"timeout"}"#,
    ];

    #[test]
    fn what_is_no_answer_is_an_error() {
        for body in STRANGE {
            assert!(matches!(rows(body.as_bytes()), Err(SqlError::Answer(_))), "{body}");
            assert!(matches!(done(body.as_bytes()), Err(SqlError::Answer(_))), "{body}");
        }
        assert!(done(br#"{"columns":[{"name":"a"}],"dataset":[[1]]}"#).is_err());
        assert!(rows(br#"{"ddl":"OK"}"#).is_err() && done(br#"{"ddl":"FAILED"}"#).is_err());
        assert!(done(br#"{"ddl":"OK"}"#).is_ok());
    }

    #[test]
    fn the_columns_are_those_asked_for() {
        let body = br#"{"query":"q","columns":[{"name":"Name","type":"STRING"},{"name":"n","type":"INT"}],"dataset":[],"count":0}"#;
        let table = || rows(body).unwrap();
        assert!(table().with_columns(&["name", "n"]).is_ok(), "QuestDB names columns in the spelling asked for");
        for other in [&["n", "name"][..], &["name"], &["name", "n", "x"], &[]] {
            assert!(table().with_columns(other).is_err(), "{other:?}");
        }
        assert!(table().only_row().is_err());
        assert!(rows(br#"{"columns":[{"name":"a"}],"dataset":[[1],[2]]}"#).unwrap().only_row().is_err());
    }

    #[test]
    fn values_are_of_the_kind_asked_for() {
        let row = [Value::from("t"), Value::from(""), Value::Null, Value::from(true), Value::from(7), Value::from(0.5)];
        assert_eq!((text(&row, 0).unwrap(), flag(&row, 3).unwrap(), number(&row, 4).unwrap()), ("t", true, 7));
        for at in [1, 2, 3, 9] {
            assert!(text(&row, at).is_err(), "{at}");
        }
        for at in [0, 2, 4, 9] {
            assert!(flag(&row, at).is_err(), "{at}");
        }
        for at in [0, 2, 3, 5, 9] {
            assert!(number(&row, at).is_err(), "{at}");
        }
    }

    #[test]
    fn an_answer_with_a_nul_in_it_is_read() {
        let table = rows(b"{\"columns\":[{\"name\":\"v\"}],\"dataset\":[[\"a\0b\"],[\"c\"]]}").unwrap();
        assert_eq!(table.rows, [[Value::from("a\0b")], [Value::from("c")]]);
        assert!(rows(b"{\"columns\":[").is_err());
    }
}
