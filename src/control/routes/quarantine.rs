//! The quarantine: listed, shown, put back, dropped. Payloads may be confidential, so none of this is served over TCP.

use axum::{
    Json, Router,
    extract::{Query, State as Shared},
    http::StatusCode,
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Context, Parameters, admin::admin_only, problem};
use crate::{
    control::api::{Problem, QuarantineAccess},
    flush::{
        quarantine::{self, Cursor, Id, Selection, view},
        requeue::{self, RequeueError},
    },
};

/// Requests about the quarantine worked on at a time; they read files and wait for QuestDB.
const MAX_AT_WORK: usize = 2;
static AT_WORK: Semaphore = Semaphore::const_new(MAX_AT_WORK);

/// The routes that read; for whoever may use the socket.
pub(super) fn reading() -> Router<Context> {
    Router::new().route("/v1/quarantine", get(list)).route("/v1/quarantine/entry", get(entry))
}

/// The routes that change something.
pub(super) fn administering() -> Router<Context> {
    Router::new()
        .route("/v1/quarantine/requeue", post(put_back))
        .route("/v1/quarantine/drop", post(discard))
        .route_layer(from_fn(admin_only))
}

async fn list(Shared(context): Shared<Context>, parameters: Parameters) -> Response {
    at_work(&context, parameters, |access, asked| {
        let ask = view::Ask {
            selection: asked.selection,
            order: asked.order.unwrap_or_default(),
            form: asked.form.unwrap_or_default(),
            limit: asked.limit,
            cursor: asked.cursor,
            summary: asked.summary,
        };
        let mut page = access.quarantine.snapshot().and_then(|snapshot| view::page(&snapshot, &ask)).map_err(unread)?;
        if let Some(summary) = &mut page.summary {
            summary.size_bytes = Some(access.quarantine.size_bytes());
            summary.pushed_out = Some(access.quarantine.status().pushed_out);
        }
        Ok(page)
    })
    .await
}

async fn entry(Shared(context): Shared<Context>, parameters: Parameters) -> Response {
    at_work(&context, parameters, |access, asked| {
        let id: Id = match asked.selection.ids.iter().copied().collect::<Vec<_>>()[..] {
            [id] => id,
            _ => return Err(bad_query("name one entry: ?id=ID")),
        };
        let found = access.quarantine.snapshot().and_then(|snapshot| snapshot.find(id)).map_err(unread)?;
        let found = found.ok_or_else(|| {
            let hint = "forebay quarantine ls shows what there is; it may have been pushed out, requeued or dropped";
            problem(StatusCode::NOT_FOUND, format!("entry {id} is not in the quarantine"), hint)
        })?;
        Ok(view::show(&found.entry(), view::Form::Whole))
    })
    .await
}

async fn put_back(Shared(context): Shared<Context>, parameters: Parameters) -> Response {
    at_work(&context, parameters, |access, asked| {
        asked.must_mean_something()?;
        let ask = requeue::Ask {
            selection: asked.selection,
            before: asked.cursor,
            limit: asked.limit,
            drop_superseded: asked.drop_superseded,
        };
        access.requeue.run(&ask).map_err(|error| match error {
            RequeueError::Busy => busy(error.to_string()),
            RequeueError::Quarantine(_) | RequeueError::Ring(_) => {
                problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "forebay status and the log tell more")
            }
        })
    })
    .await
}

async fn discard(Shared(context): Shared<Context>, parameters: Parameters) -> Response {
    at_work(&context, parameters, |access, asked| {
        asked.must_mean_something()?;
        let quarantine = access.quarantine;
        let discarded = quarantine.snapshot().and_then(|snapshot| {
            quarantine::discard(&snapshot, &asked.selection, asked.cursor, &mut |named| quarantine.take_out(named))
        });
        discarded.map_err(unread)
    })
    .await
}

/// Works on a request where it may block, while not too many others do.
async fn at_work<T: Serialize + Send + 'static>(
    context: &Context,
    parameters: Parameters,
    work: impl FnOnce(QuarantineAccess, Asked) -> Result<T, Problem> + Send + 'static,
) -> Response {
    let asked = match Asked::read(parameters) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let Ok(_permit) = AT_WORK.try_acquire() else {
        return busy(format!("{MAX_AT_WORK} requests about the quarantine are worked on already")).into_response();
    };
    let Some(access) = context.app.inspect.quarantine() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "there is no quarantine yet", "try again in a moment")
            .into_response();
    };
    match spawn_blocking(move || work(access, asked)).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(problem)) => problem.into_response(),
        Err(why) => problem(StatusCode::INTERNAL_SERVER_ERROR, why.to_string(), "see the log").into_response(),
    }
}

fn busy(detail: String) -> Problem {
    problem(StatusCode::SERVICE_UNAVAILABLE, detail, "try again in a moment")
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn unread(error: std::io::Error) -> Problem {
    let detail = format!("cannot read or write the quarantine: {error}");
    problem(StatusCode::INTERNAL_SERVER_ERROR, detail, "check the files of [quarantine] path and their disk")
}

fn bad_query(detail: impl Into<String>) -> Problem {
    let hint =
        "parameters: id, kind, table, topic, reason, since; limit, cursor, order, form, summary; all, drop_superseded";
    problem(StatusCode::BAD_REQUEST, detail, hint)
}

/// A request's parameters.
#[derive(Debug, Default)]
struct Asked {
    selection: Selection,
    order: Option<view::Order>,
    form: Option<view::Form>,
    limit: Option<usize>,
    cursor: Option<Cursor>,
    summary: bool,
    all: bool,
    drop_superseded: bool,
}

impl Asked {
    fn read(parameters: Parameters) -> Result<Self, Problem> {
        let Query(parameters) = parameters.map_err(|why| bad_query(why.body_text()))?;
        let mut asked = Self::default();
        for (name, value) in parameters {
            asked.take(&name, &value).map_err(bad_query)?;
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "order" => self.order = Some(value.parse()?),
            "form" => self.form = Some(value.parse()?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=view::MAX_PAGE_ENTRIES).contains(limit));
                let most = view::MAX_PAGE_ENTRIES;
                self.limit = Some(limit.ok_or_else(|| format!("limit={value} is no number from 1 to {most}"))?);
            }
            "cursor" => self.cursor = Some(value.parse().map_err(|why: quarantine::PlaceError| why.to_string())?),
            "summary" => self.summary = flag(name, value)?,
            "all" => self.all = flag(name, value)?,
            "drop_superseded" => self.drop_superseded = flag(name, value)?,
            _ if self.selection.set(name, value)? => {}
            _ => return Err(format!("there is no parameter {name:?}")),
        }
        Ok(())
    }

    /// Every entry is meant only where that is said.
    fn must_mean_something(&self) -> Result<(), Problem> {
        match (self.selection.is_all(), self.all) {
            (true, false) => Err(bad_query("name entries by id or by conditions, or say all=true")),
            (false, true) => Err(bad_query("all=true together with ids or conditions means two things")),
            _ => Ok(()),
        }
    }
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{name}={value} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(terms: &[(&str, &str)]) -> Result<Asked, String> {
        let mut asked = Asked::default();
        terms.iter().try_for_each(|(name, value)| asked.take(name, value)).map(|()| asked)
    }

    #[test]
    fn parameters_are_read_and_what_is_none_is_refused() {
        let good =
            asked(&[("table", "t"), ("limit", "1000"), ("cursor", "2-16"), ("form", "line"), ("order", "oldest")]);
        let good = good.unwrap();
        assert_eq!(
            (good.limit, good.form, good.order),
            (Some(1_000), Some(view::Form::Line), Some(view::Order::Oldest))
        );
        for wrong in
            [("limit", "0"), ("limit", "1001"), ("cursor", "x"), ("cursor", "1-3"), ("all", "1"), ("tabel", "t")]
        {
            assert!(asked(&[wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn everything_is_meant_only_where_that_is_said() {
        assert!(asked(&[]).unwrap().must_mean_something().is_err());
        assert!(asked(&[("all", "true")]).unwrap().must_mean_something().is_ok());
        assert!(asked(&[("table", "t")]).unwrap().must_mean_something().is_ok());
        assert!(asked(&[("table", "t"), ("all", "true")]).unwrap().must_mean_something().is_err());
    }
}
