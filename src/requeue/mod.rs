//! Putting what is in quarantine back into the ring: dead letters decoded by the present configuration, and rows as they are.
//!
//! An entry leaves the quarantine only once what it held is durable in the ring, so a crash in between leaves it in both; put back a
//! second time it is found to be there. A row is not put back where a newer one of its table, microsecond and symbols is known: in the
//! part of the ring that may not be in QuestDB yet, in QuestDB, or coming in meanwhile. (QuestDB does not tell when a row was recorded,
//! so any row there counts as newer.)

mod newer;
mod report;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use thiserror::Error;

pub use self::report::{Note, Report};
use self::{newer::Origin, report::Outcome};
use crate::{
    flush::{
        Outflow,
        quarantine::{Cursor, Entry, Id, Kind, Owned, Place, Selection, view::row_of},
    },
    ingest::{
        Ingest,
        again::{Again, Entered, Letter, Watch},
    },
    marks::Pos,
    moment::of_row,
    point::{Row, RowNotes},
    sync::try_lock,
};

/// Most entries a request works on.
pub const MAX_BATCH: usize = 1_000;
/// A request takes no further entries once their bodies have so many bytes.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Most tables a request asks QuestDB about.
const MAX_TABLES: usize = 64;
/// The ring is filled no further than this by what is put back: rows that come in now, and those not stored yet, come first.
const MAX_FILL: f64 = 0.9;
/// How long looking for newer rows may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the ring may take to make durable what it has taken.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is to be put back.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Which entries.
    pub selection: Selection,
    /// Only entries before this place: where the answer before ended.
    pub before: Option<Cursor>,
    /// At most so many entries; none for [`MAX_BATCH`].
    pub limit: Option<usize>,
    /// Take entries out whose rows are all superseded.
    pub drop_superseded: bool,
}

/// Why nothing was put back, or what was put back is in quarantine still.
#[derive(Debug, Error)]
pub enum RequeueError {
    /// Another request is being worked on.
    #[error("another requeue is under way")]
    Busy,
    /// The quarantine cannot be read or written.
    #[error("cannot read or write the quarantine: {0}")]
    Quarantine(#[from] io::Error),
    /// The ring has failed or did not become durable in time.
    #[error("the ring: {0}; the entries stay in quarantine")]
    Ring(String),
}

/// Puts entries back.
pub struct Requeue {
    out: Outflow,
    ingest: Arc<Ingest>,
    pub(crate) busy: Mutex<()>,
}

/// An entry and what it is to become.
struct Candidate {
    place: Place,
    id: Id,
    /// The rows that are to enter.
    rows: Again,
    /// Whether it is a message that was decoded again. Its rows may join what is known of their
    /// moments, such as the rest of the message.
    is_letter: bool,
    /// Moments of its other rows, for which newer entries of the same request stand.
    claimed: Vec<u64>,
    outcome: Option<Outcome>,
}

/// The entries of a request.
#[derive(Default)]
struct Gathered {
    /// The newest first.
    candidates: Vec<Candidate>,
    /// Where the row of each moment comes from that is to enter.
    origins: HashMap<u64, Origin>,
    /// Entries come to.
    passed: u64,
    /// The last of them.
    last: Option<Place>,
}

impl Candidate {
    fn may_enter(&self) -> bool {
        self.outcome.is_none() && self.rows.rows().next().is_some()
    }

    fn row_count(&self) -> usize {
        self.rows.rows().count() + self.claimed.len()
    }
}

impl Requeue {
    /// Puts back what that way out has set aside, through this way in.
    pub fn new(out: Outflow, ingest: &Arc<Ingest>) -> Self {
        Self { out, ingest: Arc::clone(ingest), busy: Mutex::new(()) }
    }

    /// Puts a batch of entries back, the newest first, so that of several rows of one moment the newest enters. Blocks.
    pub fn run(&self, ask: &Ask) -> Result<Report, RequeueError> {
        let _alone = try_lock(&self.busy).ok_or(RequeueError::Busy)?;
        let mut report = Report::default();
        let Gathered { mut candidates, origins, passed, last } = self.gather(ask, &mut report)?;
        let watch = self.ingest.watch(origins.keys().copied());
        self.look_for_newer(&watch, &mut candidates, &origins, &mut report);
        // The operator may have changed a table a moment ago.
        self.out.look_afresh();
        let end = self.enter(&watch, &mut candidates, &mut report);
        if let Some(end) = end {
            self.await_durable(end)?;
        }
        settle_claims(&watch, &mut candidates);
        drop(watch);
        let leaving: Vec<_> = candidates
            .iter()
            .filter(|candidate| candidate.outcome.as_ref().is_some_and(|outcome| outcome.leaves(ask.drop_superseded)))
            .map(|candidate| (candidate.place, candidate.id))
            .collect();
        self.out.quarantine.take_out(&leaving)?;
        for candidate in candidates {
            if let Some(outcome) = candidate.outcome {
                report.count(candidate.id, outcome, ask.drop_superseded);
            }
        }
        report.finish(passed, last);
        Ok(report)
    }

    /// Reads the entries meant, as far as a request goes, and what they would become; and where each moment's newest row comes from.
    fn gather(&self, ask: &Ask, report: &mut Report) -> Result<Gathered, RequeueError> {
        let snapshot = self.out.quarantine.snapshot()?;
        let limit = ask.limit.unwrap_or(MAX_BATCH).clamp(1, MAX_BATCH);
        let newest = snapshot.newest(&ask.selection, ask.before, limit)?;
        report.moved_on = newest.moved_on;
        report.matched = newest.places.len() as u64 + newest.more;
        let mut gathered = Gathered::default();
        let (mut bytes, mut tables) = (0, HashSet::new());
        for place in &newest.places {
            if bytes >= MAX_BATCH_BYTES || tables.len() >= MAX_TABLES {
                break;
            }
            gathered.passed += 1;
            gathered.last = Some(*place);
            let Some(owned) = snapshot.load(*place)? else { continue };
            bytes += owned.entry().body.len();
            let candidate = self.candidate(*place, &owned, &mut gathered.origins);
            tables.extend(candidate.rows.tables.iter().map(|(table, _)| table.clone()));
            gathered.candidates.push(candidate);
        }
        Ok(gathered)
    }

    fn candidate(&self, place: Place, owned: &Owned, origins: &mut HashMap<u64, Origin>) -> Candidate {
        let entry = owned.entry();
        let (rows, outcome) = match self.rows_of(&entry) {
            Ok(rows) => (rows, None),
            Err(why) => (Again::default(), Some(Outcome::Stays(why))),
        };
        let is_letter = entry.key.is_letter();
        let mut candidate = Candidate { place, id: Id::from(&entry), rows, is_letter, claimed: Vec::new(), outcome };
        let origin = Origin::of(&entry, self.out.ring.id());
        let Candidate { rows: Again { tables }, claimed, .. } = &mut candidate;
        for (table, rows) in tables {
            rows.retain(|row| {
                let moment = of_row(table, row);
                // Whoever came first is newer.
                let keep = *origins.entry(moment).or_insert(origin) == origin;
                if !keep {
                    claimed.push(moment);
                }
                keep
            });
        }
        candidate
    }

    /// The rows that an entry holds, or that its message holds by now.
    fn rows_of(&self, entry: &Entry<'_>) -> Result<Again, String> {
        match Kind::from(entry) {
            Kind::Row => {
                // What was noted of its first life is counted already.
                let rows = row_of(entry, |row| vec![Row { notes: RowNotes::default(), ..row.to_row() }]);
                let rows = rows.ok_or("what it holds does not read as a row")?;
                Ok(Again::of(entry.origin.into(), rows))
            }
            Kind::DeadLetter => {
                let letter = Letter {
                    seq: entry.key.seq,
                    received: entry.received,
                    topic: entry.origin,
                    payload: entry.body,
                    is_cut: entry.is_cut(),
                    row_time: entry.row_time,
                };
                self.ingest.decode_again(&letter, self.out.clock.now())
            }
        }
    }

    /// Enters what nothing speaks against; returns the place behind the last of it.
    fn enter(&self, watch: &Watch<'_>, candidates: &mut [Candidate], report: &mut Report) -> Option<Pos> {
        let mut last = None;
        for candidate in candidates.iter_mut().filter(|candidate| candidate.may_enter()) {
            if report.stopped.is_some() {
                candidate.outcome = Some(Outcome::NotReached);
                continue;
            }
            let of = candidate.row_count();
            let entered = if self.has_room() { self.enter_tables(watch, &candidate.rows) } else { Entered::Full };
            candidate.outcome = Some(match entered {
                Entered::Appended { end, rows } => {
                    last = Some(end);
                    report.rows += rows as u64;
                    if rows == of { Outcome::Entered } else { Outcome::Superseded { entered: rows, of } }
                }
                Entered::Superseded => Outcome::Superseded { entered: 0, of },
                Entered::Unfit(why) => Outcome::Stays(why),
                Entered::Full => {
                    report.stop("the ring is too full; try again once QuestDB has taken more of it");
                    Outcome::NotReached
                }
                Entered::Failed(why) => {
                    report.stop(&why);
                    Outcome::NotReached
                }
            });
        }
        last
    }

    /// Enters an entry's rows table by table. What has entered when one is refused is known when the
    /// entry is put back again.
    fn enter_tables(&self, watch: &Watch<'_>, of: &Again) -> Entered {
        let mut all = Entered::Superseded;
        for (table, rows) in of.tables.iter().filter(|(_, rows)| !rows.is_empty()) {
            all = match (watch.enter(table, rows, self.out.clock.now()), all) {
                (Entered::Appended { end, rows }, Entered::Appended { rows: before, .. }) => {
                    Entered::Appended { end, rows: rows + before }
                }
                (entered @ Entered::Appended { .. }, _) | (Entered::Superseded, entered) => entered,
                (refused, _) => return refused,
            };
        }
        all
    }

    /// Whether the ring has room without pushing anything out or holding anything up.
    fn has_room(&self) -> bool {
        let (marks, capacity) = (self.out.ring.marks(), self.out.ring.capacity_bytes());
        let used = marks.appended.pos.0.saturating_sub(marks.safe.pos.0);
        (used as f64) < capacity as f64 * MAX_FILL
    }

    fn await_durable(&self, end: Pos) -> Result<(), RequeueError> {
        let deadline = Instant::now() + DURABLE_TIMEOUT;
        while self.out.ring.marks().durable.pos < end {
            if let Some(reason) = self.out.ring.poisoned() {
                return Err(RequeueError::Ring(reason));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RequeueError::Ring("its commit takes too long".to_owned()));
            }
            self.out.ring.wait_durable(Pos(end.0 - 1), left.min(Duration::from_secs(1)));
        }
        Ok(())
    }
}

/// Gives their outcome to entries whose rows stood back for newer entries: superseded, if those have entered.
fn settle_claims(watch: &Watch<'_>, candidates: &mut [Candidate]) {
    let has_entered = |candidate: &&Candidate| {
        matches!(candidate.outcome, Some(Outcome::Entered | Outcome::Superseded { entered: 1.., .. }))
    };
    let rows = candidates.iter().filter(has_entered).flat_map(|candidate| candidate.rows.rows());
    let entered: HashSet<u64> = rows.map(|(table, row)| of_row(table, row)).collect();
    for candidate in candidates.iter_mut().filter(|candidate| !candidate.claimed.is_empty()) {
        if matches!(candidate.outcome, Some(Outcome::Stays(_) | Outcome::NotReached)) {
            continue;
        }
        if !candidate.claimed.iter().all(|moment| entered.contains(moment) || watch.is_superseded(*moment)) {
            let why = "a newer entry of the same table, time and symbols comes first, and has not entered";
            candidate.outcome = Some(Outcome::Stays(why.to_owned()));
        } else if candidate.outcome.is_none() {
            candidate.outcome = Some(Outcome::Superseded { entered: 0, of: candidate.row_count() });
        }
    }
}
