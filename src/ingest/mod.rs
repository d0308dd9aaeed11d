//! The way in of messages from the broker: route, decode, enter. `enter` is the one way in for rows, whoever brings them.

pub mod ack_queue;
pub mod again;
mod enter;
pub mod filters;
mod gate;
mod held;
mod intake;
mod message;
pub mod preview;
mod quota;
mod replaced;
pub mod restore;
mod routes;
mod seen;
mod status;
pub mod write;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Notify;

use self::{
    enter::Aside,
    enter::{Door, LETTER_PAYLOAD_BYTES, Message, Refusal, Shown},
    gate::Gate,
    message::{Workbench, too_large},
    quota::Quota,
    replaced::Replaced,
    routes::{Prepared, Route, Routes},
};
pub use self::{
    held::{Came, Released},
    intake::{Incoming, Intake, Offer},
    replaced::ReplacedStatus,
    routes::{NO_SOURCE, NoRoute},
    status::SourceStatus,
    write::WriteStatus,
};
use crate::{
    clock::{BootId, Clock, ClockTrust, SystemClock, boot_id},
    decode::{Decoder, DecoderError, Faults, Payload},
    entry::{self, DeadLetter},
    latest::{Collisions, Latest},
    limits::{Allowance, LeftOut, LimitStatus, Owner, WRITE},
    marks::Pos,
    observe::log::clip,
    point::{Received, Row, Text, Timestamp},
    ring::{AppendError, Kind, Part, Ring},
    settings::{OnBadMember, OnFull, Retained, Settings, Source},
    sync::lock,
    tally::{Counter, Counts, SourceId, Tally},
};

/// Under which name refused dead letters and clears are counted, which belong to no table.
const NO_TABLE: &str = "(no table)";

/// The way in.
pub struct Ingest {
    ring: Ring,
    latest: Arc<Latest>,
    trust: ClockTrust,
    max_future: Duration,
    max_past: Timestamp,
    boot: BootId,
    max_payload: usize,
    /// What a message from the broker is worked on with. Whoever else holds it has the session wait.
    work: Mutex<Work>,
    gate: Gate,
    /// How many columns and tables may come of it.
    allowance: Arc<Allowance>,
    writes: write::WriteCounts,
    write_quota: Mutex<Quota>,
    replaced: Replaced,
    /// The number of what comes in as line protocol.
    write_source: SourceId,
}

/// Decoders of sources, in the order of their names; the error is the first mistake.
pub fn decoders(sources: &BTreeMap<String, Source>) -> Result<Vec<Decoder>, DecoderError> {
    sources.iter().map(|(name, source)| Decoder::new(name, source)).collect()
}

struct Work {
    routes: Routes,
    bench: Workbench,
    quota: Quota,
}

impl Ingest {
    /// A way in for the configured sources.
    pub fn new(settings: &Settings, ring: Ring, latest: Arc<Latest>, trust: ClockTrust) -> Result<Self, DecoderError> {
        let allowance = Arc::new(Allowance::new(&settings.limits, settings.source.iter()));
        Self::with_allowance(settings, ring, latest, trust, allowance)
    }

    /// The same with limits that others know of, too: those that fill them from the ring and from
    /// the database.
    pub fn with_allowance(
        settings: &Settings,
        ring: Ring,
        latest: Arc<Latest>,
        trust: ClockTrust,
        allowance: Arc<Allowance>,
    ) -> Result<Self, DecoderError> {
        let decoders = decoders(&settings.source)?;
        let ingest = Self {
            ring,
            latest,
            trust,
            max_future: settings.latest.max_future,
            max_past: settings.latest.max_past,
            boot: boot_id(),
            max_payload: usize::try_from(settings.mqtt.max_payload.0).unwrap_or(usize::MAX),
            work: Mutex::new(Work { routes: Routes::new([]), bench: Workbench::default(), quota: Quota::default() }),
            gate: Gate::default(),
            allowance,
            writes: write::WriteCounts::default(),
            write_quota: Mutex::default(),
            replaced: Replaced::default(),
            write_source: SourceId::NONE,
        };
        Ok(ingest.serving(decoders))
    }

    /// Serves the sources of a start.
    fn serving(mut self, decoders: Vec<Decoder>) -> Self {
        let prepared = self.prepare(decoders, &|_| false);
        self.write_source = self.ring.register_sources(&[WRITE]).pop().unwrap_or_default();
        self.replaced.name_sources(std::iter::once((self.write_source, WRITE.to_owned())));
        lock(&self.work).routes = Routes::new(prepared);
        self
    }

    /// Puts other sources and limits in force, between one message and the next: a message is taken
    /// by the earlier ones or by these, as a whole. What has been taken keeps what it became.
    /// `is_unchanged` says of a source's name whether it is what it was.
    pub fn reconfigure(&self, decoders: Vec<Decoder>, settings: &Settings, is_unchanged: &dyn Fn(&str) -> bool) {
        let mut work = lock(&self.work);
        self.allowance.reconfigure(&settings.limits, settings.source.iter());
        let prepared = self.prepare(decoders, is_unchanged);
        work.routes.replace(prepared, SystemClock.since_boot());
    }

    /// Gives sources their numbers.
    fn prepare(&self, decoders: Vec<Decoder>, is_unchanged: &dyn Fn(&str) -> bool) -> Vec<Prepared> {
        let names: Vec<&str> = decoders.iter().map(Decoder::name).chain([WRITE]).collect();
        let ids = self.ring.register_sources(&names);
        self.replaced.name_sources(ids.iter().copied().zip(names.iter().map(|name| (*name).to_owned())));
        let numbers = ids.into_iter().zip(self.allowance.sources());
        let prepare = |(decoder, (id, owner)): (Decoder, (SourceId, Owner))| Prepared {
            id,
            owner,
            is_unchanged: is_unchanged(decoder.name()),
            decoder,
        };
        decoders.into_iter().zip(numbers).map(prepare).collect()
    }

    /// Whether the wall clock is set and may judge the times that devices tell. The map of latest
    /// values learns from it which times to believe.
    pub fn trusts_clock(&self, now: Received) -> bool {
        let trusted = self.holds(now).is_none() && self.trust.is_trusted(now);
        if trusted {
            self.latest.believe_upto(now.wall + self.max_future);
        }
        trusted
    }

    /// The present boot, where its clock is not set.
    fn holds(&self, received: Received) -> Option<BootId> {
        (received.wall < self.max_past).then_some(self.boot)
    }

    /// Whether the clock had been found to be right by the last look.
    pub fn has_trusted_clock(&self) -> bool {
        self.trust.is_gained()
    }

    /// Rows that took the place of others since start.
    pub fn replaced(&self) -> Vec<ReplacedStatus> {
        self.replaced.status()
    }

    /// The latest time that a reading may tell which is received then.
    fn latest_time(&self, received: Received) -> Timestamp {
        // Times that no timestamp can hold are set aside whatever the clock says.
        const LAST: i64 = i64::MAX - 1;
        let ahead = (received.wall + self.max_future).0.min(LAST);
        Timestamp(if self.trusts_clock(received) { ahead } else { LAST })
    }

    /// What the limits have left out so far.
    pub fn limits(&self) -> Vec<LimitStatus> {
        self.allowance.status()
    }

    /// What has come in so far, by source.
    pub fn status(&self) -> Vec<SourceStatus> {
        lock(&self.work).routes.status(SystemClock.since_boot())
    }

    /// Routes, decodes and makes ready for the ring; what fails on the way becomes a dead letter.
    fn take(&self, work: &mut Work, message: Incoming<'_>) -> Offer {
        let Work { routes, bench, quota } = work;
        bench.clear();
        if let Some(fault) = message.fault {
            let route = routes.find(message.topic).ok();
            return self.dead_letter(bench, route.as_ref(), message, fault, routes);
        }
        let route = match routes.find(message.topic) {
            Ok(route) => route,
            Err(NoRoute::Dropped(source)) => return self.drop(source, message, routes),
            Err(reason) => {
                let counted = (reason == NoRoute::Unmatched).then_some(Counter::Unmatched);
                return self.set_aside(bench, None, message, &reason.to_string(), counted, routes);
            }
        };
        let bytes = message.payload.len() + message.cut_bytes;
        if bytes > self.max_payload {
            return self.dead_letter(bench, Some(&route), message, &too_large(bytes, self.max_payload), routes);
        }
        if message.payload.is_empty() {
            // An empty payload deletes a retained message (MQTT 5, 3.3.1.3); it says that the series has no value any more.
            return self.clear(bench, &route, message, routes);
        }
        let payload = Payload { topic: &route.resolved, bytes: message.payload, properties: message.user_properties };
        if let Err(error) = bench.decode(routes.decoder_mut(&route), &payload) {
            return self.dead_letter(bench, Some(&route), message, &error, routes);
        }
        bench.judge_times(self.max_past, self.latest_time(message.received), message.received.wall);
        let retained = routes.decoder(&route).retained();
        let left_out = if message.retain { bench.leave_out_retained(retained) } else { Vec::new() };
        let (source, now) = (route.owner, Duration::from_nanos(message.received.since_boot_ns));
        let faults = std::mem::take(&mut bench.of.faults);
        if faults.is_empty() {
            routes.look(&route, &bench.of.rows);
        }
        let is_set_aside_whole = bench.of.rows.is_empty()
            || routes.decoder(&route).on_bad_member() == OnBadMember::Message && !faults.is_empty();
        let offer = if bench.of.rows.is_empty() && faults.is_empty() {
            let counter = if left_out.is_empty() { Counter::Empty } else { Counter::Retained };
            self.note(&route, message, counter, routes)
        } else if is_set_aside_whole && !bench.of.rows.is_empty() {
            self.dead_letter(bench, Some(&route), message, &faults.reason(), routes)
        } else {
            let keeps = !faults.is_empty() && quota.keeps(source, &faults, now);
            match (bench.of.rows.is_empty(), keeps) {
                (true, true) => self.dead_letter(bench, Some(&route), message, &faults.reason(), routes),
                // It is like a hundred others of today, which are kept.
                (true, false) => {
                    routes.count(&route, message.received, 0);
                    Offer::Accepted(Pos(0))
                }
                (false, _) => self.enter_rows(bench, &route, message, keeps.then_some(&faults), routes),
            }
        };
        let is_taken = matches!(offer, Offer::Accepted(_) | Offer::Noted(_));
        let is_kept = faults.is_empty() || !is_set_aside_whole;
        if is_taken && is_kept && retained == Retained::Latest {
            self.fill_latest(&route, &bench.of.tables, left_out, message.received);
        }
        if is_taken && !faults.is_empty() {
            quota.note(source, &faults, now);
            if routes.count_bad_members(&route, faults.count()) && !is_set_aside_whole {
                let (topic, reason) = (clip(message.topic), faults.reason());
                let reason = clip(&reason);
                tracing::warn!(%topic, %reason, "a part of a message on {topic} is left out, and the rest stored: {reason}");
            }
        }
        offer
    }

    /// Makes rows of a message that the broker had kept, and that tell no time, the latest values
    /// without storing them.
    fn fill_latest(&self, route: &Route, tables: &[Text], mut rows: Vec<Row>, received: Received) {
        for row in &mut rows {
            row.time = Some(received.wall);
            self.latest.fill(Workbench::table_of(tables, row, &route.resolved.table), row);
        }
    }

    /// Counts a message that the source of that number leaves out, though its filters bring it.
    fn drop(&self, source: usize, message: Incoming<'_>, routes: &mut Routes) -> Offer {
        let id = routes.id(source);
        match self.ring.note(Tally { source: id, counts: Counts::one(Counter::Unmatched) }) {
            Ok(number) => {
                routes.count_dropped(source, message.received);
                Offer::Noted(number)
            }
            Err(error) => self.not_appended(error, NO_TABLE, 0),
        }
    }

    /// Counts a message that leaves no record.
    fn note(&self, route: &Route, message: Incoming<'_>, counter: Counter, routes: &mut Routes) -> Offer {
        match self.ring.note(Tally { source: route.id, counts: Counts::one(counter) }) {
            Ok(number) => {
                routes.count(route, message.received, 0);
                Offer::Noted(number)
            }
            Err(error) => self.not_appended(error, NO_TABLE, 0),
        }
    }

    /// Has a message's rows enter, and with them a dead letter about what was left out of them.
    fn enter_rows(
        &self,
        bench: &mut Workbench,
        route: &Route,
        message: Incoming<'_>,
        faults: Option<&Faults>,
        routes: &mut Routes,
    ) -> Offer {
        let mut of = faults.cloned().unwrap_or_default();
        bench.part(&route.resolved.table, route.table_hash, &mut of);
        let untimed = bench.first_faulty_untimed(&of);
        let mut entering = Message {
            door: Door::Mqtt,
            source: route.id,
            tables: &mut bench.tables,
            owner: route.owner,
            received: message.received,
            shown: Shown { topic: message.topic, payload: message.payload, most_bytes: LETTER_PAYLOAD_BYTES },
            left_out: LeftOut::default(),
            aside: faults.map(|faults| Aside { reason: faults.reason(), untimed, lines: None }),
            collisions: Collisions::default(),
            max_bytes: u64::MAX,
            encoded: &mut bench.encoded,
        };
        let brought = entering.rows() as u64;
        let entered = self.enter(&mut entering);
        let rows = bench.tables.iter().map(|of| of.rows.len() as u64).sum();
        let reason = match entered {
            Ok(entered) => {
                routes.count(route, message.received, rows);
                (0..entered.letters).for_each(|_| routes.count_letter(route));
                return Offer::Accepted(self.ring.ack_position(&entered.appended));
            }
            Err(Refusal::Unfit(error)) => error.to_string(),
            Err(Refusal::Ring { error: error @ AppendError::TooLarge { .. }, .. }) => error.to_string(),
            Err(Refusal::Ring { error, .. }) => {
                let table = bench.tables.first().map_or("", |of| of.table.as_str());
                return self.not_appended(error, table, brought);
            }
            Err(refusal @ (Refusal::Closed | Refusal::Superseded | Refusal::Limited(_) | Refusal::TooLarge { .. })) => {
                return Offer::Failed(format!("a message from the broker was refused for {refusal:?}"));
            }
        };
        self.dead_letter(bench, Some(route), message, &reason, routes)
    }

    fn clear(&self, bench: &mut Workbench, route: &Route, message: Incoming<'_>, routes: &mut Routes) -> Offer {
        let resolved = &route.resolved;
        if resolved.table.is_empty() {
            // Only its rows would tell of which tables it is.
            return self.note(route, message, Counter::Empty, routes);
        }
        if let Err(error) = entry::encode_clear(&resolved.table, &resolved.symbols, &mut bench.body) {
            return self.dead_letter(bench, Some(route), message, &error.to_string(), routes);
        }
        let part = Part {
            kind: Kind::Clear,
            source: route.id,
            table_hash: route.table_hash,
            body: &bench.body,
            ..Part::default()
        };
        // A row that is entering in slices is cleared too, or comes after it.
        let _gate = self.gate.unclaimed();
        match self.ring.append(&[part], message.received) {
            Ok(appended) => {
                self.latest.clear(&resolved.table, &resolved.symbols, appended.first, message.received);
                routes.count(route, message.received, 0);
                Offer::Accepted(self.ring.ack_position(&appended))
            }
            Err(error) => self.not_appended(error, NO_TABLE, 0),
        }
    }

    fn dead_letter(
        &self,
        bench: &mut Workbench,
        route: Option<&Route>,
        message: Incoming<'_>,
        reason: &str,
        routes: &mut Routes,
    ) -> Offer {
        self.set_aside(bench, route, message, reason, None, routes)
    }

    /// Puts a message that cannot become rows into the ring as it is, with the reason, and counts it where it is one of those.
    fn set_aside(
        &self,
        bench: &mut Workbench,
        route: Option<&Route>,
        message: Incoming<'_>,
        reason: &str,
        counted: Option<Counter>,
        routes: &mut Routes,
    ) -> Offer {
        let source = route.map_or(SourceId::NONE, |route| route.id);
        let counts = counted.map_or(0, Counter::bit);
        let tally = Tally { source, counts: Counts::from_bits(counts) };
        let mut payload = &message.payload[..message.payload.len().min(self.max_payload)];
        loop {
            bench.body.clear();
            let is_cut = payload.len() < message.payload.len() || message.cut_bytes > 0;
            let letter = DeadLetter { reason, topic: message.topic, payload, is_cut, time: None };
            let letter = entry::encode_dead_letter(&letter, &mut bench.body);
            let part = Part { kind: Kind::DeadLetter, source, body: &bench.body, letter, counts, ..Part::default() };
            match self.ring.append_counting(&[part], message.received, tally) {
                Ok(appended) => {
                    if routes.count_dead_letter(route, message.received) {
                        let topic = clip(message.topic);
                        let reason = clip(reason);
                        tracing::warn!(%topic, %reason, "a message on {topic} goes to quarantine: {reason}");
                    }
                    return Offer::Accepted(self.ring.ack_position(&appended));
                }
                Err(AppendError::TooLarge { bytes, limit }) if !payload.is_empty() => {
                    // Even as it is the message does not fit: its beginning has to do.
                    let excess = (bytes - limit) as usize;
                    payload = &payload[..payload.len().saturating_sub(excess)];
                }
                Err(error) => return self.not_appended(error, NO_TABLE, 0),
            }
        }
    }

    fn not_appended(&self, error: AppendError, table: &str, rows: u64) -> Offer {
        match (error, self.ring.on_full()) {
            (AppendError::Full, OnFull::DropNewest) => Offer::Refused(self.ring.count_refused(table, rows)),
            (AppendError::Full, OnFull::Block | OnFull::DropOldest) | (AppendError::Halted(_), _) => Offer::Full,
            (error, _) => Offer::Failed(error.to_string()),
        }
    }
}

impl Intake for Ingest {
    fn offer(&self, message: Incoming<'_>) -> Offer {
        // Also what would leave no record is not acknowledged meanwhile.
        if self.ring.halted().is_some() {
            return Offer::Full;
        }
        let mut work = lock(&self.work);
        let offer = self.take(&mut work, message);
        if matches!(offer, Offer::Accepted(_) | Offer::Refused(_) | Offer::Noted(_)) {
            self.ring.senders().broker_brought();
        }
        offer
    }

    fn room(&self) -> &Notify {
        self.ring.room()
    }

    fn subscribing(&self, filter: &str, qos: u8) -> u64 {
        filters::remember(&self.ring, filter, qos)
    }

    fn subscribed(&self) -> Vec<String> {
        filters::remembered(&self.ring)
    }

    fn taken_back(&self, filter: &str) {
        filters::forget(&self.ring, filter);
    }

    fn broker_waits(&self, waits: bool) {
        self.ring.senders().broker_waits(waits);
    }
}
