//! What only root and the daemon's own user may ask for.

use axum::{
    Extension, Json, Router,
    extract::{Request, State as Shared},
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::post,
};

use super::{Context, Told, problem, ring};
use crate::control::server::Peer;

/// Every route of an administrator.
pub(super) fn routes() -> Router<Context> {
    Router::new()
        .route("/v1/flush", post(flush))
        .route("/v1/ring/resize", post(ring::resize).get(ring::resized))
        .merge(super::replay::routes())
        .route_layer(from_fn(admin_only))
}

pub(super) async fn admin_only(Extension(peer): Extension<Peer>, request: Request, next: Next) -> Response {
    if peer.is_admin() {
        return next.run(request).await;
    }
    let detail = "only root and the daemon's own user may do this";
    problem(StatusCode::FORBIDDEN, detail, "run the command with sudo").into_response()
}

/// Has the lanes send what is pending without lingering.
#[utoipa::path(post, path = "/v1/flush", tag = "administration", responses(
    (status = 202, description = "They are told: `flushing`", body = Told, content_type = "application/json"),
))]
pub(super) async fn flush(Shared(context): Shared<Context>) -> (StatusCode, Json<Told>) {
    context.app.inspect.flush_now();
    (StatusCode::ACCEPTED, Json(Told { status: "flushing" }))
}
