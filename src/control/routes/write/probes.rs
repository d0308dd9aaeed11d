//! What `InfluxDB`'s clients ask before they write, or to find out whether they may: `/health` and
//! `/ready` (version 2 of its interface), `/query` (version 1); `buckets` has the rest of version 2.
//! A database of any name is there as far as they can tell, since forebay reads no such name.
//! docs/write.md describes it.

use std::error::Error;

use axum::{
    Json,
    body::to_bytes,
    extract::{Query, Request, State as Shared},
    http::{HeaderMap, StatusCode, Uri, header},
};
use http_body_util::LengthLimitError;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::{
    BODY_TIMEOUT, VERSION,
    answer::{Barred, Body, Refusal},
    body::drain,
};
use crate::control::routes::Context;

/// Longest body with a statement.
const MAX_STATEMENT_BYTES: usize = 64 << 10;
/// The database, bucket and organization that is named where the client names none.
pub(super) const NAME: &str = "forebay";

/// The answer of `GET /health`, in `InfluxDB`'s words.
#[derive(Serialize, ToSchema)]
#[schema(as = ClientHealth)]
pub(in crate::control::routes) struct Health {
    /// `forebay`.
    #[schema(value_type = String)]
    name: &'static str,
    /// What is missing, if it fails.
    message: String,
    /// `pass` or `fail`.
    #[schema(value_type = String)]
    status: &'static str,
    /// `forebay-` and its version.
    #[schema(value_type = String)]
    version: &'static str,
}

/// Whether rows are taken in, as `/readyz` has it, for clients of `InfluxDB`.
#[utoipa::path(get, path = "/health", tag = "writing", responses(
    (status = 200, description = "The ring is recovered and intake runs: `pass`", body = Health, content_type = "application/json"),
    (status = 503, description = "Not yet: `fail`", body = Health, content_type = "application/json"),
))]
pub(in crate::control::routes) async fn health(Shared(context): Shared<Context>) -> (StatusCode, Json<Health>) {
    let (code, status, message) = match context.app.inspect.ready() {
        Ok(()) => (StatusCode::OK, "pass", "ready for writes".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, "fail", why),
    };
    (code, Json(Health { name: NAME, message, status, version: VERSION }))
}

/// The answer of `GET /ready`, in `InfluxDB`'s words.
#[derive(Serialize, ToSchema)]
#[schema(as = ClientReady)]
pub(in crate::control::routes) struct Ready {
    /// `ready`.
    #[schema(value_type = String)]
    status: &'static str,
}

/// The same as `/readyz`, for clients of `InfluxDB` 2.
#[utoipa::path(get, path = "/ready", tag = "writing", responses(
    (status = 200, description = "The ring is recovered and intake runs", body = Ready, content_type = "application/json"),
    (status = 503, description = "Not yet", body = Body, content_type = "application/json"),
))]
pub(in crate::control::routes) async fn ready(Shared(context): Shared<Context>) -> Result<Json<Ready>, Refusal> {
    context.app.inspect.ready().map(|()| Json(Ready { status: "ready" })).map_err(Refusal::unavailable)
}

/// The answer of `/query`: one result a statement.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementResults)]
pub(in crate::control::routes) struct Results {
    results: Vec<StatementResult>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::control::routes) struct StatementResult {
    /// Its place, from 0.
    statement_id: usize,
    /// What it lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<[Listing; 1]>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DatabaseListing)]
pub(in crate::control::routes) struct Listing {
    #[schema(value_type = String)]
    name: &'static str,
    #[schema(value_type = [String; 1])]
    columns: [&'static str; 1],
    values: [[String; 1]; 1],
}

/// What a request to `/query` says in its target; `q` may as well be in a form that is sent as the
/// body.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes what is read from the list of parameters")]
pub(in crate::control::routes) struct Question {
    /// `CREATE DATABASE` or `SHOW DATABASES`; several are parted by semicolons.
    #[param(example = "CREATE DATABASE telegraf")]
    q: Option<String>,
    /// The database that the client writes to: any.
    db: Option<String>,
}

/// Each answer of `/query`, for the description of the interface.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what the handlers make")]
pub(in crate::control::routes) enum QuestionAnswers {
    /// As `InfluxDB` 1 answers it.
    #[response(status = 200)]
    Answered(Results),
    /// Another statement, or none: forebay answers no queries.
    #[response(status = 400)]
    NoQueries(Body),
    /// The body did not come in time.
    #[response(status = 408)]
    Slow(Body),
    /// The body has more than 64 KiB.
    #[response(status = 413)]
    TooLarge(Body),
    /// Nothing is taken in.
    #[response(status = 503)]
    Unavailable(Body),
}

/// What clients of `InfluxDB` 1 ask before they write. Other queries are not answered.
#[utoipa::path(
    get,
    path = "/query",
    tag = "writing",
    params(Question),
    security((), ("token" = []), ("login" = []), ("parameter" = [])),
    responses(QuestionAnswers, Barred)
)]
pub(in crate::control::routes) async fn query(uri: Uri) -> Result<Json<Results>, Refusal> {
    results(&parameters(&uri)?).map(Json)
}

/// The same by POST, as Telegraf asks: `q` in the target, or in a form as the body.
#[utoipa::path(
    post,
    path = "/query",
    tag = "writing",
    params(Question),
    request_body(content = Option<String>, content_type = "application/x-www-form-urlencoded", description = "`q` and `db`, unless the target has them"),
    security((), ("token" = []), ("login" = []), ("parameter" = [])),
    responses(QuestionAnswers, Barred)
)]
pub(in crate::control::routes) async fn query_by_post(request: Request) -> Result<Json<Results>, Refusal> {
    let (parts, body) = request.into_parts();
    if declared_bytes(&parts.headers).is_some_and(|declared| declared > MAX_STATEMENT_BYTES as u64) {
        drain(body, &parts.headers).await;
        return Err(Refusal::long_statement(MAX_STATEMENT_BYTES));
    }
    let read = timeout(BODY_TIMEOUT, to_bytes(body, MAX_STATEMENT_BYTES)).await.map_err(|_| Refusal::slow())?;
    let body = read.map_err(|why| match why.source() {
        Some(cause) if cause.is::<LengthLimitError>() => Refusal::long_statement(MAX_STATEMENT_BYTES),
        _ => Refusal::bad(format!("the body breaks off: {why}")),
    })?;
    let mut parameters = parameters(&parts.uri)?;
    parameters.extend(form_urlencoded::parse(&body).into_owned());
    results(&parameters).map(Json)
}

fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) type Parameters = Vec<(String, String)>;

pub(super) fn parameters(uri: &Uri) -> Result<Parameters, Refusal> {
    Query::<Parameters>::try_from_uri(uri)
        .map(|Query(parameters)| parameters)
        .map_err(|why| Refusal::bad(why.body_text()))
}

pub(super) fn named<'p>(parameters: &'p [(String, String)], name: &str) -> Option<&'p str> {
    let mut values = parameters.iter().filter(|(have, _)| have == name).map(|(_, value)| value.as_str());
    values.find(|value| !value.is_empty())
}

/// The answers to the statements of a request; none when one of them is a query.
fn results(parameters: &[(String, String)]) -> Result<Results, Refusal> {
    let text = named(parameters, "q").unwrap_or_default();
    let statements: Vec<&str> = text.split(';').map(str::trim).filter(|statement| !statement.is_empty()).collect();
    if statements.is_empty() {
        return Err(Refusal::bad("missing required parameter \"q\""));
    }
    let database = named(parameters, "db").unwrap_or(NAME);
    let answer = |(statement_id, statement): (usize, &&str)| {
        let mut words = statement.split_whitespace().map(str::to_ascii_uppercase);
        let verb = [words.next(), words.next()].map(Option::unwrap_or_default);
        let series = match [verb[0].as_str(), verb[1].as_str()] {
            ["CREATE", "DATABASE"] if words.next().is_some() => None,
            ["SHOW", "DATABASES"] => {
                Some([Listing { name: "databases", columns: ["name"], values: [[database.to_owned()]] }])
            }
            _ => return Err(Refusal::no_queries()),
        };
        Ok(StatementResult { statement_id, series })
    };
    Ok(Results { results: statements.iter().enumerate().map(answer).collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(q: &str, db: &str) -> Result<serde_json::Value, Refusal> {
        let parameters = [("q", q), ("db", db)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        results(&parameters).map(|results| serde_json::to_value(results).unwrap())
    }

    #[test]
    fn a_database_of_any_name_is_there_and_can_be_made() {
        let made = serde_json::json!({ "results": [{ "statement_id": 0 }] });
        for q in ["CREATE DATABASE \"telegraf\"", "create database t;", " CREATE\tDATABASE t WITH DURATION 30d "] {
            assert_eq!(answered(q, "").unwrap(), made, "{q}");
        }
        for (db, name) in [("", "forebay"), ("sensors", "sensors")] {
            let listed = &answered("SHOW DATABASES", db).unwrap()["results"][0]["series"][0];
            assert_eq!(listed["values"], serde_json::json!([[name]]));
            assert_eq!((&listed["name"], &listed["columns"][0]), (&"databases".into(), &"name".into()));
        }
        let both = answered("CREATE DATABASE a; SHOW DATABASES;", "").unwrap();
        assert_eq!(both["results"][1]["statement_id"], 1);
    }

    #[test]
    fn whatever_else_is_asked_is_refused() {
        for q in [
            "",
            " ; ",
            "SELECT * FROM cpu",
            "CREATE DATABASE",
            "DROP DATABASE a",
            "SHOW SERIES",
            "SHOW DATABASES; SELECT 1",
        ] {
            assert!(answered(q, "").is_err(), "{q}");
        }
    }
}
