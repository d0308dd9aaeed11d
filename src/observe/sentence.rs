//! The line that `systemctl status` shows: how the daemon stands, in a sentence. Pure.
//!
//! It changes with the state, and else seldom: each change wakes the service manager.

use super::{forecast::span, heartbeat::LoopStatus, log::clip};

/// Share of the ring in use from which it is nearly full.
const NEARLY_FULL: f64 = 0.9;
/// What waits for less is on its way.
const LAGGING_S: f64 = 10.0;
/// Most characters of a reason that came from outside.
const MOST_REASON_CHARS: usize = 200;

/// How one of the daemon's two neighbours is.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Neighbour {
    /// Nothing has been tried to an end.
    #[default]
    Connecting,
    /// All is well.
    Fine,
    /// It is away, or something is wrong with it.
    Wrong {
        /// What, in words.
        what: &'static str,
        /// Why, in words that may come from outside.
        why: Option<String>,
        /// Seconds since it began.
        for_s: f64,
    },
}

/// What the line is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standing {
    /// Why nothing is taken in, if that is so.
    pub halted: Option<String>,
    /// The loop that hangs, if one does.
    pub late: Option<LoopStatus>,
    /// What comes of the ring's being full, if it is.
    pub full: Option<&'static str>,
    /// Share of the ring that is not free, 0 to 1.
    pub used: f64,
    /// Seconds until it is full, at the present rates.
    pub full_in_s: Option<f64>,
    /// The broker.
    pub broker: Neighbour,
    /// QuestDB.
    pub database: Neighbour,
    /// Rows that wait for QuestDB.
    pub waiting: u64,
    /// Age of the oldest of them in seconds.
    pub lag_s: f64,
    /// Whether no source is configured.
    pub is_without_source: bool,
    /// Whether the configuration that was read last was refused.
    pub reload_refused: bool,
}

impl Standing {
    /// The line.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = self.beginning();
        for part in [self.broker(), self.database()] {
            text.push_str("; ");
            text.push_str(&part);
        }
        text.push_str("; ");
        text.push_str(&self.ring());
        if self.is_without_source {
            text.push_str("; no source is configured (forebay init)");
        }
        if self.reload_refused {
            text.push_str("; the last reload was refused, and the configuration before it stays in force");
        }
        text
    }

    fn beginning(&self) -> String {
        if let Some(late) = &self.late {
            return format!("{} hangs (it waits on {}), and a restart is due", late.name, late.waits_on);
        }
        match (&self.halted, self.full) {
            (Some(reason), _) => format!("nothing is taken in or acknowledged: {}", cut(reason)),
            (None, Some(consequence)) => format!("the ring is full, and {consequence}"),
            (None, None) if self.used >= NEARLY_FULL => "the ring is nearly full".to_owned(),
            (None, None) => "running".to_owned(),
        }
    }

    fn broker(&self) -> String {
        match &self.broker {
            Neighbour::Connecting => "connecting to the broker".to_owned(),
            Neighbour::Fine => "connected to the broker".to_owned(),
            wrong @ Neighbour::Wrong { .. } => wrong.complaint(),
        }
    }

    fn database(&self) -> String {
        match &self.database {
            Neighbour::Connecting => "connecting to QuestDB".to_owned(),
            Neighbour::Fine => "QuestDB takes rows".to_owned(),
            wrong @ Neighbour::Wrong { .. } => wrong.complaint(),
        }
    }

    fn ring(&self) -> String {
        let percent = (self.used.clamp(0.0, 1.0) * 100.0).floor();
        let is_behind = self.database != Neighbour::Fine || self.lag_s >= LAGGING_S;
        let waiting = match self.waiting {
            _ if !is_behind => String::new(),
            0 => "no row waits, ".to_owned(),
            1 => "1 row waits, ".to_owned(),
            rows => format!("{} wait, ", about(rows)),
        };
        let room = match self.full_in_s {
            Some(left_s) if left_s >= 1.0 && is_behind => format!(", full in {}", span(left_s)),
            _ => String::new(),
        };
        format!("{waiting}the ring is {percent:.0} % full{room}")
    }
}

impl Neighbour {
    fn complaint(&self) -> String {
        let Self::Wrong { what, why, for_s } = self else { return String::new() };
        // In minutes: seconds would be another line each time.
        let lasting = if *for_s >= 120.0 { format!(" for {}", span(*for_s)) } else { String::new() };
        let why = why.as_deref().filter(|why| !why.is_empty()).map(|why| format!(" ({})", cut(why)));
        format!("{what}{lasting}{}", why.unwrap_or_default())
    }
}

/// A number of rows by its first two digits.
fn about(rows: u64) -> String {
    if rows < 100 {
        return format!("{rows} rows");
    }
    let step = 10_u64.pow(rows.ilog10() - 1);
    let digits = (rows / step * step).to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("about {text} rows")
}

/// The first part of a reason: what to do about it has no room here.
fn cut(reason: &str) -> String {
    let first = clip(reason.split("; ").next().unwrap_or_default()).into_owned();
    match first.char_indices().nth(MOST_REASON_CHARS) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(what: &'static str, why: &str, for_s: f64) -> Neighbour {
        Neighbour::Wrong { what, why: Some(why.to_owned()), for_s }
    }

    fn well() -> Standing {
        Standing { broker: Neighbour::Fine, database: Neighbour::Fine, used: 0.031, ..Standing::default() }
    }

    #[test]
    fn each_state_has_its_sentence() {
        let without_broker = wrong("no connection to the broker", "connection refused; start it", 300.0);
        let without_database = wrong("QuestDB does not answer", "connection refused", 12.0);
        for (standing, said) in [
            (
                Standing::default(),
                "running; connecting to the broker; connecting to QuestDB; no row waits, the ring is 0 % full",
            ),
            (well(), "running; connected to the broker; QuestDB takes rows; the ring is 3 % full"),
            (
                Standing { broker: without_broker.clone(), ..well() },
                "running; no connection to the broker for 5 min (connection refused); QuestDB takes rows; the ring is 3 % full",
            ),
            (
                Standing { database: without_database, waiting: 1_234_567, full_in_s: Some(7_300.0), ..well() },
                "running; connected to the broker; QuestDB does not answer (connection refused); about 1,200,000 rows wait, \
                 the ring is 3 % full, full in 2.0 h",
            ),
            (
                Standing { used: 0.934, waiting: 17, lag_s: 11.0, full_in_s: Some(60.0), ..well() },
                "the ring is nearly full; connected to the broker; QuestDB takes rows; 17 rows wait, the ring is 93 % full, \
                 full in 60 s",
            ),
            (
                Standing { full: Some("the oldest rows are given up"), used: 1.0, full_in_s: Some(0.0), ..well() },
                "the ring is full, and the oldest rows are given up; connected to the broker; QuestDB takes rows; the ring is \
                 100 % full",
            ),
            (
                Standing { halted: Some("/var/lib/forebay/ring is gone".into()), reload_refused: true, ..well() },
                "nothing is taken in or acknowledged: /var/lib/forebay/ring is gone; connected to the broker; QuestDB takes rows; \
                 the ring is 3 % full; the last reload was refused, and the configuration before it stays in force",
            ),
            (
                Standing { is_without_source: true, ..well() },
                "running; connected to the broker; QuestDB takes rows; the ring is 3 % full; no source is configured (forebay init)",
            ),
        ] {
            assert_eq!(standing.sentence(), said);
        }
    }

    #[test]
    fn a_loop_that_hangs_comes_before_all_else() {
        let late =
            LoopStatus { name: "committer".into(), waits_on: "something to commit", waiting_ms: 1, late_ms: Some(1) };
        let said = Standing { late: Some(late), ..well() }.sentence();
        assert!(
            said.starts_with("committer hangs (it waits on something to commit), and a restart is due; "),
            "{said}"
        );
    }

    #[test]
    fn while_rows_are_stored_as_they_come_the_line_stays() {
        let flowing = |waiting, lag_s| Standing { waiting, lag_s, full_in_s: Some(9.0 + lag_s), ..well() }.sentence();
        assert_eq!(flowing(1, 0.1), flowing(4_000, 3.0));
    }

    #[test]
    fn what_comes_from_outside_is_bounded_and_harmless() {
        let why = format!("a\nb {}", "ä".repeat(10_000));
        let said = Standing { broker: wrong("no connection to the broker", &why, 0.0), ..well() }.sentence();
        assert!(said.len() < 600 && !said.contains('\n'), "{said}");
    }

    #[test]
    fn rows_are_told_by_two_digits() {
        for (rows, said) in [
            (2, "2 rows"),
            (99, "99 rows"),
            (100, "about 100 rows"),
            (123_456, "about 120,000 rows"),
            (u64::MAX, "about 18,000,000,000,000,000,000 rows"),
        ] {
            assert_eq!(about(rows), said);
        }
    }
}
