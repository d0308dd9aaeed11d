//! `GET /v1/latest` and `GET /v1/watch`: what is asked for is found in memory, or in QuestDB, and streamed.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State as Shared,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Context, Parameters,
    accept::Form,
    openapi::SeriesParameters,
    problem,
    query::{Asked, DEFAULT_WAIT, Scope, Source, Values, cursor},
    render,
};
use crate::{
    control::{
        api::{LatestAnswer, Problem},
        server::App,
        watch::events,
    },
    latest::{Series, Walk},
    lookup::Outcome,
    marks::State,
    observe::log::clip,
    point::Timestamp,
};

/// Where latest values are.
pub(super) const PATH: &str = "/v1/latest";
/// Series rendered before others get their turn.
const PART: usize = 64;
/// Bytes that an answer about one series mostly fits into.
const ROOM: usize = 1 << 10;
/// Most tables whose rows can be waited for until queries show them.
const MAX_AWAITED_TABLES: usize = 64;
/// How often states are looked at while a request waits for one: at first, and at last.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// The routes.
pub(super) fn routes() -> Router<Context> {
    Router::new().route(PATH, get(latest)).route("/v1/watch", get(watch))
}

/// Latest values: one series or many, the newest value of each field by event time.
///
/// 404 when nothing matches (with `since` or `cursor`: an empty list). A series not in memory is looked for in QuestDB when a table is named.
#[utoipa::path(
    get,
    path = "/v1/latest",
    tag = "latest values",
    params(SeriesParameters, Values, Scope),
    responses(
        (status = 200, description = "The series, sorted by table and symbols", content(
            (LatestAnswer = "application/json"),
            (String = "text/csv"),
            (String = "text/plain"),
        )),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "QuestDB was to be asked about a table that is none of forebay's", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No series matches", body = Problem, content_type = "application/problem+json"),
        (status = 406, description = "None of the forms accepted is available", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "QuestDB was to be asked and can't be, or the daemon is busy", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "min_state was not reached in time", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn latest(
    Shared(context): Shared<Context>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    answer(&context.app, &headers, parameters).await
}

/// What [`latest`] answers.
pub(super) async fn answer(app: &Arc<App>, headers: &HeaderMap, parameters: Parameters) -> Result<Response, Problem> {
    let form = Form::asked(headers)?;
    let now = app.clock.now().wall;
    let asked = Asked::read(parameters, app.limits.listed, now)?.listing()?;
    if let Some(response) = only(app, &asked, form, now) {
        return Ok(response);
    }
    let unknown = look_up_first(app, &asked).await?;
    let mut listing = Listing::new(Arc::clone(app), &asked, form);
    let mut first = listing.next_some().await;
    let mut why = unknown;
    if first.is_empty() && asked.scope.source == Source::Any && asked.may_be_elsewhere() {
        why = match look_up(app, &asked).await {
            Outcome::Filled | Outcome::Nothing => None,
            Outcome::Unknown(why) => Some(why),
            Outcome::Foreign => return Err(problem(StatusCode::NOT_FOUND, foreign(&asked), FOREIGN_HINT)),
        };
        listing = Listing::new(Arc::clone(app), &asked, form);
        first = listing.next_some().await;
    }
    if first.is_empty() && asked.scope.since.is_none() && asked.scope.cursor.is_none() {
        return Err(nothing(why));
    }
    if let Some(least) = asked.scope.min_state {
        first.append(&mut listing.rest().await);
        reach(app, &first, least, asked.scope.wait.unwrap_or(DEFAULT_WAIT)).await?;
    }
    Ok(listed(listing, first, form).await)
}

/// The answer about one series that memory has, which is what is asked for most: without the state of a listing under way.
fn only(app: &App, asked: &Asked, form: Form, now: Timestamp) -> Option<Response> {
    if asked.scope != Scope::default() {
        return None;
    }
    let seq = app.latest.seen().0;
    let series = app.latest.only(&asked.filter)?;
    let series = asked.values.of(series, now, app.stale_after)?;
    let mut answer = Vec::with_capacity(ROOM);
    render::begin(form, &mut answer);
    render::some(form, std::iter::once(app.view_at(&series, now)), true, &mut answer);
    render::end(form, false, None, seq, &mut answer);
    Some(([(header::CONTENT_TYPE, form.media_type())], answer).into_response())
}

/// Changes of latest values as server-sent events: `data` is a series as in `/v1/latest`, or an event `cleared` or `missed`.
///
/// Each event has an id; a reader that comes back with `Last-Event-ID` goes on where it was, or is told how many changes it missed.
#[utoipa::path(
    get,
    path = "/v1/watch",
    tag = "latest values",
    params(SeriesParameters, Values, Asked),
    responses(
        (status = 200, description = "Server-sent events, until the client leaves", body = String, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many are watching", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn watch(
    Shared(context): Shared<Context>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let app = &context.app;
    let asked = Asked::read(parameters, app.limits.listed, app.clock.now().wall)?.following()?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let refused = || {
        let detail = format!("{} watchers are served already", app.limits.watchers);
        problem(StatusCode::SERVICE_UNAVAILABLE, detail, "end one, or ask /v1/latest?since=… now and then")
    };
    let Ok(permit) = Arc::clone(&context.watchers).try_acquire_owned() else { return Err(refused()) };
    let watching = events(context.clone(), asked, last, permit).ok_or_else(refused)?;
    Ok(watching.into_response())
}

fn nothing(unknown: Option<String>) -> Problem {
    let detail = match unknown {
        None => "no series matches".to_owned(),
        Some(why) => format!("no series in memory matches, and what the database holds is not known: {why}"),
    };
    problem(StatusCode::NOT_FOUND, detail, "leave out the parameters to see which series there are in memory")
}

impl Asked {
    /// Whether QuestDB may have something that memory lacks: it is not asked where the answer of memory says all.
    fn may_be_elsewhere(&self) -> bool {
        self.filter.table().is_some() && self.scope.since.is_none() && self.scope.cursor.is_none()
    }
}

/// Asks QuestDB before memory where the request says so.
async fn look_up_first(app: &Arc<App>, asked: &Asked) -> Result<Option<String>, Problem> {
    if asked.scope.source != Source::Questdb {
        return Ok(None);
    }
    match look_up(app, asked).await {
        Outcome::Filled | Outcome::Nothing => Ok(None),
        Outcome::Unknown(why) => {
            let hint = "ask again later, or leave source=questdb out for what memory has";
            Err(problem(StatusCode::SERVICE_UNAVAILABLE, format!("QuestDB can't be asked: {why}"), hint))
        }
        Outcome::Foreign => Err(problem(StatusCode::FORBIDDEN, foreign(asked), FOREIGN_HINT)),
    }
}

/// Has the map filled from QuestDB.
async fn look_up(app: &Arc<App>, asked: &Asked) -> Outcome {
    match app.inspect.lookup() {
        Some(lookup) => lookup.ask(&asked.filter).await,
        None => Outcome::Nothing,
    }
}

/// Why QuestDB is not asked about a table.
fn foreign(asked: &Asked) -> String {
    let table = asked.filter.table().unwrap_or_default();
    format!(
        "no series in memory matches, and QuestDB is not asked about {:?}: it is no table of forebay's",
        clip(table)
    )
}

/// What a reader of [`foreign`] may do.
const FOREIGN_HINT: &str =
    "name a table that a source writes, or that the ring has rows of; ask QuestDB itself about others";

/// A listing on its way: what is left of it, and of how many series.
struct Listing {
    app: Arc<App>,
    asked: Asked,
    form: Form,
    walk: Walk,
    left: usize,
    /// See [`LatestAnswer::seq`].
    seq: u64,
    last: Option<Series>,
}

impl Listing {
    fn new(app: Arc<App>, asked: &Asked, form: Form) -> Self {
        let seen = app.latest.seen();
        // A number from the future is one of an earlier ring: everything is new.
        let since = asked.scope.since.filter(|since| *since <= seen);
        let walk = Walk::new(asked.filter.clone(), since, asked.scope.cursor.clone());
        let left = asked.scope.limit.unwrap_or(app.limits.listed);
        Self { app, asked: asked.clone(), form, walk, left, seq: seen.0, last: None }
    }

    /// The next series, at most [`PART`]; none when nothing is left or the limit is reached.
    async fn next_some(&mut self) -> Vec<Series> {
        let found = self.find(self.left.min(PART)).await;
        self.left -= found.len();
        self.last = found.last().cloned().or_else(|| self.last.take());
        found
    }

    async fn find(&mut self, most: usize) -> Vec<Series> {
        let mut found = Vec::new();
        while found.is_empty() && most > 0 && !self.walk.is_over() {
            let now = self.app.clock.now().wall;
            let part = self.app.latest.part(&mut self.walk, most);
            let wanted = part.into_iter().filter_map(|series| self.asked.values.of(series, now, self.app.stale_after));
            found.extend(wanted);
            if !self.walk.is_over() {
                yield_now().await;
            }
        }
        found
    }

    async fn rest(&mut self) -> Vec<Series> {
        let mut rest = Vec::new();
        loop {
            let mut some = self.next_some().await;
            if some.is_empty() {
                return rest;
            }
            rest.append(&mut some);
        }
    }

    fn render(&self, series: &[Series], first: bool, out: &mut Vec<u8>) {
        let now = self.app.clock.now().wall;
        render::some(self.form, series.iter().map(|series| self.app.view_at(series, now)), first, out);
    }

    /// What comes after the last series.
    async fn end(&mut self, out: &mut Vec<u8>) {
        let truncated = !self.find(1).await.is_empty();
        let next = self.last.as_ref().filter(|_| truncated).and_then(|last| cursor(&last.key));
        render::end(self.form, truncated, next.as_deref(), self.seq, out);
    }
}

/// The answer: at once when it is short, else as a stream that is made while it is taken.
async fn listed(mut listing: Listing, first: Vec<Series>, form: Form) -> Response {
    let head = [(header::CONTENT_TYPE, form.media_type())];
    let mut begin = Vec::with_capacity(ROOM);
    render::begin(form, &mut begin);
    listing.render(&first, true, &mut begin);
    let second = listing.next_some().await;
    if second.is_empty() {
        listing.end(&mut begin).await;
        return (head, begin).into_response();
    }
    let state = Some((listing, Some(begin), second));
    let pieces = stream::unfold(state, async |state| {
        let (mut listing, begin, series) = state?;
        let mut piece = begin.unwrap_or_default();
        listing.render(&series, false, &mut piece);
        let next = listing.next_some().await;
        if next.is_empty() {
            listing.end(&mut piece).await;
            return Some((Ok::<_, Infallible>(Bytes::from(piece)), None));
        }
        Some((Ok(Bytes::from(piece)), Some((listing, None, next))))
    });
    (head, Body::from_stream(pieces)).into_response()
}

/// Waits until these values have come so far; what is in QuestDB is shown by its queries then.
async fn reach(app: &Arc<App>, series: &[Series], least: State, wait: Duration) -> Result<(), Problem> {
    let deadline = Instant::now() + wait;
    let mut pause = FIRST_LOOK;
    if least == State::Stored && series.iter().any(|series| app.inspect.state_of(series.seq()) < least) {
        app.inspect.flush_now();
    }
    loop {
        let behind = series.iter().filter(|series| app.inspect.state_of(series.seq()) < least);
        let behind: Vec<&Series> = behind.collect();
        let Some(example) = behind.first() else { break };
        // What QuestDB has refused comes no further.
        let is_refused = |series: &&Series| app.inspect.state_of(series.seq()) == State::Refused;
        let example = behind.iter().copied().find(|series| is_refused(series)).unwrap_or(example);
        if Instant::now() >= deadline || is_refused(&example) {
            let state = app.inspect.state_of(example.seq()).word();
            let detail = format!(
                "{} of {} series are not {} within {} ms; {} is {state}",
                behind.len(),
                series.len(),
                least.word(),
                wait.as_millis(),
                named(example),
            );
            return Err(late(detail));
        }
        sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 2).min(LAST_LOOK);
    }
    if least == State::Stored { shown(app, series, deadline).await } else { Ok(()) }
}

/// QuestDB acknowledges what is in its write-ahead log; a query shows it once that is applied.
async fn shown(app: &Arc<App>, series: &[Series], deadline: Instant) -> Result<(), Problem> {
    let Some(lookup) = app.inspect.lookup() else { return Ok(()) };
    let mut tables: Vec<String> = series.iter().map(|series| series.key.table.to_string()).collect();
    tables.dedup();
    if tables.len() > MAX_AWAITED_TABLES {
        let detail = format!("min_state=stored about {} tables; {MAX_AWAITED_TABLES} at most", tables.len());
        return Err(problem(StatusCode::BAD_REQUEST, detail, "name a table"));
    }
    let left = deadline.saturating_duration_since(Instant::now());
    match timeout_at(deadline, lookup.applied(tables, left)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(late(why)),
        Err(_) => Err(late("QuestDB does not show the rows yet".to_owned())),
    }
}

fn late(detail: String) -> Problem {
    let hint = "wait longer (wait=30s at most), ask for an earlier state, or see forebay status for what holds it up";
    problem(StatusCode::GATEWAY_TIMEOUT, detail, hint)
}

fn named(series: &Series) -> String {
    let symbols: Vec<String> = series.key.symbols.iter().map(|(name, value)| format!("{name}={value}")).collect();
    clip(&format!("{} {}", series.key.table, symbols.join(" "))).to_string()
}
