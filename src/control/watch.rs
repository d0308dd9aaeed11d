//! `GET /v1/watch`: changes as server-sent events (WHATWG HTML, section 9.2).

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::sse;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::{routes::Context, server::stopped};
use crate::latest::{Event, Filter, Series, Subscription};

/// Comment lines show a quiet watcher that the daemon lives, and the daemon that the watcher does.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Watch {
    context: Context,
    filter: Filter,
    changes: Subscription,
    /// What the series hold after updates were missed, still to be told.
    resync: VecDeque<Series>,
    _permit: OwnedSemaphorePermit,
}

/// The events of the series that match: one an update; after missed ones `event: missed` and then what the series hold now.
pub(super) fn events(
    context: Context,
    filter: Filter,
    permit: OwnedSemaphorePermit,
) -> sse::Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let changes = context.app.latest.subscribe();
    let watch = Watch { context, filter, changes, resync: VecDeque::new(), _permit: permit };
    let events = stream::unfold(watch, async |mut watch| Some((Ok(watch.next().await?), watch)));
    sse::Sse::new(events).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE))
}

impl Watch {
    async fn next(&mut self) -> Option<sse::Event> {
        if let Some(series) = self.resync.pop_front() {
            return self.tell(&series);
        }
        loop {
            let event = tokio::select! {
                event = self.changes.next() => event?,
                () = stopped(&mut self.context.stop) => return None,
            };
            match event {
                Event::Changed(series) if self.filter.matches(&series.key) => return self.tell(&series),
                Event::Changed(_) => {}
                Event::Missed(count) => {
                    let app = &self.context.app;
                    self.resync = app.latest.list(&self.filter, app.limits.listed).series.into();
                    return Some(sse::Event::default().event("missed").data(json!({ "missed": count }).to_string()));
                }
            }
        }
    }

    fn tell(&self, series: &Series) -> Option<sse::Event> {
        sse::Event::default().json_data(self.context.app.view(series)).ok()
    }
}
