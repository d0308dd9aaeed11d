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
    flush::replay::{MAX_NAMED, ReplayAsk, ReplayError},
    since::Since,
};

/// The route, for administrators.
pub(super) fn routes() -> Router<Context> {
    Router::new().route("/v1/replay", post(replay))
}

type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

async fn replay(Shared(context): Shared<Context>, parameters: Parameters) -> Result<Response, Problem> {
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
                let millis =
                    value.parse().map_err(|_| bad(format!("since_ms={value} is no number of milliseconds")))?;
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
