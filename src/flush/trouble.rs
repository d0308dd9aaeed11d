//! Kinds of trouble with the database, and what each is answered with (pure).
//!
//! | kind | recognised by | answer |
//! |---|---|---|
//! | overloaded | status 5xx or 429, or a refusal that is not QuestDB's | halve the batch, back off |
//! | growing latency | answers [`GROWN`] times slower than foretold, [`IN_A_ROW`] in a row | halve the batch |
//! | time-out | no answer within the limit | halve, back off, longer limit, new connection, send again from `safe` |
//! | connection refused, unreachable | nobody listens; anything else that breaks a connection | back off, new connection, send again from `safe` |
//! | authentication | status 401 or 403 | back off; the rows wait |
//! | schema | QuestDB will not have a table described or changed, and may later | back off; the rows wait |
//! | quarantine | its file cannot be written | back off; the rows wait |
//! | strange answer | what is answered does not answer the question | back off, new connection, send again from `safe` |
//! | set-up | the configuration cannot work with this server | back off; the rows wait |
//!
//! Rows that a table refuses for good are no trouble of this kind: they are set aside (`refusal`, `questdb::schema`).

use std::time::Duration;

use super::{encode::EncodeError, policy::Outcome, shared::Health};
use crate::questdb::{SqlError, WriteError};

/// An answer so many times slower than foretold counts as slow.
pub const GROWN: u32 = 4;
/// So many slow ones in a row show that the latency grows.
pub const IN_A_ROW: u32 = 3;
/// Differences below this are no sign of anything.
const LEAST_GROWTH: Duration = Duration::from_millis(50);
/// Least time between two lines of the journal about trouble.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// Trouble that lasts is told again after this.
const REMINDER: Duration = Duration::from_mins(10);

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// QuestDB answers that it cannot now.
    Overloaded,
    /// Answers come, and take ever longer.
    GrowingLatency,
    /// No answer in time.
    TimedOut,
    /// Nobody listens.
    ConnectionRefused,
    /// No connection, or it broke.
    Unreachable,
    /// The credentials are refused.
    Authentication,
    /// A table cannot be described or changed now.
    Schema,
    /// The quarantine cannot be written.
    Quarantine,
    /// The configuration cannot work with this server.
    Setup,
    /// What answers is not QuestDB.
    StrangeAnswer,
}

/// How many kinds there are.
pub const KINDS: usize = 10;

/// What a lane does about trouble, apart from backing off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What `status` says of the database.
    pub health: Health,
    /// Whether size may have a part in it.
    pub is_strained: bool,
    /// Whether the connection is given up, and what may be lost with the server is sent again.
    pub is_broken: bool,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; KINDS] = [
        Self::Overloaded,
        Self::GrowingLatency,
        Self::TimedOut,
        Self::ConnectionRefused,
        Self::Unreachable,
        Self::Authentication,
        Self::Schema,
        Self::Quarantine,
        Self::Setup,
        Self::StrangeAnswer,
    ];

    /// The kind of a request's failure. A refused row or request is none: it is looked into.
    pub fn of_write(error: &WriteError) -> Self {
        match error {
            WriteError::Unreachable(message) => Self::of_lost_connection(message),
            WriteError::Timeout(_) => Self::TimedOut,
            WriteError::Overloaded(_) => Self::Overloaded,
            WriteError::Auth(_) => Self::Authentication,
            WriteError::BadRow { .. } | WriteError::Refused { .. } => Self::Schema,
            WriteError::Strange(_) => Self::StrangeAnswer,
            WriteError::Other(_) => Self::Setup,
        }
    }

    /// The kind of what keeps a record from being encoded.
    pub fn of_encode(error: &EncodeError) -> Self {
        match error {
            EncodeError::Quarantine(_) => Self::Quarantine,
            EncodeError::Sql(SqlError::Unreachable(message)) => Self::of_lost_connection(message),
            EncodeError::Sql(SqlError::Timeout) => Self::TimedOut,
            EncodeError::Sql(SqlError::Auth) => Self::Authentication,
            EncodeError::Sql(SqlError::Overloaded(_)) => Self::Overloaded,
            EncodeError::Sql(SqlError::Answer(_) | SqlError::TooLarge(_)) => Self::StrangeAnswer,
            EncodeError::Sql(SqlError::Refused { .. }) => Self::Schema,
            EncodeError::Sql(SqlError::Setup(_)) => Self::Setup,
        }
    }

    /// The client tells of a refused connection in the system's words alone (ECONNREFUSED, strerror(3)).
    fn of_lost_connection(message: &str) -> Self {
        if message.to_lowercase().contains("connection refused") { Self::ConnectionRefused } else { Self::Unreachable }
    }

    /// What is done about it.
    pub fn answer(self) -> Answer {
        let (health, is_strained, is_broken) = match self {
            Self::Overloaded => (Health::Overloaded, true, false),
            Self::GrowingLatency => (Health::Slow, true, false),
            Self::TimedOut => (Health::Unreachable, true, true),
            Self::ConnectionRefused | Self::Unreachable => (Health::Unreachable, false, true),
            Self::Authentication => (Health::Refused, false, false),
            Self::Schema | Self::Quarantine => (Health::Blocked, false, false),
            Self::Setup => (Health::Misconfigured, false, false),
            // Who took the rows before may not have been QuestDB either.
            Self::StrangeAnswer => (Health::Misconfigured, false, true),
        };
        Answer { health, is_strained, is_broken }
    }

    /// What the policy is told of a request of so many rows.
    pub fn outcome(self, rows: usize) -> Outcome {
        if self.answer().is_strained { Outcome::Strained { rows } } else { Outcome::Failed }
    }

    /// Its name in metrics and the journal.
    pub fn word(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::GrowingLatency => "growing-latency",
            Self::TimedOut => "timeout",
            Self::ConnectionRefused => "connection-refused",
            Self::Unreachable => "unreachable",
            Self::Authentication => "authentication",
            Self::Schema => "schema",
            Self::Quarantine => "quarantine",
            Self::Setup => "setup",
            Self::StrangeAnswer => "strange-answer",
        }
    }

    /// What it means and what the operator may do, in one line.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Overloaded => {
                "QuestDB answers that it cannot now: smaller batches are tried, ever further apart; look at its log, disk and memory"
            }
            Self::GrowingLatency => "QuestDB takes ever longer: batches are halved until it keeps up",
            Self::TimedOut => {
                "QuestDB or the way to it hangs: the connection is opened anew, and the rows of the last resend_window are sent again"
            }
            Self::ConnectionRefused => {
                "nothing listens at questdb.conf's addr: is QuestDB running, and is the port its HTTP port?"
            }
            Self::Unreachable => "no connection to questdb.conf's addr: look at name, route, firewall and certificate",
            Self::Authentication => {
                "put right questdb.username, password_file or token_file, try with `forebay check --connect`, and restart forebay; \
                 the rows wait in the ring"
            }
            Self::Schema => {
                "QuestDB will not have a table described or changed now (see the error): it is tried again; the rows wait in the ring"
            }
            Self::Quarantine => {
                "the quarantine cannot be written, so nothing is set aside and the rows wait in the ring: free space on its disk"
            }
            Self::Setup => {
                "put right questdb.conf, try with `forebay check --connect`, and restart forebay; the rows wait in the ring"
            }
            Self::StrangeAnswer => {
                "what answers at questdb.conf's addr is not QuestDB, or something on the way answers in its place: look at address, port and \
                 proxy; the rows wait in the ring"
            }
        }
    }
}

/// Recognises that answers take ever longer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Growth {
    slow: u32,
}

impl Growth {
    /// Takes in an answer that took `took` where `expected` was foretold; true when it shows growing latency, each
    /// [`IN_A_ROW`] slow answers anew.
    pub fn observe(&mut self, took: Duration, expected: Duration) -> bool {
        let is_slow = took > expected * GROWN && took > expected + LEAST_GROWTH;
        self.slow = if is_slow { self.slow + 1 } else { 0 };
        let grown = self.slow >= IN_A_ROW;
        if grown {
            self.slow = 0;
        }
        grown
    }
}

/// Decides which trouble is worth a line in the journal. Times are since an arbitrary, fixed start.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    said: Option<(Kind, Duration)>,
    /// When the present trouble began, and how many failures it has brought.
    since: Option<Duration>,
    failures: u64,
    /// Whether a line told of the present trouble.
    is_told: bool,
}

impl Journal {
    /// Takes in trouble; true when it is to be told: the first of its kind, the first after a success, and a reminder now and then, never
    /// more often than every ten seconds.
    pub fn failed(&mut self, kind: Kind, now: Duration) -> bool {
        self.since.get_or_insert(now);
        self.failures += 1;
        let tell = match self.said {
            None => true,
            Some((said, at)) => {
                let age = now.saturating_sub(at);
                age >= REMINDER || (age >= BETWEEN_LINES && (said != kind || !self.is_told))
            }
        };
        if tell {
            (self.said, self.is_told) = (Some((kind, now)), true);
        }
        tell
    }

    /// Takes in a success; how many failures there were and for how long, when their end is to be told.
    pub fn succeeded(&mut self, now: Duration) -> Option<(u64, Duration)> {
        let since = self.since.take()?;
        let failures = std::mem::take(&mut self.failures);
        std::mem::take(&mut self.is_told).then(|| (failures, now.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_kind_of_trouble_is_told_from_the_others() {
        let text = |text: &str| text.to_owned();
        for (error, kind) in [
            (WriteError::Unreachable(text("Connection refused (os error 111)")), Kind::ConnectionRefused),
            (WriteError::Unreachable(text("Connection reset by peer")), Kind::Unreachable),
            (WriteError::Timeout(text("timeout: global")), Kind::TimedOut),
            (WriteError::Overloaded(text("503")), Kind::Overloaded),
            (WriteError::Auth(text("401")), Kind::Authentication),
            (WriteError::Other(text("tls")), Kind::Setup),
            (WriteError::Strange(text("status 200: {}")), Kind::StrangeAnswer),
        ] {
            assert_eq!(Kind::of_write(&error), kind, "{error}");
        }
        let refused = SqlError::Refused { message: text("table busy"), position: 0 };
        for (error, kind) in [
            (SqlError::Unreachable(text("io: Connection refused")), Kind::ConnectionRefused),
            (SqlError::Unreachable(text("dns")), Kind::Unreachable),
            (SqlError::Timeout, Kind::TimedOut),
            (SqlError::Overloaded(503), Kind::Overloaded),
            (SqlError::Auth, Kind::Authentication),
            (refused, Kind::Schema),
            (SqlError::Setup(text("tls")), Kind::Setup),
            (SqlError::Answer(text("it has no columns")), Kind::StrangeAnswer),
            (SqlError::TooLarge(8), Kind::StrangeAnswer),
        ] {
            assert_eq!(Kind::of_encode(&EncodeError::Sql(error.clone())), kind, "{error}");
        }
        assert_eq!(Kind::of_encode(&EncodeError::Quarantine(io::Error::other("full"))), Kind::Quarantine);
    }

    #[test]
    fn answers_differ_where_they_have_to() {
        let halved = Kind::ALL.into_iter().filter(|kind| kind.answer().is_strained);
        assert!(halved.eq([Kind::Overloaded, Kind::GrowingLatency, Kind::TimedOut]), "size has a part in these alone");
        let broken = Kind::ALL.into_iter().filter(|kind| kind.answer().is_broken);
        assert!(broken.eq([Kind::TimedOut, Kind::ConnectionRefused, Kind::Unreachable, Kind::StrangeAnswer]));
        let mut words: Vec<_> = Kind::ALL.iter().map(|kind| kind.word()).collect();
        words.dedup();
        assert_eq!(words.len(), KINDS);
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert!(!kind.advice().contains('\n'));
        }
    }

    #[test]
    fn latency_that_grows_is_recognised_and_one_stall_is_not() {
        let (expected, slow) = (Duration::from_millis(20), Duration::from_millis(200));
        let mut growth = Growth::default();
        let seen = [slow, slow, expected, slow, slow, slow, slow, slow, slow, expected];
        let grown = seen.map(|took| growth.observe(took, expected));
        assert_eq!(grown, [false, false, false, false, false, true, false, false, true, false]);
        let quick = Duration::from_millis(1);
        assert!(!(0..9).any(|_| growth.observe(quick * 9, quick)), "some milliseconds are no sign");
    }

    #[test]
    fn the_journal_is_told_once_and_reminded() {
        let mut journal = Journal::default();
        let told = (0..3_600u32).filter(|second| journal.failed(Kind::TimedOut, SECOND * *second)).count();
        assert_eq!(told, 6);
        assert!(journal.failed(Kind::Overloaded, 3_600 * SECOND));
        assert_eq!(journal.succeeded(3_700 * SECOND), Some((3_601, 3_700 * SECOND)));
        assert_eq!(journal.succeeded(3_701 * SECOND), None);
        assert!(journal.failed(Kind::Overloaded, 3_800 * SECOND), "a new spell");
    }

    #[test]
    fn flapping_does_not_flood_the_journal() {
        let mut journal = Journal::default();
        let mut lines = 0;
        for tick in 0..6_000u32 {
            let now = Duration::from_millis(100) * tick;
            lines += usize::from(journal.failed(if tick % 2 == 0 { Kind::TimedOut } else { Kind::Overloaded }, now));
            lines += usize::from(journal.succeeded(now).is_some());
        }
        assert!(lines <= 2 * 61, "{lines} lines in ten minutes");
    }
}
