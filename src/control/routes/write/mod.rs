//! `POST /write` and `/api/v2/write`: line protocol in, 204 once the ring has it as an acknowledgement demands; and what clients ask
//! before they write (`probes` and `buckets` what `InfluxDB`'s do). docs/write.md describes it.

mod answer;
mod body;
pub(super) mod buckets;
pub(super) mod probes;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, Request, State as Shared},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use utoipa::{IntoParams, ToSchema};

pub(super) use self::answer::Body;
use self::{
    answer::{Answers, Barred, Refusal},
    body::{Taken, drain},
};
use super::Context;
use crate::{
    clock::SharedClock,
    control::{
        App,
        token::{WriteToken, offered},
    },
    decode::line::Precision,
    ingest::write::{LineIntake, Writing, Written},
    marks::Ackable,
    point::{MAX_NAME_BYTES, Received},
};

/// Largest body, as sent and as decompressed.
pub const MAX_BODY_BYTES: usize = 8 << 20;
/// Most bytes of bodies held for all requests together.
pub const MAX_HELD_BYTES: usize = 32 << 20;
/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request waits for room that is about to be made.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it looks for room meanwhile, whoever was notified of it.
const ROOM_LOOK: Duration = Duration::from_millis(50);
/// How long a request waits until it is durable. QuestDB's clients wait for 10 s and more.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(20);

/// What clients are told of the version.
const VERSION: &str = concat!("forebay-", env!("CARGO_PKG_VERSION"));

/// What the routes that write need.
pub struct Writes {
    intake: Arc<dyn LineIntake>,
    clock: SharedClock,
    token: Option<Arc<WriteToken>>,
    held: Arc<Semaphore>,
    /// One request at a time is decoded: they would only wait for each other at the ring, each with its rows in memory.
    decoding: Arc<Semaphore>,
    body_timeout: Duration,
}

impl Writes {
    /// Writing into `intake`; over the loopback listener with `token` only, and not at all without one.
    pub fn new(intake: Arc<dyn LineIntake>, clock: SharedClock, token: Option<Arc<WriteToken>>) -> Self {
        Self {
            intake,
            clock,
            token,
            held: Arc::new(Semaphore::new(MAX_HELD_BYTES)),
            decoding: Arc::new(Semaphore::new(1)),
            body_timeout: BODY_TIMEOUT,
        }
    }

    /// The same with another limit on the time a body may take.
    #[must_use]
    pub fn with_body_timeout(self, body_timeout: Duration) -> Self {
        Self { body_timeout, ..self }
    }
}

/// The routes for whoever may use the socket.
pub(super) fn open() -> Router<Context> {
    writing().merge(asking())
}

/// The routes for the loopback listener: writing takes the token.
pub(super) fn guarded(app: Arc<App>) -> Router<Context> {
    writing().route_layer(from_fn_with_state(app, token_only)).merge(asking())
}

fn writing() -> Router<Context> {
    Router::new()
        .route("/write", post(write))
        .route("/api/v2/write", post(write_v2))
        // A client that asks whether its token is good is told.
        .route("/query", get(probes::query).post(probes::query_by_post))
        .route("/api/v2/buckets", get(buckets::buckets).post(buckets::make_bucket))
        .route("/api/v2/orgs", get(buckets::organizations).post(buckets::make_organization))
}

fn asking() -> Router<Context> {
    Router::new()
        .route("/ping", get(ping))
        .route("/settings", get(settings))
        .route("/health", get(probes::health))
        .route("/ready", get(probes::ready))
        .route("/api/v2/setup", get(buckets::setup).post(buckets::set_up))
}

/// Whether a path is one of `InfluxDB` 2's, whose clients read errors of its form alone.
pub(super) fn is_influx(path: &str) -> bool {
    path.starts_with("/api/v2/")
}

/// The answer about such a path that is not there.
pub(super) fn not_found(path: &str) -> Response {
    Refusal::not_found(path).into_response()
}

/// The answer about one that is there and does not take the method.
pub(super) fn method_not_allowed(method: &Method, path: &str) -> Response {
    Refusal::method_not_allowed(method, path).into_response()
}

/// What `InfluxDB`'s and QuestDB's clients take for a sign of life.
#[utoipa::path(get, path = "/ping", tag = "writing", responses(
    (status = 204, description = "It lives", headers(("x-influxdb-version" = String, description = "`forebay-` and its version"))),
))]
pub(super) async fn ping() -> Response {
    (StatusCode::NO_CONTENT, [("x-influxdb-version", VERSION)]).into_response()
}

/// The answer of `GET /settings`, in QuestDB's words.
#[derive(Serialize, ToSchema)]
pub(super) struct ClientSettings {
    config: ClientConfig,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ClientConfig {
    /// 1: the one that is text.
    #[serde(rename = "line.proto.support.versions")]
    versions: [u8; 1],
    #[serde(rename = "ilp.proto.transports")]
    #[schema(value_type = [String; 1])]
    transports: [&'static str; 1],
    /// Longest name of a table or column, in bytes.
    #[serde(rename = "cairo.max.file.name.length")]
    max_name_bytes: usize,
}

/// What QuestDB's clients ask before they write: which versions of the protocol are spoken, and how long a name may be.
#[utoipa::path(get, path = "/settings", tag = "writing", responses(
    (status = 200, description = "As QuestDB answers it", body = ClientSettings, content_type = "application/json"),
))]
pub(super) async fn settings() -> Json<ClientSettings> {
    let config = ClientConfig { versions: [1], transports: ["http"], max_name_bytes: MAX_NAME_BYTES };
    Json(ClientSettings { config })
}

async fn token_only(Shared(app): Shared<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(writes) = &app.writes else { return Refusal::no_intake().into_response() };
    let refusal = match (&writes.token, credentials(&request)) {
        (None, _) => Refusal::no_token_file(),
        (Some(token), Some(offer)) if token.is(&offer) => return next.run(request).await,
        (Some(_), offer) => Refusal::unauthorized(offer.is_some()),
    };
    writes.intake.counts().unauthorized.fetch_add(1, Relaxed);
    let (parts, body) = request.into_parts();
    drain(body, &parts.headers).await;
    refusal.into_response()
}

/// The token a request offers, in its head or, as clients of `InfluxDB` v1 do, as the parameter `p`.
fn credentials(request: &Request) -> Option<String> {
    offered(request.headers()).or_else(|| {
        let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()).ok()?;
        parameters.into_iter().find_map(|(name, value)| (name == "p").then_some(value))
    })
}

/// What a request to write may say in its target.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "of the other parameters that clients send nothing is read")]
pub(super) struct WriteParameters {
    /// The unit of times that carry none of their own; nanoseconds when absent.
    #[param(inline)]
    precision: Option<Precision>,
}

/// Rows as line protocol; answered once they are durable.
#[utoipa::path(
    post,
    path = "/write",
    tag = "writing",
    params(WriteParameters),
    request_body(content = Option<String>, content_type = "text/plain", description = "Line protocol, plain or gzip"),
    security((), ("token" = []), ("login" = []), ("parameter" = [])),
    responses(Answers, Barred)
)]
pub(super) async fn write(context: Shared<Context>, request: Request) -> Response {
    take_in(context, request).await
}

/// The same where clients of `InfluxDB` v2 look for it.
#[utoipa::path(
    post,
    path = "/api/v2/write",
    operation_id = "write_v2",
    tag = "writing",
    params(WriteParameters),
    request_body(content = Option<String>, content_type = "text/plain", description = "Line protocol, plain or gzip"),
    security((), ("token" = []), ("login" = []), ("parameter" = [])),
    responses(Answers, Barred)
)]
pub(super) async fn write_v2(context: Shared<Context>, request: Request) -> Response {
    take_in(context, request).await
}

async fn take_in(Shared(context): Shared<Context>, request: Request) -> Response {
    let Some(writes) = &context.app.writes else { return Refusal::no_intake().into_response() };
    match take(writes, request).await {
        Ok(0) => StatusCode::NO_CONTENT.into_response(),
        Ok(dropped) => (StatusCode::NO_CONTENT, [("forebay-dropped-rows", dropped.to_string())]).into_response(),
        Err(refusal) => {
            refusal.count(writes.intake.counts());
            refusal.into_response()
        }
    }
}

/// Takes a request in; how many rows were dropped by policy.
async fn take(writes: &Writes, request: Request) -> Result<u64, Refusal> {
    let (parts, body) = request.into_parts();
    let (precision, gzip) = match asked(&parts.uri, &parts.headers) {
        Ok(asked) => asked,
        Err(refusal) => {
            drain(body, &parts.headers).await;
            return Err(refusal);
        }
    };
    let taken = body::take(writes, body, &parts.headers, gzip).await?;
    let (began, received) = (Instant::now(), writes.clock.now());
    let (end, rows) = match append(writes, taken, precision, received).await? {
        Written::Accepted { end, rows } => (end, rows),
        Written::Dropped { rows, due } => {
            durable(writes, due).await?;
            return Ok(rows);
        }
        Written::Full { .. } => return Err(Refusal::full()),
        Written::Malformed(error) => return Err(Refusal::malformed(&error)),
        Written::TooLarge(why) => return Err(Refusal::too_many_rows(&why)),
        Written::Failed(why) => return Err(Refusal::unavailable(why)),
    };
    durable(writes, end.into()).await?;
    writes.intake.counts().answered(rows, received.wall, began.elapsed().as_micros() as u64);
    Ok(0)
}

/// The unit of times, and whether the body is compressed.
fn asked(uri: &axum::http::Uri, headers: &HeaderMap) -> Result<(Precision, bool), Refusal> {
    let Query(parameters) =
        Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|why| Refusal::bad(why.body_text()))?;
    let word = parameters.into_iter().find_map(|(name, value)| (name == "precision").then_some(value));
    let word = word.unwrap_or_default();
    let precision = Precision::named(&word)
        .ok_or_else(|| Refusal::bad(format!("precision={word:?}: there is ns, us, ms, s, m and h")))?;
    let encoding = headers.get(header::CONTENT_ENCODING).map_or(Ok(""), |value| value.to_str());
    match encoding.unwrap_or("?").to_ascii_lowercase().as_str() {
        "" | "identity" => Ok((precision, false)),
        "gzip" | "x-gzip" => Ok((precision, true)),
        other => Err(Refusal::encoding(other)),
    }
}

/// Appends the lines, waiting a moment for room that is being made.
async fn append(
    writes: &Writes,
    mut taken: Taken,
    precision: Precision,
    received: Received,
) -> Result<Written, Refusal> {
    let give_up = Instant::now() + ROOM_TIMEOUT;
    loop {
        let permit = Arc::clone(&writes.decoding).acquire_owned().await;
        let intake = Arc::clone(&writes.intake);
        let done = tokio::task::spawn_blocking(move || {
            // Moved in: a client that goes away frees the next one's way only once this one is done.
            let _permit = permit;
            let written = taken.plain().map(|body| intake.write(Writing { body: &body, precision, received }));
            (taken, written)
        });
        let (back, written) = done.await.map_err(|_| Refusal::unavailable("the request could not be worked on"))?;
        taken = back;
        match written? {
            Written::Full { soon: true } if Instant::now() < give_up => {
                let _ = timeout(ROOM_LOOK, writes.intake.room().notified()).await;
            }
            written => return Ok(written),
        }
    }
}

/// Waits until a writer whose answer is due then may have it.
async fn durable(writes: &Writes, due: Ackable) -> Result<(), Refusal> {
    let (mut ackable, mut failed) = (writes.intake.ackable(), writes.intake.failed());
    let waited = timeout_at(Instant::now() + DURABLE_TIMEOUT, async {
        tokio::select! {
            biased;
            reached = ackable.wait_for(|ackable| ackable.covers(due)) => reached.is_ok(),
            _ = failed.wait_for(Option::is_some) => false,
        }
    });
    match waited.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::unavailable("the ring has failed; whether the rows are kept is not known")),
        Err(_) => Err(Refusal::unavailable("the disk takes too long; whether the rows will be kept is not known")),
    }
}
