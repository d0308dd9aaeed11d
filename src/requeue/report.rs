//! What became of the entries of a request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::flush::quarantine::{Id, Place};

/// Most entries named in a report; the counts cover all.
const MAX_NOTES: usize = 100;

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All it held has entered the ring.
    Entered,
    /// Newer rows are known of some of its rows.
    Superseded {
        /// Rows that have entered all the same.
        entered: usize,
        /// Rows it holds.
        of: usize,
    },
    /// It cannot become a row.
    Stays(String),
    /// Work ended before it.
    NotReached,
}

impl Outcome {
    /// Whether the entry leaves the quarantine.
    pub fn leaves(&self, drop_superseded: bool) -> bool {
        match self {
            Self::Entered => true,
            Self::Superseded { .. } => drop_superseded,
            Self::Stays(_) | Self::NotReached => false,
        }
    }
}

/// An entry that did not simply enter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RequeueNote)]
pub struct Note {
    /// The entry.
    pub id: String,
    /// What happened, in words.
    pub what: String,
}

/// The answer to a request to put entries back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RequeueReport)]
pub struct Report {
    /// Entries meant that the request could have come to, those of later requests included.
    pub matched: u64,
    /// Entries that left the quarantine, because all they held is durable in the ring.
    pub requeued: u64,
    /// Rows that have entered the ring.
    pub rows: u64,
    /// Entries that stay, because newer rows are known of all or some of their rows.
    pub superseded: u64,
    /// The same, but taken out, as was asked for.
    pub superseded_dropped: u64,
    /// Entries that stay, because they still cannot become rows.
    pub unfit: u64,
    /// Entries that were not worked on, because work was stopped.
    pub not_reached: u64,
    /// The first entries that did not simply enter.
    pub notes: Vec<Note>,
    /// Entries meant that are older than those of this request.
    pub remaining: u64,
    /// Where the next request goes on; none when nothing remains or work was stopped.
    pub cursor: Option<String>,
    /// Whether the entries that this request was to go on with have been pushed out.
    pub moved_on: bool,
    /// Why work was stopped.
    pub stopped: Option<String>,
}

impl Report {
    /// Stops the work; the first reason stays.
    pub(super) fn stop(&mut self, why: &str) {
        self.stopped.get_or_insert_with(|| why.to_owned());
    }

    /// Counts an entry.
    pub(super) fn count(&mut self, id: Id, outcome: Outcome, drop_superseded: bool) {
        let what = match outcome {
            Outcome::Entered => {
                self.requeued += 1;
                return;
            }
            Outcome::NotReached => {
                self.not_reached += 1;
                return;
            }
            Outcome::Superseded { entered, of } => {
                let fate = if drop_superseded { "dropped" } else { "stays" };
                *(if drop_superseded { &mut self.superseded_dropped } else { &mut self.superseded }) += 1;
                match (entered, of) {
                    (0, 1) => format!("superseded: a newer row of its table, time and symbols is known; {fate}"),
                    (0, _) => {
                        format!("superseded: newer rows of the table, times and symbols of its rows are known; {fate}")
                    }
                    _ => {
                        format!("{entered} of its {of} rows requeued, the others are superseded by newer ones; {fate}")
                    }
                }
            }
            Outcome::Stays(why) => {
                self.unfit += 1;
                format!("stays: {why}")
            }
        };
        if self.notes.len() < MAX_NOTES {
            self.notes.push(Note { id: id.to_string(), what });
        }
    }

    /// Says what remains behind so many entries, the last of which lies there.
    pub(super) fn finish(&mut self, passed: u64, last: Option<Place>) {
        self.remaining = self.matched.saturating_sub(passed);
        let goes_on = self.remaining > 0 && self.stopped.is_none();
        self.cursor = last.filter(|_| goes_on).map(|place| place.to_string());
    }

    /// Adds what became of further entries.
    pub fn add(&mut self, more: Self) {
        self.requeued += more.requeued;
        self.rows += more.rows;
        self.superseded += more.superseded;
        self.superseded_dropped += more.superseded_dropped;
        self.unfit += more.unfit;
        self.not_reached += more.not_reached;
        let room = MAX_NOTES.saturating_sub(self.notes.len());
        self.notes.extend(more.notes.into_iter().take(room));
        self.matched = self.matched.max(more.matched);
        self.remaining = more.remaining;
        self.cursor = more.cursor;
        self.moved_on |= more.moved_on;
        self.stopped = more.stopped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> Id {
        format!("{seq}-0-00000000").parse().unwrap()
    }

    #[test]
    fn a_report_says_what_stays_and_where_to_go_on() {
        let mut report = Report { matched: 5, ..Report::default() };
        report.count(id(3), Outcome::Entered, false);
        report.count(id(2), Outcome::Superseded { entered: 0, of: 1 }, false);
        report.count(id(1), Outcome::Stays("no".into()), false);
        let last = Some(Place { file: 1, at: 80 });
        report.finish(3, last);
        assert_eq!((report.requeued, report.superseded, report.unfit, report.remaining), (1, 1, 1, 2));
        assert_eq!((report.cursor.as_deref(), report.notes.len()), (Some("1-80"), 2));
        report.stop("full");
        report.finish(3, last);
        assert_eq!(report.cursor, None, "whoever was stopped has no place to go on at");
    }

    #[test]
    fn only_what_is_durable_elsewhere_or_given_up_leaves() {
        assert!(Outcome::Entered.leaves(false));
        let superseded = Outcome::Superseded { entered: 1, of: 2 };
        assert!(!superseded.leaves(false) && superseded.leaves(true));
        assert!(!Outcome::Stays(String::new()).leaves(true) && !Outcome::NotReached.leaves(true));
    }

    #[test]
    fn notes_are_bounded() {
        let mut report = Report::default();
        (0..1_000).for_each(|seq| report.count(id(seq), Outcome::Stays("no".into()), false));
        assert_eq!((report.unfit, report.notes.len()), (1_000, MAX_NOTES));
    }
}
