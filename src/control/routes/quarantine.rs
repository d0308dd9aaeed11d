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
use utoipa::IntoParams;

use super::{Context, Parameters, admin::admin_only, problem};
use crate::{
    control::api::{Problem, QuarantineAccess},
    flush::quarantine::{self, Cursor, Id, Selection, view},
    requeue::{self, RequeueError},
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

/// What was set aside: rows that could not be stored and messages that could not be decoded, and why.
#[utoipa::path(get, path = "/v1/quarantine", tag = "quarantine", params(Selection, Showing, Paging, Following), responses(
    (status = 200, description = "A page of them", body = view::Page, content_type = "application/json"),
))]
pub(super) async fn list(Shared(context): Shared<Context>, parameters: Parameters) -> Response {
    at_work(&context, parameters, LISTING, |access, asked| {
        let ask = view::Ask {
            selection: asked.selection,
            order: asked.showing.order.unwrap_or_default(),
            form: asked.showing.form.unwrap_or_default(),
            limit: asked.paging.limit,
            cursor: asked.following.cursor,
            summary: asked.showing.summary,
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

/// One entry whole.
#[utoipa::path(get, path = "/v1/quarantine/entry", tag = "quarantine", params(("id" = String, Query, description = "Its id", example = "1234-0-9f86d081")), responses(
    (status = 200, description = "The row, or the message with its payload; the same members as in a page of the form `whole`", body = BTreeMap<String, serde_json::Value>, content_type = "application/json"),
    (status = 404, description = "It is not in the quarantine", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn entry(Shared(context): Shared<Context>, parameters: Parameters) -> Response {
    at_work(&context, parameters, &[], |access, asked| {
        let ids: Vec<Id> = asked.selection.ids.iter().copied().collect();
        let [id] = ids[..] else { return Err(bad_query("name one entry: ?id=ID")) };
        let found = access.quarantine.snapshot().and_then(|snapshot| snapshot.find(id)).map_err(unread)?;
        let found = found.ok_or_else(|| {
            let hint = "forebay quarantine ls shows what there is; it may have been pushed out, requeued or dropped";
            problem(StatusCode::NOT_FOUND, format!("entry {id} is not in the quarantine"), hint)
        })?;
        Ok(view::show(&found.entry(), view::Form::Whole))
    })
    .await
}

/// Puts entries back into the ring, the newest first, once what was wrong with them is mended.
///
/// One where a newer row of its table, time and symbols is known stays.
#[utoipa::path(post, path = "/v1/quarantine/requeue", tag = "administration", params(Selection, Paging, Following, Changing, Superseded), responses(
    (status = 200, description = "What became of the entries", body = requeue::Report, content_type = "application/json"),
))]
pub(super) async fn put_back(Shared(context): Shared<Context>, parameters: Parameters) -> Response {
    at_work(&context, parameters, PUTTING_BACK, |access, asked| {
        asked.must_mean_something()?;
        let ask = requeue::Ask {
            selection: asked.selection,
            before: asked.following.cursor,
            limit: asked.paging.limit,
            drop_superseded: asked.superseded.drop_superseded,
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

/// Drops entries for good, the newest first, at most 10,000 a request.
#[utoipa::path(post, path = "/v1/quarantine/drop", tag = "administration", params(Selection, Following, Changing), responses(
    (status = 200, description = "What was taken out", body = quarantine::Discarded, content_type = "application/json"),
))]
pub(super) async fn discard(Shared(context): Shared<Context>, parameters: Parameters) -> Response {
    at_work(&context, parameters, DROPPING, |access, asked| {
        asked.must_mean_something()?;
        let quarantine = access.quarantine;
        let discarded = quarantine.snapshot().and_then(|snapshot| {
            quarantine::discard(&snapshot, &asked.selection, asked.following.cursor, &mut |named| {
                quarantine.take_out(named)
            })
        });
        discarded.map_err(unread)
    })
    .await
}

/// Works on a request where it may block, while not too many others do.
async fn at_work<T: Serialize + Send + 'static>(
    context: &Context,
    parameters: Parameters,
    takes: &[&str],
    work: impl FnOnce(QuarantineAccess, Asked) -> Result<T, Problem> + Send + 'static,
) -> Response {
    let asked = match Asked::read(parameters, takes) {
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

/// The parameters that are no conditions, and who takes which of them.
const OTHERS: &[&str] = &["order", "form", "limit", "cursor", "summary", "all", "drop_superseded"];
const LISTING: &[&str] = &["order", "form", "limit", "cursor", "summary"];
const PUTTING_BACK: &[&str] = &["limit", "cursor", "all", "drop_superseded"];
const DROPPING: &[&str] = &["cursor", "all"];

/// A request's parameters. The comments of the members of its parts are what `/v1/openapi.json` says of them.
#[derive(Debug, Default)]
struct Asked {
    selection: Selection,
    showing: Showing,
    paging: Paging,
    following: Following,
    changing: Changing,
    superseded: Superseded,
}

#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
struct Showing {
    /// Which entries come first; the newest unless said.
    #[param(inline)]
    order: Option<view::Order>,
    /// `brief`: all but what they hold. `whole`: that too. `line`: rows as line protocol, under `line`.
    #[param(inline)]
    form: Option<view::Form>,
    /// Counts of all entries meant as well.
    #[param(required = false)]
    summary: bool,
}

#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// Most entries.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
struct Following {
    /// Where to go on: the `cursor` of an earlier answer.
    #[param(value_type = Option<String>, example = "1-16")]
    cursor: Option<Cursor>,
}

#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
struct Changing {
    /// `true`: every entry is meant. To be said where no id and no condition is given.
    #[param(required = false)]
    all: bool,
}

#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
struct Superseded {
    /// Entries of which newer rows are known are dropped.
    #[param(required = false)]
    drop_superseded: bool,
}

impl Asked {
    /// Reads parameters: conditions, and of the others those that the route takes.
    fn read(parameters: Parameters, takes: &[&str]) -> Result<Self, Problem> {
        let Query(parameters) = parameters.map_err(|why| bad_query(why.body_text()))?;
        let mut asked = Self::default();
        for (name, value) in parameters {
            if OTHERS.contains(&name.as_str()) && !takes.contains(&name.as_str()) {
                return Err(bad_query(format!("{name:?} means nothing here")));
            }
            asked.take(&name, &value).map_err(bad_query)?;
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "order" => self.showing.order = Some(value.parse()?),
            "form" => self.showing.form = Some(value.parse()?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=view::MAX_PAGE_ENTRIES).contains(limit));
                let most = view::MAX_PAGE_ENTRIES;
                self.paging.limit = Some(limit.ok_or_else(|| format!("limit={value} is no number from 1 to {most}"))?);
            }
            "cursor" => {
                self.following.cursor = Some(value.parse().map_err(|why: quarantine::PlaceError| why.to_string())?);
            }
            "summary" => self.showing.summary = flag(name, value)?,
            "all" => self.changing.all = flag(name, value)?,
            "drop_superseded" => self.superseded.drop_superseded = flag(name, value)?,
            _ if self.selection.set(name, value)? => {}
            _ => return Err(format!("there is no parameter {name:?}")),
        }
        Ok(())
    }

    /// Every entry is meant only where that is said.
    fn must_mean_something(&self) -> Result<(), Problem> {
        match (self.selection.is_all(), self.changing.all) {
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
            (good.paging.limit, good.showing.form, good.showing.order),
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
    /// A route takes the parameters that the document says it takes, and refuses the others.
    #[test]
    fn each_route_takes_what_is_described() {
        let document = serde_json::to_value(super::super::openapi::described()).unwrap();
        for (path, method, takes) in [
            ("/v1/quarantine", "get", LISTING),
            ("/v1/quarantine/requeue", "post", PUTTING_BACK),
            ("/v1/quarantine/drop", "post", DROPPING),
        ] {
            let described = document["paths"][path][method]["parameters"].as_array().unwrap();
            let described: Vec<&str> = described.iter().map(|one| one["name"].as_str().unwrap()).collect();
            for name in ["id", "kind", "table", "topic", "reason", "since"].iter().chain(takes) {
                assert!(described.contains(name), "{path} lacks {name}");
            }
            assert_eq!(described.len(), 6 + takes.len(), "{path}: {described:?}");
        }
        let read = |takes| Asked::read(Ok(Query(vec![("limit".to_owned(), "5".to_owned())])), takes);
        assert!(read(LISTING).is_ok());
        assert!(read(DROPPING).unwrap_err().detail.contains("limit"));
    }
}
