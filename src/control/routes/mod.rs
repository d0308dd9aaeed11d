//! The routes and their answers.

mod admin;
mod browser;
mod quarantine;
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
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use super::{
    api::{LatestAnswer, Problem, SeriesView},
    page,
    server::App,
    watch::events,
};
use crate::latest::{Filter, Series};

/// Prefix that makes a query parameter a symbol whatever its name, for symbols called `table` or `limit`.
const SYMBOL_PREFIX: &str = "symbol.";

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
        .route("/v1/latest", get(latest))
        .route("/v1/watch", get(watch_series))
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

async fn latest(Shared(context): Shared<Context>, parameters: Parameters) -> Result<Json<LatestAnswer>, Problem> {
    let app = &context.app;
    let (filter, limit) = parse(parameters, app.limits.listed)?;
    let listing = app.latest.list(&filter, limit);
    if listing.series.is_empty() {
        return Err(problem(
            StatusCode::NOT_FOUND,
            "no series matches",
            "leave out the parameters to see which series there are; \
             after a restart the map knows what the ring still holds",
        ));
    }
    let series = listing.series.iter().map(|series| app.view(series)).collect();
    Ok(Json(LatestAnswer { series, truncated: listing.truncated }))
}

async fn watch_series(Shared(context): Shared<Context>, parameters: Parameters) -> Result<Response, Problem> {
    let (filter, _) = parse(parameters, context.app.limits.listed)?;
    let Ok(permit) = Arc::clone(&context.watchers).try_acquire_owned() else {
        let detail = format!("{} watchers are served already", context.app.limits.watchers);
        return Err(problem(StatusCode::SERVICE_UNAVAILABLE, detail, "end one, or ask /v1/latest now and then"));
    };
    Ok(events(context, filter, permit).into_response())
}

async fn status(Shared(context): Shared<Context>) -> Response {
    let status = context.app.inspect.status();
    Json(status).into_response()
}

async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

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
        "routes: /v1/latest, /v1/watch, /v1/status, /v1/ring, /v1/quarantine, /metrics, /healthz, /readyz, POST /write, /v1/flush, /v1/replay",
    )
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

/// The filter and the limit that a query asks for.
fn parse(parameters: Parameters, most: usize) -> Result<(Filter, usize), Problem> {
    let Query(parameters) = parameters.map_err(|why| bad_query(why.body_text()))?;
    let (mut table, mut limit, mut symbols) = (None, most, Vec::new());
    for (name, value) in parameters {
        match name.as_str() {
            "table" if table.is_some() => return Err(bad_query("\"table\" is given twice")),
            "table" => table = Some(value),
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=most).contains(limit));
                limit = number.ok_or_else(|| bad_query(format!("limit={value} is no number from 1 to {most}")))?;
            }
            _ => symbols.push((name.strip_prefix(SYMBOL_PREFIX).map_or(name.clone(), str::to_owned), value)),
        }
    }
    let filter = Filter::new(table.as_deref(), symbols).map_err(|why| bad_query(why.to_string()))?;
    Ok((filter, limit))
}

fn bad_query(detail: impl Into<String>) -> Problem {
    problem(
        StatusCode::BAD_REQUEST,
        detail,
        "write ?table=NAME&SYMBOL=VALUE&limit=N; a symbol called table or limit as symbol.table=…",
    )
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
