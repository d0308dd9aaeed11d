//! The routes and their answers.

mod accept;
mod admin;
mod browser;
mod config;
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
    http::{Method, StatusCode, Uri, header},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use utoipa::ToSchema;

pub(super) use self::query::Asked;
use super::{
    api::{Problem, Status},
    page,
    server::{App, Peer},
};
use crate::{
    latest::{Series, view::View},
    point::Timestamp,
    shown::harmless_lines,
};

#[derive(Clone)]
pub(super) struct Context {
    pub app: Arc<App>,
    pub stop: watch::Receiver<bool>,
    /// Places for watchers, of this listener alone.
    pub watchers: Arc<Semaphore>,
}

impl Context {
    fn new(app: Arc<App>, stop: watch::Receiver<bool>) -> Self {
        let watchers = Arc::new(Semaphore::new(app.limits.watchers));
        Self { app, stop, watchers }
    }
}

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// What answers the requests of a listener, or of one of its connections.
pub(super) struct Routes {
    router: TowerToHyperService<Router>,
    peer: Peer,
    /// Latest values are asked for most. The way through the router takes longer than to answer, so they go beside it; not where
    /// something stands before every route.
    latest: Option<Context>,
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self { router: TowerToHyperService::new(router), peer: Peer::Unknown, latest: None }
    }
}

impl Routes {
    /// Every route.
    pub fn local(app: Arc<App>, stop: watch::Receiver<bool>) -> Self {
        let context = Context::new(app, stop);
        Self { latest: Some(context.clone()), ..Self::from(local(context)) }
    }

    /// The page, the routes that change nothing, and writing with the token, for browsers on this machine too.
    pub fn read_only(app: Arc<App>, stop: watch::Receiver<bool>) -> Self {
        Self::from(read_only(Context::new(app, stop)))
    }

    /// The same for whoever is at the other end of a connection.
    pub fn for_peer(&self, peer: Peer) -> Self {
        Self { router: self.router.clone(), peer, latest: self.latest.clone() }
    }

    /// Answers a request.
    pub async fn answer(&self, mut request: Request) -> Response {
        if let Some(context) = &self.latest
            && request.method() == Method::GET
            && request.uri().path() == latest::PATH
        {
            let parameters = Ok(query::parameters(request.uri()));
            return latest::answer(&context.app, request.headers(), parameters).await.into_response();
        }
        request.extensions_mut().insert(self.peer);
        let Ok(response) = self.router.call(request).await;
        response
    }
}

fn local(context: Context) -> Router {
    let routes = reading()
        .merge(config::routes())
        .merge(admin::routes())
        .merge(quarantine::reading())
        .merge(quarantine::administering());
    complete(routes.merge(write::open()), context)
}

fn read_only(context: Context) -> Router {
    let routes = reading().merge(write::guarded(Arc::clone(&context.app))).merge(page::routes());
    complete(routes, context).layer(from_fn(browser::guard))
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
fn complete(routes: Router<Context>, context: Context) -> Router {
    routes.fallback(unknown).method_not_allowed_fallback(method_not_allowed).with_state(context)
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

async fn unknown(uri: Uri) -> Response {
    if write::is_influx(uri.path()) {
        return write::not_found(uri.path());
    }
    let detail = format!("there is no {}", uri.path());
    problem(StatusCode::NOT_FOUND, detail, "/v1/openapi.json lists the routes").into_response()
}

async fn method_not_allowed(request: Request) -> Response {
    let (path, method) = (request.uri().path(), request.method());
    if write::is_influx(path) {
        return write::method_not_allowed(method, path);
    }
    let detail = format!("{path} does not take {method}");
    problem(StatusCode::METHOD_NOT_ALLOWED, detail, "use GET to read, POST to change something").into_response()
}

impl App {
    /// The series as answered now.
    pub(super) fn view<'a>(&self, series: &'a Series) -> View<'a> {
        self.view_at(series, self.clock.now().wall)
    }

    /// The series as answered at a time that is now.
    fn view_at<'a>(&self, series: &'a Series, now: Timestamp) -> View<'a> {
        View::new(series, self.inspect.state_of(series.seq()), now, self.stale_after)
    }
}

fn problem(status: StatusCode, detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem {
        kind: "about:blank".into(),
        title: status.canonical_reason().unwrap_or("Error").into(),
        status: status.as_u16(),
        detail: harmless_lines(&detail.into()).into_owned(),
        hint: harmless_lines(&hint.into()).into_owned(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(self)).into_response()
    }
}
