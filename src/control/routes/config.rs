//! `GET /v1/config`: by what configuration the daemon runs.

use axum::{Json, Router, extract::State as Shared, routing::get};

use super::Context;
use crate::control::api::ConfigStatus;

/// What is read on the socket alone: names of users, paths and topics are nobody else's business.
pub(super) fn routes() -> Router<Context> {
    Router::new().route("/v1/config", get(config))
}

/// The settings in force, what became of the last reload, and the changes that wait for a restart.
#[utoipa::path(get, path = "/v1/config", tag = "configuration", responses(
    (status = 200, description = "The configuration the daemon runs by", body = ConfigStatus, content_type = "application/json"),
))]
pub(super) async fn config(Shared(context): Shared<Context>) -> Json<ConfigStatus> {
    Json(context.app.inspect.config())
}
