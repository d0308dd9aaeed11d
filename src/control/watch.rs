//! `GET /v1/watch`: changes as server-sent events (WHATWG HTML, section 9.2).

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::sse;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::{sync::OwnedSemaphorePermit, task::yield_now};

use super::{
    routes::{Asked, Context},
    server::stopped,
};
use crate::latest::{Change, Event, Key, Series, Subscription, Walk};

/// Comment lines show a quiet watcher that the daemon lives, and the daemon that the watcher does.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Series taken from a listing at a time.
const PART: usize = 64;

struct Watch {
    context: Context,
    asked: Asked,
    changes: Subscription,
    /// A listing under way of what the series hold, after changes were missed or at the beginning.
    resync: Option<Walk>,
    /// What of it is still to be told.
    listed: VecDeque<Series>,
    _permit: OwnedSemaphorePermit,
}

/// The events of the series that match: one a change; after missed ones `event: missed` and then what the series hold now. None when
/// too many watch already.
pub(super) fn events(
    context: Context,
    asked: Asked,
    last_id: Option<&str>,
    permit: OwnedSemaphorePermit,
) -> Option<sse::Sse<impl Stream<Item = Result<sse::Event, Infallible>> + use<>>> {
    let latest = &context.app.latest;
    let resumed = last_id.and_then(|id| latest.read_event_id(id));
    let changes = latest.subscribe(resumed.map(|number| number + 1))?;
    // One that comes back and whose place is not known any more has missed no one knows what.
    let lost = last_id.is_some() && resumed.is_none();
    let resync = (lost || asked.snapshot && resumed.is_none()).then(|| Walk::new(asked.filter.clone(), None, None));
    let watch = Watch { context, asked, changes, resync, listed: VecDeque::new(), _permit: permit };
    let begin = lost.then(|| missed(None));
    let events = stream::unfold((watch, begin), async |(mut watch, begin)| {
        let event = match begin {
            Some(event) => event,
            None => watch.next().await?,
        };
        Some((Ok(event), (watch, None)))
    });
    Some(sse::Sse::new(events).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Says that so many changes went by; without a number where nobody knows how many.
fn missed(count: Option<u64>) -> sse::Event {
    sse::Event::default().event("missed").data(json!({ "missed": count }).to_string())
}

impl Watch {
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.next_listed().await {
                return Some(event);
            }
            let event = tokio::select! {
                event = self.changes.next() => event,
                () = stopped(&mut self.context.stop) => return None,
            };
            match event {
                Event::Changed(number, change) => {
                    if let Some(event) = self.change(change) {
                        return Some(event.id(self.context.app.latest.event_id(number)));
                    }
                }
                Event::Missed(count) => {
                    self.resync = Some(Walk::new(self.asked.filter.clone(), None, None));
                    return Some(missed(Some(count)));
                }
            }
        }
    }

    /// The next series of a listing under way. The last has the id of the change before the next one.
    async fn next_listed(&mut self) -> Option<sse::Event> {
        while self.listed.is_empty()
            && let Some(walk) = &mut self.resync
        {
            self.listed.extend(self.context.app.latest.part(walk, PART));
            if walk.is_over() {
                self.resync = None;
            }
            yield_now().await;
        }
        while let Some(series) = self.listed.pop_front() {
            if let Some(event) = self.values(series, false) {
                let is_last = self.listed.is_empty() && self.resync.is_none();
                let before = self.changes.next_number().checked_sub(1).filter(|_| is_last);
                return Some(match before {
                    Some(number) => event.id(self.context.app.latest.event_id(number)),
                    None => event,
                });
            }
        }
        None
    }

    fn change(&self, change: Change) -> Option<sse::Event> {
        if !self.asked.filter.matches(change.key()) {
            return None;
        }
        match change {
            Change::Values(series) => self.values(series, true),
            Change::Cleared(key) => Some(cleared(&key)),
        }
    }

    /// The series with the wanted values; of a change only when it is about one of them.
    fn values(&self, series: Series, changed: bool) -> Option<sse::Event> {
        let app = &self.context.app;
        let seq = series.seq();
        let wanted = self.asked.values.of(series, app.clock.now().wall, app.stale_after)?;
        if changed && wanted.seq() < seq {
            return None;
        }
        sse::Event::default().json_data(app.view(&wanted)).ok()
    }
}

fn cleared(key: &Key) -> sse::Event {
    let symbols: serde_json::Map<String, serde_json::Value> =
        key.symbols.iter().map(|(name, value)| (name.to_string(), value.as_str().into())).collect();
    sse::Event::default().event("cleared").data(json!({ "table": key.table, "symbols": symbols }).to_string())
}
