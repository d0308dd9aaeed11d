//! The routes and their answers.

mod accept;
mod admin;
mod browser;
mod latest;
mod openapi;
mod quarantine;
mod query;
pub mod render;
mod replay;
mod ring;
mod scrape;
pub mod write;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, Request, State as Shared, rejection::QueryRejection},
    http::{StatusCode, Uri, header},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use utoipa::ToSchema;

pub(super) use self::query::Asked;
use super::{
    api::{Problem, SeriesView, Status},
    page,
    server::App,
};
use crate::latest::Series;

#[derive(Clone)]
pub(super) struct Context {
    pub app: Arc<App>,
    pub stop: watch::Receiver<bool>,
    /// Places for watchers, of this listener alone.
    pub watchers: Arc<Semaphore>,
}

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// Every route.
pub(super) fn local(app: Arc<App>, stop: watch::Receiver<bool>) -> Router {
    let routes = reading().merge(admin::routes()).merge(quarantine::reading()).merge(quarantine::administering());
    let routes = routes.merge(write::open());
    complete(routes, app, stop)
}

/// The page, the routes that change nothing, and writing with the token, for browsers on this machine too.
pub(super) fn read_only(app: Arc<App>, stop: watch::Receiver<bool>) -> Router {
    let guarded = write::guarded(Arc::clone(&app));
    complete(reading().merge(guarded).merge(page::routes()), app, stop).layer(from_fn(browser::guard))
}

fn reading() -> Router<Context> {
    Router::new()
        .merge(latest::routes())
        .route("/v1/openapi.json", get(openapi::document))
        .route("/v1/status", get(status))
        .route("/v1/ring", get(ring::info))
        .route("/metrics", get(scrape::metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
}

/// Adds the answers to what no route takes; the fallback covers only the routes that are there already.
fn complete(routes: Router<Context>, app: Arc<App>, stop: watch::Receiver<bool>) -> Router {
    let watchers = Arc::new(Semaphore::new(app.limits.watchers));
    routes.fallback(unknown).method_not_allowed_fallback(method_not_allowed).with_state(Context { app, stop, watchers })
}

/// One word in answer.
#[derive(Serialize, ToSchema)]
struct Told {
    /// The word.
    #[schema(value_type = String)]
    status: &'static str,
}

/// Watermarks, ring fill, forecast, the batcher's decision and its reason, broker, database and ledger.
#[utoipa::path(get, path = "/v1/status", tag = "state", responses(
    (status = 200, description = "Everything about its state", body = Status, content_type = "application/json"),
))]
async fn status(Shared(context): Shared<Context>) -> Json<Status> {
    Json(context.app.inspect.status())
}

/// Whether the daemon answers.
#[utoipa::path(get, path = "/healthz", tag = "state", responses(
    (status = 200, description = "It does: `ok`", body = Told, content_type = "application/json"),
))]
async fn health() -> Json<Told> {
    Json(Told { status: "ok" })
}

/// Whether the ring is recovered and intake runs.
#[utoipa::path(get, path = "/readyz", tag = "state", responses(
    (status = 200, description = "Ready: `ready`", body = Told, content_type = "application/json"),
    (status = 503, description = "Not ready", body = Problem, content_type = "application/problem+json"),
))]
async fn ready(Shared(context): Shared<Context>) -> Response {
    match context.app.inspect.ready() {
        Ok(()) => Json(Told { status: "ready" }).into_response(),
        Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, why, "forebay status tells more").into_response(),
    }
}

async fn unknown(uri: Uri) -> Problem {
    let detail = format!("there is no {}", uri.path());
    problem(StatusCode::NOT_FOUND, detail, "/v1/openapi.json lists the routes")
}

async fn method_not_allowed(request: Request) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    problem(StatusCode::METHOD_NOT_ALLOWED, detail, "use GET to read, POST to change something")
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
