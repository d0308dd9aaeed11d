//! What the ring holds, and a ring of another size.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State as Shared},
    http::StatusCode,
};

use super::{Context, Parameters, problem};
use crate::{
    control::api::{Problem, ResizeRefusal, ResizeStatus, RingInfoError},
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

/// Gives the ring another size: the daemon stops in order, has the new file made and starts again,
/// in the same process. Nothing that
/// waits is lost, and the broker keeps what comes meanwhile.
#[utoipa::path(post, path = "/v1/ring/resize", tag = "administration", params(
    ("bytes" = u64, Query, description = "Size of the file, in bytes"),
), responses(
    (status = 202, description = "It begins", body = ResizeStatus, content_type = "application/json"),
    (status = 400, description = "The parameter is wrong", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The ring cannot have that size, or another change is under way", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn resize(
    Shared(context): Shared<Context>,
    parameters: Parameters,
) -> Result<(StatusCode, Json<ResizeStatus>), Problem> {
    let bad = |detail: String| problem(StatusCode::BAD_REQUEST, detail, "write ?bytes=536870912");
    let Query(parameters) = parameters.map_err(|why| bad(why.body_text()))?;
    let bytes = match parameters.as_slice() {
        [(name, value)] if name == "bytes" => {
            value.parse().map_err(|_| bad(format!("bytes={value} is no number of bytes")))?
        }
        _ => return Err(bad("one parameter, bytes, says how large the ring is to be".to_owned())),
    };
    let conflict = |why: &ResizeRefusal| {
        let hint = match why {
            ResizeRefusal::Running => "GET /v1/ring/resize tells how it ends",
            ResizeRefusal::Cannot(_) => "choose another size",
        };
        problem(StatusCode::CONFLICT, why.to_string(), hint)
    };
    let status = context.app.inspect.resize_ring(bytes).map_err(|why| conflict(&why))?;
    Ok((StatusCode::ACCEPTED, Json(status)))
}

/// What became of the last change of the ring's size since the start.
#[utoipa::path(get, path = "/v1/ring/resize", tag = "administration", responses(
    (status = 200, description = "What became of it", body = ResizeStatus, content_type = "application/json"),
))]
pub(super) async fn resized(Shared(context): Shared<Context>) -> Json<ResizeStatus> {
    Json(context.app.inspect.resized_ring())
}
