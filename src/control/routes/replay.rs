//! `POST /v1/replay`: stored rows go to the database again.

use axum::{
    Json, Router,
    extract::{Query, State as Shared, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};

use super::{Context, problem};
use crate::{
    control::api::Problem,
    flush::replay::{MAX_NAMED, ReplayAnswer, ReplayAsk, ReplayError},
    since::Since,
};

/// The route, for administrators.
pub(super) fn routes() -> Router<Context> {
    Router::new().route("/v1/replay", post(replay))
}

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// Sends rows that are stored to QuestDB again, out of the ring's history: all received since a moment, of all tables or some.
#[utoipa::path(post, path = "/v1/replay", tag = "administration", params(
    ReplayAsk,
    ("since_ms" = Option<u64>, Query, description = "In place of `since`: how many milliseconds ago"),
), responses(
    (status = 202, description = "What goes again", body = ReplayAnswer, content_type = "application/json"),
    (status = 400, description = "A parameter is wrong, or it is not said since when", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "Nothing was received since then", body = Problem, content_type = "application/problem+json"),
    (status = 500, description = "The ring can't be read", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The start of another replay is being looked for", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn replay(Shared(context): Shared<Context>, parameters: Parameters) -> Result<Response, Problem> {
    let ask = parse(parameters)?;
    let inspect = context.app.inspect.clone();
    let answer = tokio::task::spawn_blocking(move || inspect.replay(&ask)).await;
    match answer {
        Ok(Ok(answer)) => Ok((StatusCode::ACCEPTED, Json(answer)).into_response()),
        Ok(Err(error)) => Err(explain(&error)),
        Err(error) => Err(problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "see the daemon's log")),
    }
}

fn explain(error: &ReplayError) -> Problem {
    let (status, hint) = match error {
        ReplayError::Nothing(_) => (StatusCode::NOT_FOUND, "go further back; forebay status shows what the ring holds"),
        ReplayError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "try again in a moment"),
        ReplayError::Read(_) => (StatusCode::INTERNAL_SERVER_ERROR, "forebay status tells whether the ring has failed"),
    };
    problem(status, error.to_string(), hint)
}

fn parse(parameters: Parameters) -> Result<ReplayAsk, Problem> {
    let Query(parameters) = parameters.map_err(|why| bad(why.body_text()))?;
    let (mut since, mut tables) = (None, Vec::new());
    for (name, value) in parameters {
        match name.as_str() {
            "since" | "since_ms" if since.is_some() => return Err(bad("the time is given twice")),
            "since" => since = Some(Since::at(&value).map_err(bad)?),
            "since_ms" => {
                let millis = value.parse().ok().filter(|millis| i64::try_from(*millis).is_ok());
                let millis = millis.ok_or_else(|| bad(format!("since_ms={value} is no number of milliseconds")))?;
                since = Some(Since::Ago(std::time::Duration::from_millis(millis)));
            }
            "table" if tables.len() == MAX_NAMED => return Err(bad(format!("more than {MAX_NAMED} tables are named"))),
            "table" => tables.push(value),
            _ => return Err(bad(format!("there is no parameter {name:?}"))),
        }
    }
    let since = since.ok_or_else(|| bad("it is not said since when"))?;
    Ok(ReplayAsk { since, tables })
}

fn bad(detail: impl Into<String>) -> Problem {
    let hint = "write ?since_ms=600000, or ?since=2026-03-01T12:00:00Z; and table=NAME for each table, or none for all";
    problem(StatusCode::BAD_REQUEST, detail, hint)
}
