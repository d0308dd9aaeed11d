//! What the ring holds.

use std::sync::Arc;

use axum::{Json, extract::State as Shared, http::StatusCode};

use super::{Context, problem};
use crate::{
    control::api::{Problem, RingInfoError},
    ring::inspect::RingInfo,
};

/// What the ring holds: fill, watermarks, what is oldest, rows by table.
// The file is read on a thread that may block.
#[utoipa::path(get, path = "/v1/ring", tag = "state", responses(
    (status = 200, description = "What it holds", body = RingInfo, content_type = "application/json"),
    (status = 500, description = "The ring can't be read", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "It is being read for another request", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn info(Shared(context): Shared<Context>) -> Result<Json<RingInfo>, Problem> {
    let inspect = Arc::clone(&context.app.inspect);
    match tokio::task::spawn_blocking(move || inspect.ring_info()).await {
        Ok(Ok(info)) => Ok(Json(info)),
        Ok(Err(busy @ RingInfoError::Busy)) => {
            Err(problem(StatusCode::SERVICE_UNAVAILABLE, busy.to_string(), "ask again in a moment"))
        }
        Ok(Err(error)) => {
            Err(problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "forebay status tells how the ring is"))
        }
        Err(_) => Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "the ring could not be read", "see the daemon's log")),
    }
}
