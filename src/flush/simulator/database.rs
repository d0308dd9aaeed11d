//! A database as a lane sees it.

use super::arrivals::normal;

/// A span of time in which something is different.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spell {
    /// From, in seconds.
    pub from_s: f64,
    /// Until, in seconds.
    pub until_s: f64,
}

impl Spell {
    fn holds(&self, at_s: f64) -> bool {
        (self.from_s..self.until_s).contains(&at_s)
    }
}

/// Times in which nothing is answered, again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stalls {
    /// When the first begins, in seconds.
    pub first_s: f64,
    /// From one to the next, in seconds.
    pub every_s: f64,
    /// How long each takes, in seconds.
    pub for_s: f64,
}

impl Stalls {
    /// How much longer a request takes that is sent at a time and would take so long.
    fn delay(&self, at_s: f64, after_s: f64) -> f64 {
        let Self { first_s, every_s, for_s } = *self;
        // The last one to begin by then: what is under way or comes meanwhile waits for its end.
        let number = ((at_s + after_s - first_s) / every_s).floor();
        let begins = first_s + number * every_s;
        if number >= 0.0 && begins + for_s > at_s { for_s.min(begins + for_s - at_s) } else { 0.0 }
    }
}

/// What requests meet. The costs are those of a real QuestDB over a line of a kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Database {
    /// Time of a request apart from its rows, in seconds: the database's, and one round trip.
    pub fixed_s: f64,
    /// Time of each row, in seconds.
    pub per_row_s: f64,
    /// Spread of the time, relative (standard deviation).
    pub noise: f64,
    /// What a line to it takes beside that for a request and for each row, without a spread, in seconds.
    pub line_s: (f64, f64),
    /// Share of requests that lose a packet, and what that costs: a retransmission, in seconds.
    pub loses: (f64, f64),
    /// Share of requests whose connection breaks.
    pub breaks: f64,
    /// When nothing is answered.
    pub stalls: Option<Stalls>,
    /// When all takes how many times as long.
    pub slow: Option<(Spell, f64)>,
    /// When connections are refused.
    pub down: Option<Spell>,
    /// After this a request is given up, in seconds; bytes beside that, as questdb-rs waits: 100 KiB/s.
    pub timeout_s: f64,
}

impl Default for Database {
    /// QuestDB on the same machine.
    fn default() -> Self {
        Self {
            fixed_s: 1e-3,
            per_row_s: 0.7e-6,
            noise: 0.1,
            line_s: (0.0, 0.0),
            loses: (0.0, 0.0),
            breaks: 0.0,
            stalls: None,
            slow: None,
            down: None,
            timeout_s: 10.0,
        }
    }
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Seconds after it was sent.
    pub after_s: f64,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stored,
    TimedOut,
    Broken,
}

impl Database {
    /// What the line takes for a request of so many rows.
    fn on_the_line(&self, rows: u64) -> f64 {
        self.line_s.0 + self.line_s.1 * rows as f64
    }

    /// What another round trip takes.
    pub fn round_trip_s(&self) -> f64 {
        self.fixed_s + self.line_s.0
    }

    /// What becomes of a request of so many rows and bytes sent at a time.
    pub fn answer(&self, at_s: f64, rows: u64, bytes: u64, random: &mut fastrand::Rng) -> Answer {
        if self.down.is_some_and(|down| down.holds(at_s)) {
            return Answer { after_s: 1e-3, kind: Kind::Broken };
        }
        let times = self.slow.filter(|(spell, _)| spell.holds(at_s)).map_or(1.0, |(_, times)| times);
        let varied = (1.0 + self.noise * normal(random)).max(0.3);
        let mut after_s = (self.fixed_s + self.per_row_s * rows as f64) * times * varied + self.on_the_line(rows);
        if random.f64() < self.loses.0 {
            after_s += self.loses.1 * (0.5 + random.f64());
        }
        if random.f64() < self.breaks {
            return Answer { after_s: after_s * random.f64(), kind: Kind::Broken };
        }
        if let Some(stalls) = &self.stalls {
            after_s += stalls.delay(at_s, after_s);
        }
        let timeout_s = self.timeout_s + bytes as f64 / f64::from(100 << 10);
        if after_s > timeout_s {
            return Answer { after_s: timeout_s, kind: Kind::TimedOut };
        }
        // What was sent before the database went down is not answered after it.
        if self.down.is_some_and(|down| down.holds(at_s + after_s)) {
            return Answer { after_s, kind: Kind::Broken };
        }
        Answer { after_s, kind: Kind::Stored }
    }
}
