//! `GET /metrics`.

use axum::{
    extract::State as Shared,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use super::Context;
use crate::{
    control::metrics::{Format, encode_as},
    observe::process::Process,
};

/// The same for Prometheus, in the format that is asked for.
#[utoipa::path(get, path = "/metrics", tag = "state", responses(
    (status = 200, description = "Prometheus' text format 0.0.4, or OpenMetrics 1.0.0", content(
        (String = "text/plain"),
        (String = "application/openmetrics-text"),
    )),
))]
pub async fn metrics(Shared(context): Shared<Context>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::wanted(accept.unwrap_or_default());
    let page = encode_as(context.app.inspect.status(), Process::read(), format);
    ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")], page).into_response()
}
