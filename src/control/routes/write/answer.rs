//! Refusals, in the words of `InfluxDB`'s and QuestDB's clients.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use super::MAX_BODY_BYTES;
use crate::{
    decode::line::LineError,
    ingest::write::{RING_PART, WriteCounts},
    observe::log::clip,
    shown::harmless_lines,
};

/// Malformed requests are logged one by one up to this number, then one in so many.
const LOGGED: u64 = 10;
/// When to try again, in seconds.
const RETRY_AFTER: &str = "1";

/// Why rows were not taken. None of the request's rows is in the ring then, unless the message says that it is not known.
#[derive(Debug)]
pub(in crate::control::routes) struct Refusal {
    status: StatusCode,
    kind: Kind,
    body: Body,
}

/// What it is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Malformed,
    Full,
    Other,
}

/// QuestDB's form of it, which holds `InfluxDB`'s two: `code` and `message` (v2), `error` (v1).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WriteRefusal)]
pub(in crate::control::routes) struct Body {
    #[schema(value_type = String)]
    code: &'static str,
    message: String,
    /// The same as `message`.
    error: String,
    /// Number of the line that is wrong, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// The log names the same.
    #[serde(rename = "errorId")]
    error_id: String,
}

/// Each answer, for the description of the interface.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what Refusal makes")]
pub(super) enum Answers {
    /// The rows are as safe as `[ring] durability` says.
    #[response(status = 204, headers(
        ("forebay-dropped-rows" = Option<u64>, description = "Rows that `drop-newest` dropped, the ring being full"),
    ))]
    Taken,
    /// A line or a parameter is wrong; no row was taken.
    #[response(status = 400)]
    Malformed(Body),
    /// The body did not come in time.
    #[response(status = 408)]
    Slow(Body),
    /// The body is too large, decompressed too, or has too many rows.
    #[response(status = 413)]
    TooLarge(Body),
    /// A `Content-Encoding` other than gzip.
    #[response(status = 415)]
    Encoding(Body),
    /// The ring is full, the daemon stops, or too much is under way: to be sent again later.
    #[response(status = 503)]
    Unavailable(Body),
}

/// The answers to who may not write, which the other answers come with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what Refusal makes")]
pub(in crate::control::routes) enum Barred {
    /// Over `[control] listen`: no token, or a wrong one.
    #[response(status = 401)]
    Unauthorized(Body),
    /// Over `[control] listen`: there is no `[control] token_file`.
    #[response(status = 403)]
    Forbidden(Body),
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let error_id = format!("forebay-{}", NUMBER.fetch_add(1, Relaxed));
        let message = harmless_lines(&message.into()).into_owned();
        Self { status, kind: Kind::Other, body: Body { code, error: message.clone(), message, line: None, error_id } }
    }

    /// A mistake in the request.
    pub fn bad(message: impl Into<String>) -> Self {
        Self { kind: Kind::Malformed, ..Self::new(StatusCode::BAD_REQUEST, "invalid", message) }
    }

    /// A mistake in a line.
    pub fn malformed(error: &LineError) -> Self {
        let mut refusal = Self::bad(format!("failed to parse line protocol: {error}; no row of the request was taken"));
        refusal.body.line = Some(error.line);
        refusal
    }

    /// A body beyond the limit.
    pub fn too_large() -> Self {
        let message = format!(
            "a request has at most {MAX_BODY_BYTES} bytes, decompressed; send fewer rows at a time (auto_flush_rows, metric_batch_size)"
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", message)
    }

    /// More than the ring takes at once.
    pub fn too_many_rows(why: &str) -> Self {
        let message = format!("{why}; send fewer rows at a time, or give the ring more than {RING_PART} times as much");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", message)
    }

    /// A statement beyond the limit.
    pub fn long_statement(most: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", format!("a statement has at most {most} bytes"))
    }

    /// A query.
    pub fn no_queries() -> Self {
        let message = "forebay answers no queries, only CREATE DATABASE and SHOW DATABASES; ask QuestDB, or GET /v1/latest for latest values";
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// What is to be made is there.
    pub fn conflict(why: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "conflict", why)
    }

    /// A path of `InfluxDB` 2's that is not there.
    pub fn not_found(path: &str) -> Self {
        let message = format!("{path} is none of forebay's: of InfluxDB's interface it has what docs/write.md names");
        Self::new(StatusCode::NOT_FOUND, "not found", message)
    }

    /// A method that a path of `InfluxDB` 2's does not take.
    pub fn method_not_allowed(method: &Method, path: &str) -> Self {
        let message = format!("{path} does not take {method}: forebay has nothing to change there");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", message)
    }

    /// A compression that is not known.
    pub fn encoding(what: &str) -> Self {
        let message = format!("Content-Encoding {what:?} is not taken; send plain text or gzip");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported media type", message)
    }

    /// No credentials, or wrong ones.
    pub fn unauthorized(offered: bool) -> Self {
        let message = if offered {
            "this is not the token of control.token_file"
        } else {
            "writing over this address takes a token: \
            Authorization: Bearer …, Token …, or Basic with the token as password"
        };
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// There is no token to be had.
    pub fn no_token_file() -> Self {
        let message = "over this address one can only read; set control.token_file to let clients with its token write, or write over the socket";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// The client takes too long.
    pub fn slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request timeout", "the body did not come in time")
    }

    /// The ring has no room.
    pub fn full() -> Self {
        let message = "the ring is full until QuestDB has taken rows; nothing was taken, send it again later";
        Self { kind: Kind::Full, ..Self::unavailable(message) }
    }

    /// Bodies of other requests take the memory.
    pub fn busy() -> Self {
        Self::unavailable("too many requests are under way; nothing was taken, send it again in a moment")
    }

    /// There is nothing to write to.
    pub fn no_intake() -> Self {
        Self::unavailable("nothing is taken in")
    }

    /// Nothing can be taken now.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why)
    }

    /// Counts it, and logs what somebody has to mend.
    pub fn count(&self, counts: &WriteCounts) {
        let count = match self.kind {
            Kind::Malformed => &counts.malformed,
            Kind::Full => &counts.full,
            Kind::Other => &counts.refused,
        };
        let number = count.fetch_add(1, Relaxed) + 1;
        if self.kind == Kind::Malformed && (number <= LOGGED || number.is_power_of_two()) {
            let (error_id, message) = (&self.body.error_id, clip(&self.body.message));
            tracing::warn!(%error_id, %message, "a request to write was refused");
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"forebay\""));
            }
            _ => {}
        }
        response
    }
}
