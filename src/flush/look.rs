//! Looks at the tables that a lane writes: whether they are the ones that rows were made fit for.
//!
//! A table may be dropped, renamed, made again or changed by hand at any time. QuestDB (9.3.4) acknowledges the first request that an open
//! connection brings for a table that was dropped, keeps nothing of it, and makes the table by itself from the next one, without
//! deduplication, partitions or time to live as configured. So a lane looks before the first batch after a pause, at most once a second
//! while it sends, once after its last batch, and whenever a batch is refused. Nothing is in flight meanwhile.

use std::time::Duration;

use super::{
    answer::Trouble,
    batching::Span,
    course::Course,
    encode::EncodeError,
    lane::{Lane, SCHEMA_AGE},
    seeded::{Bug, is_on},
    unconfirmed::Tables,
};
use crate::{
    marks::Mark,
    names,
    questdb::{SqlError, change::Change, sql::TableInfo},
    ring::table_hash,
};

/// Times that a look begins again because a table was dropped in the middle of it.
const MAX_ATTEMPTS: usize = 3;

/// How long a change may take to show, and the pause between looks for it.
const SHOWS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What a look has found of a table.
struct Found {
    hash: u32,
    name: String,
    now: Option<TableInfo>,
    /// Whether its columns were asked for.
    is_whole: bool,
    /// Requests with its rows that were stored since it was seen.
    answered: Option<u64>,
    change: Option<Change>,
}

/// A table to look at.
struct Wanted {
    hash: u32,
    name: String,
    /// Requests with its rows that were stored since it was seen.
    answered: Option<u64>,
}

impl Lane {
    /// Whether the batch that was filled last may not go without a look at its tables.
    pub(super) fn is_look_due(&self) -> bool {
        let is_new = |(_, name): (u32, &str)| !self.encoder.schema.is_seen(name);
        !is_on(Bug::NoLook) && (self.unconfirmed.is_due(self.now()) || self.filling.iter().any(is_new))
    }

    /// Whether a batch may go to its tables: false where one has changed, and the cursor is at what goes first now.
    pub(super) fn may_go_to_tables(&mut self, span: Span) -> Result<bool, Trouble> {
        Ok(!self.is_look_due() || self.are_tables_same(span.start)?)
    }

    /// Looks at tables whose rows are set aside, which somebody may have mended. False where the cursor is at what goes first now.
    pub(super) fn look_at_refusing(&mut self) -> Result<bool, Trouble> {
        if !self.unconfirmed.is_due(self.now()) || is_on(Bug::NoLook) {
            return Ok(true);
        }
        let refusing: Vec<String> = self.encoder.schema.refusing().map(str::to_owned).collect();
        self.filling.clear();
        for name in &refusing {
            self.filling.add(table_hash(name), || name.clone());
        }
        let cursor = self.reader.mark();
        Ok(refusing.is_empty() || self.are_tables_same(cursor)?)
    }

    /// How long until a look is due that rows which wait for company would put off.
    pub(super) fn look_due_in(&self, now: Duration) -> Duration {
        if self.unconfirmed.from().is_none() || self.barrier.is_some() || is_on(Bug::NoLook) {
            return Duration::MAX;
        }
        self.unconfirmed.due_in(now)
    }

    /// Looks after the last batch before a pause or a wait for company, and now and then during
    /// one.
    pub(super) fn look_while_idle(&mut self) {
        let cursor = self.reader.mark();
        let looks_meanwhile = std::mem::take(&mut self.company.looks);
        if (cursor.pos < self.durable() && !looks_meanwhile) || self.barrier.is_some() || is_on(Bug::NoLook) {
            return;
        }
        let now = self.now();
        let is_open = self.unconfirmed.from().is_some() && self.unconfirmed.is_due(now);
        let is_old = self.unconfirmed.age(now).is_some_and(|age| age >= SCHEMA_AGE);
        if !is_open && !is_old {
            return;
        }
        self.filling.clear();
        if is_old {
            let seen: Vec<String> = self.encoder.schema.seen_tables().map(str::to_owned).collect();
            for name in seen {
                self.filling.add(table_hash(&name), || name.clone());
            }
        }
        if let Err(trouble) = self.are_tables_same(cursor) {
            tracing::debug!(lane = self.number, ?trouble, "the next batch meets what ails it");
        }
    }

    /// Looks at the tables of the batch that was filled last, and at those written since the last look. False where one has changed, or the
    /// server has restarted: the cursor, which was at `cursor`, is at what goes first now. To be called with nothing in flight.
    pub(super) fn are_tables_same(&mut self, cursor: Mark) -> Result<bool, Trouble> {
        self.heartbeat.waiting("what QuestDB tells of its tables", Some(self.request_timeout * 4));
        let found = match self.look() {
            Ok(found) => found,
            Err(error) => {
                self.reader.seek(cursor);
                return Err(EncodeError::from(error).into());
            }
        };
        let is_same = found.iter().all(|found| found.change.is_none());
        if !is_same {
            self.reader.seek(cursor);
            self.barrier = None;
            // A server that has restarted may have lost more than a look shows.
            if self.ask_started().map_err(EncodeError::from)? {
                self.shared.vigil().end();
                return Ok(false);
            }
        }
        self.take_in(found);
        Ok(is_same)
    }

    /// The same for a batch that was refused: a change that QuestDB goes by already may show a moment later.
    pub(super) fn are_tables_same_by_now(&mut self, cursor: Mark, tables: &Tables) -> Result<bool, Trouble> {
        let deadline = self.now() + SHOWS_WITHIN;
        loop {
            if !self.are_tables_same(cursor)? {
                return Ok(false);
            }
            let is_sure = tables.iter().all(|(_, name)| self.encoder.schema.is_sure(name));
            if is_sure || self.now() >= deadline || self.shared.stopping().is_some() {
                return Ok(true);
            }
            self.wait.rest(&self.shared, LOOK_PAUSE);
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        let written = self.unconfirmed.tables();
        let written = written.map(|(hash, of)| Wanted { hash, name: of.name.clone(), answered: of.answered });
        let others = self.filling.iter().filter(|(hash, _)| self.unconfirmed.of(*hash).is_none());
        let others = others.map(|(hash, name)| Wanted { hash, name: name.to_owned(), answered: Some(0) });
        written.chain(others).collect()
    }

    fn look(&self) -> Result<Vec<Found>, SqlError> {
        let wanted = self.wanted();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = wanted.iter().map(|wanted| names::folded(&wanted.name).into_owned()).collect();
        for _ in 0..MAX_ATTEMPTS {
            let heads = self.encoder.sql.survey(&names)?;
            if let Some(found) = self.compare(&wanted, heads)? {
                return Ok(found);
            }
        }
        Err(SqlError::Answer("tables come and go too quickly to be looked at".to_owned()))
    }

    /// What has become of the tables; none where one was dropped in between. Columns are asked for only where somebody else may have
    /// changed the table.
    fn compare(&self, wanted: &[Wanted], mut heads: Vec<TableInfo>) -> Result<Option<Vec<Found>>, SqlError> {
        let schema = &self.encoder.schema;
        let mut doubtful = Vec::new();
        let mut found: Vec<Found> = Vec::with_capacity(wanted.len());
        for Wanted { hash, name, answered } in wanted {
            // Two of one name: the older one has been renamed a moment ago.
            let of_name = heads.iter().enumerate().filter(|(_, head)| names::same(&head.name, name));
            let at = of_name.max_by_key(|(_, head)| head.identity.id).map(|(at, _)| at);
            let now = at.map(|at| heads.swap_remove(at));
            if let Some(now) = now.as_ref().filter(|now| !schema.is_untouched(name, now, *answered)) {
                doubtful.push((found.len(), now.name.clone()));
            }
            let (hash, name, answered) = (*hash, name.clone(), *answered);
            found.push(Found { hash, name, now, is_whole: false, answered, change: None });
        }
        let asked: Vec<String> = doubtful.iter().map(|(_, name)| name.clone()).collect();
        let Some(columns) = (if asked.is_empty() { Some(Vec::new()) } else { self.encoder.sql.columns_of(&asked)? })
        else {
            return Ok(None);
        };
        for ((at, _), columns) in doubtful.into_iter().zip(columns) {
            if let Some(now) = &mut found[at].now {
                now.columns = columns;
            }
            found[at].is_whole = true;
        }
        for found in found.iter_mut().filter(|found| found.is_whole || found.now.is_none()) {
            found.change = schema.compare(&found.name, found.now.as_ref(), found.answered);
        }
        Ok(Some(found))
    }

    /// Takes in what a look has found, and goes back where rows have to go again.
    fn take_in(&mut self, found: Vec<Found>) {
        let (now, from, generation) = (self.now(), self.unconfirmed.from(), self.encoder.schema.generation());
        let mut again = Vec::new();
        let mut has_changed = false;
        for Found { hash, name, now: info, is_whole, answered, change } in found {
            let Some(change) = change else {
                match info {
                    Some(info) if is_whole => self.encoder.schema.confirm_whole(&name, info, answered),
                    Some(info) => self.encoder.schema.confirm(&name, &info),
                    None => {}
                }
                continue;
            };
            has_changed = true;
            let sent = self.unconfirmed.of(hash).is_some();
            self.encoder.renew(hash, &name, &change, info.as_ref(), sent);
            if matches!(change, Change::Gone | Change::MadeAgain) {
                // What is confirmed was dropped on purpose.
                self.reborn.begin(hash, from.filter(|_| sent).map_or(self.high.pos, |from| from.pos));
            }
            let goes_again = sent && change.loses_rows();
            self.tell_change(&name, &change, goes_again);
            if goes_again {
                again.push(hash);
            }
        }
        if let Some(from) = from.filter(|_| !again.is_empty() && !is_on(Bug::ChangedForgotten)) {
            let from = from.max(self.encoder.ring.marks().tail);
            for hash in &again {
                self.reborn.send_again(*hash, from.pos, self.high.pos);
            }
            self.go_back(from, &Course::only(again));
        }
        if has_changed {
            // An open connection goes on writing to what it knows.
            self.link.disconnect();
            self.unusual = true;
        }
        if has_changed || self.unconfirmed.tables().all(|(_, written)| self.encoder.schema.is_sure(&written.name)) {
            self.unconfirmed.confirm(now);
        } else {
            self.unconfirmed.leave_open(now);
        }
        if self.encoder.schema.generation() != generation {
            self.report();
        }
    }

    fn tell_change(&mut self, table: &str, change: &Change, goes_again: bool) {
        let at = self.encoder.clock.now().wall;
        let text = format!("at {at} table {table:?} {change}");
        let text = if goes_again {
            format!("{text}; rows stored since it was last seen whole, at most some seconds before, go again")
        } else {
            text
        };
        tracing::warn!(lane = self.number, table, "{text}");
        self.reborn.tell(self.now(), text);
    }
}
