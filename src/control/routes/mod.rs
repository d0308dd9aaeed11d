//! The routes and their answers.

mod accept;
mod admin;
mod latest;
mod openapi;
mod quarantine;
mod query;
mod render;
mod replay;
mod ring;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, Request, State as Shared, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::sync::watch;

pub(super) use self::query::Asked;
use super::{
    api::{Problem, SeriesView},
    server::App,
};
use crate::{latest::Series, observe::metrics};

#[derive(Clone)]
pub(super) struct Context {
    pub app: Arc<App>,
    pub stop: watch::Receiver<bool>,
}

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// Every route.
pub(super) fn local(app: Arc<App>, stop: watch::Receiver<bool>) -> Router {
    let routes = reading().merge(admin::routes()).merge(quarantine::reading()).merge(quarantine::administering());
    complete(routes, app, stop)
}

/// The routes that change nothing, for browsers on this machine too: a request must name the machine by a loopback name, so
/// that a web page can't have its own domain resolve to it (DNS rebinding).
pub(super) fn read_only(app: Arc<App>, stop: watch::Receiver<bool>) -> Router {
    complete(reading(), app, stop).layer(from_fn(loopback_only))
}

fn reading() -> Router<Context> {
    Router::new()
        .merge(latest::routes())
        .route("/v1/openapi.json", get(openapi::document))
        .route("/v1/status", get(status))
        .route("/v1/ring", get(ring::info))
        .route("/metrics", get(scrape))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
}

/// Adds the answers to what no route takes; the fallback covers only the routes that are there already.
fn complete(routes: Router<Context>, app: Arc<App>, stop: watch::Receiver<bool>) -> Router {
    routes.fallback(unknown).method_not_allowed_fallback(method_not_allowed).with_state(Context { app, stop })
}

/// Watermarks, ring fill, forecast, the batcher's decision and its reason, broker, database and ledger.
#[utoipa::path(get, path = "/v1/status", tag = "state", responses((status = 200, description = "Everything about its state", body = serde_json::Value, content_type = "application/json")))]
async fn status(Shared(context): Shared<Context>) -> Response {
    let status = context.app.inspect.status();
    Json(status).into_response()
}

/// The same for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "state", responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")))]
async fn scrape(Shared(context): Shared<Context>) -> Response {
    let text = metrics::encode(context.app.inspect.status());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// Whether the daemon answers.
#[utoipa::path(get, path = "/healthz", tag = "state", responses((status = 200, description = "It does", body = serde_json::Value, content_type = "application/json")))]
async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Whether the ring is recovered and intake runs.
#[utoipa::path(get, path = "/readyz", tag = "state", responses(
    (status = 200, description = "Ready", body = serde_json::Value, content_type = "application/json"),
    (status = 503, description = "Not ready", body = Problem, content_type = "application/problem+json"),
))]
async fn ready(Shared(context): Shared<Context>) -> Response {
    match context.app.inspect.ready() {
        Ok(()) => Json(json!({ "status": "ready" })).into_response(),
        Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, why, "forebay status tells more").into_response(),
    }
}

async fn unknown(uri: Uri) -> Problem {
    let detail = format!("there is no {}", uri.path());
    problem(
        StatusCode::NOT_FOUND,
        detail,
        "routes: /v1/latest, /v1/watch, /v1/openapi.json, /v1/status, /v1/ring, /v1/quarantine, /metrics, /healthz, /readyz, POST /v1/flush, /v1/replay",
    )
}

async fn method_not_allowed(request: Request) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    problem(StatusCode::METHOD_NOT_ALLOWED, detail, "use GET to read, POST to change something")
}

async fn loopback_only(headers: HeaderMap, request: Request, next: Next) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_loopback_name(host) {
        return next.run(request).await;
    }
    problem(
        StatusCode::FORBIDDEN,
        format!("{host:?} is no name of this machine's loopback"),
        "use 127.0.0.1 or localhost",
    )
    .into_response()
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl App {
    /// The series as answered now.
    pub(super) fn view(&self, series: &Series) -> SeriesView {
        let state = self.inspect.state_of(series.seq());
        SeriesView::new(series, state, self.clock.now().wall, self.stale_after)
    }
}

fn problem(status: StatusCode, detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem {
        kind: "about:blank".into(),
        title: status.canonical_reason().unwrap_or("Error").into(),
        status: status.as_u16(),
        detail: detail.into(),
        hint: hint.into(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_pass() {
        for name in ["localhost", "localhost:8400", "127.0.0.1:8400", "[::1]:8400", "[::1]"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in ["", "evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "[fe80::1]"] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }
}
