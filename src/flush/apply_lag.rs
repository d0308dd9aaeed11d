//! How far QuestDB is behind with applying what it has accepted, and how much slower to write for it (pure).
//!
//! QuestDB acknowledges what is in a table's write-ahead log. When it applies more slowly than it accepts, queries show ever older rows and
//! the logs eat its disk, without a word to the writer. So the lag is measured from outside, and a lane writes slower before it hurts:
//!
//! | the lag is | the lane |
//! |---|---|
//! | below [`EASED`] | goes at full speed, or returns to it step by step |
//! | [`BEHIND`] or more, and grows | sends fewer and larger requests: least linger 200, 400, 800 ms |
//! | [`FAR_BEHIND`] or more, and grows | sends no more rows a second than QuestDB has been seen to apply; the ring takes the rest |
//!
//! The lag in time is the age of the oldest transaction not applied, or the time that QuestDB needs for all of them at its present rate,
//! whichever is more. Rows that wait count too ([`BEHIND_ROWS`], [`FAR_BEHIND_ROWS`]), and so does QuestDB's own word that it is short of memory.
//! Rows lost are worse than rows late: once the ring is [`RING_FIRST`] full the cap is lifted.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

/// A lag below this is none. (Looks are 5 s apart, and no age is known better.)
pub const EASED: Duration = Duration::from_secs(10);
/// From here on a growing lag has the lane send fewer requests.
pub const BEHIND: Duration = Duration::from_secs(15);
/// From here on a growing lag has the lane send fewer rows.
pub const FAR_BEHIND: Duration = Duration::from_mins(1);
/// The same in rows of a lane's tables.
pub const EASED_ROWS: u64 = 1_000_000;
/// See [`EASED_ROWS`].
pub const BEHIND_ROWS: u64 = 2_000_000;
/// See [`EASED_ROWS`].
pub const FAR_BEHIND_ROWS: u64 = 10_000_000;
/// No cap is lower than this: rows a second.
pub const LEAST_ROWS_PER_S: f64 = 200.0;
/// Fill of the ring from which on it goes first, and below which caps are possible again.
pub const RING_FIRST: f64 = 0.75;
const RING_AT_EASE: f64 = 0.6;
/// Most times the linger is doubled.
const MAX_STRETCH: u32 = 8;
/// Least linger of a lane that sends fewer requests, times the stretch.
const LEAST_LINGER: Duration = Duration::from_millis(100);
/// Share of what QuestDB applies that a cap lets through.
const SHARE: f64 = 0.9;
/// Factor by which a cap is raised with each look at ease.
const RAISE: f64 = 1.5;
/// Looks at ease before anything is given back.
const CALM_LOOKS: u32 = 2;
/// A cap this many times above what made it necessary is none.
const ENOUGH: f64 = 2.0;
/// Looks remembered of a table; of more every second one is forgotten.
const MAX_SEEN: usize = 64;
/// After a gap between looks of this length nothing is known of what came between.
const GAP: Duration = Duration::from_secs(15);
/// No single request is held back longer.
const MAX_HOLD: Duration = Duration::from_secs(5);

/// What one table's log was like at the looks so far.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Time of a look and last transaction accepted then, the oldest first.
    seen: VecDeque<(Duration, i64)>,
}

impl Trace {
    /// Takes in the last transactions applied and accepted at `now`; the age of the oldest that is not applied, at most one look too
    /// much; of a lag of many minutes, as known from looks further and further apart.
    /// For a table that was behind when it was first seen, the time since then.
    pub fn look(&mut self, now: Duration, applied: i64, accepted: i64) -> Duration {
        let last = self.seen.back().copied();
        if last.is_some_and(|(at, before)| now.saturating_sub(at) > GAP || accepted < before) {
            self.seen.clear();
        }
        self.seen.push_back((now, accepted));
        while self.seen.get(1).is_some_and(|(_, accepted)| *accepted <= applied) {
            self.seen.pop_front();
        }
        if self.seen.len() > MAX_SEEN {
            let mut number = 0;
            self.seen.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
        let from = self.seen.front().map_or(now, |(at, _)| *at);
        if applied >= accepted { Duration::ZERO } else { now.saturating_sub(from) }
    }
}

/// What one look found of the tables of a lane. Counters only grow; of suspended tables only `rows_of_all` knows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Look {
    /// When, since an arbitrary, fixed start.
    pub at: Duration,
    /// Age of the oldest transaction not applied.
    pub age: Duration,
    /// Transactions not applied.
    pub transactions: u64,
    /// Transactions applied so far.
    pub applied: i64,
    /// Rows not applied; none when QuestDB does not tell.
    pub rows: Option<u64>,
    /// The same, suspended tables included.
    pub rows_of_all: Option<u64>,
    /// Whether QuestDB says that it is short of memory for one of them.
    pub is_short_of_memory: bool,
    /// Rows sent to all of them so far.
    pub sent: u64,
    /// Fill of the ring, 0 to 1.
    pub ring_fill: f64,
}

/// How fast a lane may write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// What the linger is multiplied by: 1, 2, 4 or 8.
    pub stretch: u32,
    /// Most rows a second; none for no limit.
    pub rows_per_s: Option<f64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { stretch: 1, rows_per_s: None }
    }
}

impl Pace {
    /// Whether it is full speed.
    pub fn is_full(&self) -> bool {
        self.stretch == 1 && self.rows_per_s.is_none()
    }

    /// The linger it makes of another, at most `longest`.
    pub fn linger(&self, linger: Duration, longest: Duration) -> Duration {
        if self.stretch <= 1 {
            return linger;
        }
        (linger * self.stretch).max(LEAST_LINGER * self.stretch).min(longest).max(linger)
    }

    /// Rows of a request: no more than a second's worth, and at least one.
    pub fn rows(&self, rows: usize) -> usize {
        self.rows_per_s.map_or(rows, |cap| rows.min((cap as usize).max(1)))
    }

    /// It in words; none at full speed.
    pub fn sentence(&self) -> Option<String> {
        let mut text = "slowed down for QuestDB's apply lag:".to_owned();
        if self.stretch > 1 {
            let _ = write!(text, " linger × {}", self.stretch);
        }
        if let Some(cap) = self.rows_per_s {
            let comma = if self.stretch > 1 { "," } else { "" };
            let _ = write!(text, "{comma} at most {cap:.0} rows/s");
        }
        (!self.is_full()).then_some(text)
    }
}

/// Turns looks at a lane's tables into a pace.
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    pace: Pace,
    last: Option<Look>,
    lag: Duration,
    /// Rows a second that QuestDB was last seen to apply while it was behind.
    able: Option<f64>,
    /// Rows a second that were too many.
    too_many: f64,
    calm: u32,
    /// Whether the ring goes first.
    ring_first: bool,
}

impl Pacer {
    /// Takes in a look. It should come every few seconds while there is something to look at.
    pub fn look(&mut self, look: Look) -> Pace {
        let last = self.last.replace(look);
        let last = last.filter(|last| look.at.saturating_sub(last.at) <= GAP && look.at > last.at);
        let speed = last.map_or(Speed::default(), |last| Speed::between(&last, &look));
        let lag = look.age.max(speed.time_for(&look));
        let rows = look.rows.unwrap_or(0);
        let grows = lag > self.lag || last.is_some_and(|last| rows > last.rows.unwrap_or(0));
        self.lag = lag;
        let is = |time: Duration, limit: u64| lag >= time || rows >= limit;
        if is(BEHIND, BEHIND_ROWS)
            && let Some(able) = speed.applied_rows
        {
            self.able = Some(able);
        }
        if look.is_short_of_memory || (is(BEHIND, BEHIND_ROWS) && grows) {
            self.calm = 0;
            self.pace.stretch = (self.pace.stretch * 2).min(MAX_STRETCH);
            if is(FAR_BEHIND, FAR_BEHIND_ROWS) && grows {
                self.lower(speed.sent_rows);
            }
        } else if is(EASED, EASED_ROWS) {
            self.calm = 0;
        } else {
            self.ease();
        }
        self.let_ring_go_first(look.ring_fill);
        self.pace
    }

    /// The pace now.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The lag at the last look.
    pub fn lag(&self) -> Duration {
        self.lag
    }

    /// Caps at what QuestDB applies, and below what was too many.
    fn lower(&mut self, sent_rows_per_s: f64) {
        if self.ring_first {
            return;
        }
        let present = self.pace.rows_per_s.map_or(sent_rows_per_s, |cap| cap.min(sent_rows_per_s));
        if self.pace.rows_per_s.is_none() {
            self.too_many = sent_rows_per_s;
        }
        let able = self.able.unwrap_or(0.0);
        self.pace.rows_per_s = Some((SHARE * able.min(present)).max(LEAST_ROWS_PER_S));
    }

    /// Gives back: first rows, then requests.
    fn ease(&mut self) {
        self.calm += 1;
        if self.calm < CALM_LOOKS {
            return;
        }
        match self.pace.rows_per_s {
            Some(cap) => {
                let raised = (cap * RAISE).max(SHARE * self.able.unwrap_or(0.0));
                let enough = ENOUGH * self.too_many.max(LEAST_ROWS_PER_S);
                self.pace.rows_per_s = (raised < enough).then_some(raised);
            }
            None => self.pace.stretch = (self.pace.stretch / 2).max(1),
        }
    }

    fn let_ring_go_first(&mut self, fill: f64) {
        self.ring_first = fill >= if self.ring_first { RING_AT_EASE } else { RING_FIRST };
        if self.ring_first {
            self.pace.rows_per_s = None;
        }
    }
}

/// What went in and was applied between two looks, a second.
#[derive(Debug, Clone, Copy, Default)]
struct Speed {
    sent_rows: f64,
    /// None when it cannot be told.
    applied_rows: Option<f64>,
    applied_transactions: f64,
}

impl Speed {
    fn between(last: &Look, look: &Look) -> Self {
        let seconds = look.at.saturating_sub(last.at).as_secs_f64();
        let sent = look.sent.saturating_sub(last.sent) as f64;
        let applied = look.applied.saturating_sub(last.applied).max(0) as f64;
        let accepted = applied + look.transactions as f64 - last.transactions as f64;
        let rows = match (last.rows_of_all, look.rows_of_all) {
            (Some(before), Some(now)) => Some((sent + before as f64 - now as f64).max(0.0)),
            _ if accepted > 0.0 => Some(sent * applied / accepted),
            _ => None,
        };
        Self {
            sent_rows: sent / seconds,
            applied_rows: rows.map(|rows| rows / seconds),
            applied_transactions: applied / seconds,
        }
    }

    /// Time for all that waits, as far as it can be told.
    fn time_for(&self, look: &Look) -> Duration {
        const LONGEST_S: f64 = 86_400.0;
        let time = match (look.rows, self.applied_rows) {
            (Some(rows), Some(speed)) if speed > 0.0 && rows > 0 => rows as f64 / speed,
            _ if self.applied_transactions > 0.0 => look.transactions as f64 / self.applied_transactions,
            _ => 0.0,
        };
        Duration::from_secs_f64(time.min(LONGEST_S))
    }
}

/// Holds a lane to its rows a second. Times are since an arbitrary, fixed start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Throttle {
    free_at: Duration,
}

impl Throttle {
    /// How long the next request has to wait; nothing without a limit.
    pub fn wait(&self, now: Duration, pace: Pace) -> Duration {
        if pace.rows_per_s.is_some() { self.free_at.saturating_sub(now).min(MAX_HOLD) } else { Duration::ZERO }
    }

    /// Takes in that so many rows are sent at `now`.
    pub fn sent(&mut self, now: Duration, rows: usize, pace: Pace) {
        let time = pace.rows_per_s.map_or(0.0, |cap| rows as f64 / cap.max(1.0));
        self.free_at = self.free_at.max(now) + Duration::from_secs_f64(time).min(MAX_HOLD);
    }
}
