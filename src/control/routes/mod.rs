//! The routes and their answers.

mod accept;
mod admin;
mod browser;
mod latest;
mod openapi;
mod quarantine;
mod query;
mod render;
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
use serde_json::json;
use tokio::sync::{Semaphore, watch};

pub(super) use self::query::Asked;
use super::{
    api::Problem,
    page,
    server::{App, Peer},
    view::View,
};
use crate::latest::Series;

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
        let routes = reading().merge(admin::routes()).merge(quarantine::reading()).merge(quarantine::administering());
        let routes = routes.merge(write::open());
        let context = Context::new(app, stop);
        Self { latest: Some(context.clone()), ..Self::from(complete(routes, context)) }
    }

    /// The page, the routes that change nothing, and writing with the token, for browsers on this machine too.
    pub fn read_only(app: Arc<App>, stop: watch::Receiver<bool>) -> Self {
        let guarded = write::guarded(Arc::clone(&app));
        let routes = reading().merge(guarded).merge(page::routes());
        Self::from(complete(routes, Context::new(app, stop)).layer(from_fn(browser::guard)))
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
            let parameters = Query::try_from_uri(request.uri());
            return latest::answer(&context.app, request.headers(), parameters).await.into_response();
        }
        request.extensions_mut().insert(self.peer);
        let Ok(response) = self.router.call(request).await;
        response
    }
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

/// Watermarks, ring fill, forecast, the batcher's decision and its reason, broker, database and ledger.
#[utoipa::path(get, path = "/v1/status", tag = "state", responses((status = 200, description = "Everything about its state", body = serde_json::Value, content_type = "application/json")))]
async fn status(Shared(context): Shared<Context>) -> Response {
    let status = context.app.inspect.status();
    Json(status).into_response()
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
        "routes: /v1/latest, /v1/watch, /v1/openapi.json, /v1/status, /v1/ring, /v1/quarantine, /metrics, /healthz, /readyz, POST /write, /v1/flush, /v1/replay",
    )
}

async fn method_not_allowed(request: Request) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    problem(StatusCode::METHOD_NOT_ALLOWED, detail, "use GET to read, POST to change something")
}

impl App {
    /// The series as answered now.
    pub(super) fn view<'a>(&self, series: &'a Series) -> View<'a> {
        let state = self.inspect.state_of(series.seq());
        View::new(series, state, self.clock.now().wall, self.stale_after)
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
