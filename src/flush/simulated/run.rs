//! One run: real lanes and a real ring on a simulated medium, against the simulated database, from one seed.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use fastrand::Rng;

use super::{
    check,
    database::lane_of,
    outside::{Questions, Simulated, Watch, Wire},
    world::{Shared, TIMEOUT, Weather, World},
};
use crate::{
    clock::{Clock, SharedClock},
    entry::encode_rows,
    flush::{
        AllowNarrow, Ask, Connection, FlushContext, Flusher, Heartbeats, Secrets, Sql, begin_lanes, breaker::Standing,
        encoder, lane, lane::Lane, late::GRACE_TIMEOUTS, letters, quarantine::Quarantine, recovered, replay::ReplayAsk,
        shared,
    },
    marks::Seq,
    point::{Row, Timestamp, Value},
    ring::{Kind, Part, format, layout, media::MemoryMedia, still::Still, table_hash},
    settings::{self, units::Bytes},
    since::Since,
    sync::lock,
};

/// Tables of the runs; with two and with three lanes some of them share one.
pub const TABLES: [&str; 4] = ["a", "b", "c", "d"];
/// Records that arrive at once in a burst.
const BURST: usize = 12;
/// Rounds of healthy weather after which everything has to be at rest.
const MOST_ROUNDS: usize = 3_000;

/// What may happen in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for itself")]
pub struct Plan {
    /// Whether some rows are refused for good.
    pub bad_rows: bool,
    /// Whether tables refuse everything for a while.
    pub hopeless: bool,
    /// Whether old rows are replayed often.
    pub replays: bool,
    /// Whether operators drop tables.
    pub drops: bool,
}

/// A row as it went into the ring.
#[derive(Debug, Clone)]
pub struct Said {
    pub table: &'static str,
    pub identity: super::database::Identity,
    pub value: u64,
    pub bad: bool,
}

/// A life of the program.
struct Life {
    still: Still,
    flusher: Flusher,
    lanes: Vec<Lane>,
}

/// A run.
pub struct Run {
    pub world: Shared,
    rng: Rng,
    plan: Plan,
    media: Arc<MemoryMedia>,
    life: Option<Life>,
    pub quarantine: settings::Quarantine,
    resend_window: Duration,
    on_disk: settings::Ring,
    /// Rows by record, as in the ring.
    pub said: BTreeMap<Seq, Vec<Said>>,
    next_value: u64,
    checked: Seq,
    /// Times whose rows an operator dropped, and the newest value then: older rows of that time may be gone.
    pub dropped: BTreeMap<(&'static str, i64), u64>,
    /// Tables that an operator dropped, and the newest value of each that had been sent by then: those before may be gone.
    pub gone: BTreeMap<&'static str, u64>,
}

/// A client for what a run never asks.
fn nobody() -> Sql {
    static SQL: OnceLock<Sql> = OnceLock::new();
    let make = || {
        let questdb = settings::Questdb { conf: "http::addr=127.0.0.1:1;".into(), ..settings::Questdb::default() };
        Sql::new(Arc::new(Connection::new(&questdb, Secrets::default()).unwrap())).unwrap()
    };
    SQL.get_or_init(make).clone()
}

impl Run {
    pub fn new(seed: u64, plan: Plan, directory: &Path, tells: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let seconds = if plan.replays { 20 } else { [0, 20, 60, 60, 60, 120][rng.usize(..6)] };
        let resend_window = Duration::from_secs(seconds);
        let weather = Weather {
            failing: [0, 5, 20, 50][rng.usize(..4)],
            silent: [0, 0, 5, 20][rng.usize(..4)],
            names_lines: rng.bool(),
            unsynced: resend_window,
            grace: TIMEOUT * GRACE_TIMEOUTS,
        };
        let world = Arc::new(Mutex::new(World::new(rng.fork(), weather, tells)));
        let media = MemoryMedia::with(vec![0; (layout::DATA_START + layout::MIN_CAPACITY) as usize]);
        format(&media, seed).unwrap();
        let path = directory.join("quarantine");
        for end in ["", ".old"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
        let mut run = Self {
            world,
            rng,
            plan,
            media: Arc::new(media),
            life: None,
            quarantine: settings::Quarantine { path, size: Bytes(0) },
            resend_window,
            on_disk: settings::Ring::default(),
            said: BTreeMap::new(),
            next_value: 1,
            checked: Seq(1),
            dropped: BTreeMap::new(),
            gone: BTreeMap::new(),
        };
        run.begin();
        run
    }

    fn life(&mut self) -> &mut Life {
        self.life.as_mut().unwrap()
    }

    fn lanes(&mut self) -> &mut [Lane] {
        &mut self.life().lanes
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        lock(&self.world).tell(what);
    }

    /// A life begins.
    fn begin(&mut self) {
        let count = self.rng.usize(1..=3);
        lock(&self.world).begin_life(count);
        let clock: SharedClock = Arc::clone(&lock(&self.world).clock) as SharedClock;
        let heartbeats = Heartbeats::new(Arc::clone(&clock));
        let media = Box::new(Arc::clone(&self.media));
        let committer = heartbeats.register("committer");
        let still = Still::open(media, &self.on_disk, self.resend_window, Arc::clone(&clock), committer).unwrap();
        let ring = still.ring.clone();
        let allow_narrow: AllowNarrow = Arc::new(|_| false);
        let max_rows = [1, 3, 10, 50_000][self.rng.usize(..4)];
        let strategy = if self.rng.bool() { settings::Strategy::Dynamic } else { settings::Strategy::Hybrid };
        let context = FlushContext {
            ring: ring.clone(),
            questdb: settings::Questdb { resend_window: self.resend_window, ..settings::Questdb::default() },
            batch: settings::Batch { strategy, max_lanes: count, max_rows, ..settings::Batch::default() },
            quarantine: self.quarantine.clone(),
            allow_narrow,
            allowance: Arc::default(),
            refused_rows: Arc::default(),
            clock: Arc::clone(&clock),
            heartbeats,
            seed: self.rng.u64(..),
        };
        let (quarantine, held) = Quarantine::open(&self.quarantine).unwrap();
        let quarantine = Arc::new(quarantine);
        let exceptions = recovered(&ring, &held);
        let letters = letters(&context, &exceptions, &quarantine);
        begin_lanes(&ring, count);
        let marks = ring.marks();
        self.said.retain(|seq, _| *seq < marks.appended.seq);
        self.checked = marks.settled.seq;
        let watch = Box::new(Watch { world: Arc::clone(&self.world), begun: None });
        let shared = Arc::new(shared::Shared::new(count, context.batch.clone(), Arc::clone(&clock), watch));
        let asked: Arc<dyn Ask> = Arc::new(Questions { world: Arc::clone(&self.world) });
        let lanes = (0..count).map(|number| {
            let encoder = encoder(&context, &asked, &letters);
            let wire = Wire {
                world: Arc::clone(&self.world),
                lane: number,
                in_flight: None,
                next: None,
                unsent: VecDeque::new(),
            };
            let pace = Simulated { world: Arc::clone(&self.world) };
            lane(&context, number, encoder, &shared, TIMEOUT, Box::new(wire), Box::new(pace))
        });
        let lanes = lanes.collect();
        self.tell(|| {
            let (tail, safe, settled, head) = (marks.tail.seq, marks.safe.seq, marks.settled.seq, marks.appended.seq);
            format!("a life with {count} lanes begins: {tail} ≤ {safe} ≤ {settled} ≤ {head}, at most {max_rows} rows")
        });
        let flusher = Flusher {
            shared,
            ring,
            quarantine,
            exceptions,
            sql: nobody(),
            clock,
            run_began: marks.appended,
            looking: Mutex::default(),
            threads: Mutex::default(),
        };
        self.life = Some(Life { still, flusher, lanes });
    }

    /// The life ends, in the middle of whatever it was about; perhaps with the machine.
    fn end(&mut self) {
        let machine = self.rng.bool();
        self.tell(|| if machine { "a power cut" } else { "the program is killed" }.to_owned());
        self.life = None;
        if machine {
            let mut rng = self.rng.fork();
            self.media = Arc::new(MemoryMedia::with(self.media.after_power_cut(|| rng.bool())));
        }
    }

    fn append(&mut self) {
        let table = TABLES[self.rng.usize(..TABLES.len())];
        let rows = self.rng.usize(1..4);
        let (mut out, mut said) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let time = i64::from(self.rng.u8(1..4)) * 1_000;
            let mut symbols = vec![("device".to_owned(), ["x", "y"][self.rng.usize(..2)].to_owned())];
            if self.rng.u8(..12) == 0 {
                symbols.push((["site", "unit"][self.rng.usize(..2)].to_owned(), "s".to_owned()));
            }
            let bad = self.plan.bad_rows && self.rng.u8(..20) == 0;
            let value = self.next_value;
            self.next_value += 1;
            let mut fields = vec![("v".into(), Value::Long(value as i64))];
            if bad {
                fields.push(("bad".into(), Value::Bool(true)));
            }
            out.push(Row {
                time: Some(Timestamp(time)),
                device_time: true,
                symbols: symbols.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
                fields,
                ..Row::default()
            });
            symbols.sort();
            said.push(Said { table, identity: (time, symbols), value, bad });
        }
        let mut body = Vec::new();
        encode_rows(table, &out, &mut body).unwrap();
        let part =
            Part { kind: Kind::Rows, table_hash: table_hash(table), rows: rows as u16, body: &body, ..Part::default() };
        let received = lock(&self.world).clock.now();
        let Ok(appended) = self.life().still.ring.append(&[part], received) else { return };
        self.tell(|| {
            let rows: Vec<_> = said.iter().map(|row| (row.value, &row.identity, row.bad)).collect();
            format!("record {} of {table}: {rows:?}", appended.first)
        });
        self.said.insert(appended.first, said);
    }

    /// Rows enough for requests that follow each other.
    fn burst(&mut self) -> Result<(), String> {
        (0..BURST).for_each(|_| self.append());
        self.commit()
    }

    /// Something happens.
    pub fn step(&mut self) -> Result<(), String> {
        match self.rng.u32(..100) {
            0..18 => self.append(),
            18..20 => self.burst()?,
            20..30 => self.commit()?,
            30..75 => self.turn()?,
            75..85 => self.pass(),
            85..93 => self.trouble(),
            93..95 => self.replay(),
            // What a replay sends again of rows that are safe is not gone through with by the next life.
            95..97 if self.lanes().iter().all(|lane| lane.replay.is_none()) => {
                self.end();
                self.begin();
            }
            97..99 if self.plan.replays => self.replay(),
            _ => self.operate(),
        }
        check::always(self)
    }

    fn commit(&mut self) -> Result<(), String> {
        self.life().still.commit()
    }

    fn turn(&mut self) -> Result<(), String> {
        let lanes = self.lanes().len();
        let lane = self.rng.usize(..lanes);
        self.lanes()[lane].turn();
        let told = lock(&self.world).trace.is_some();
        if told {
            let lane = &self.lanes()[lane];
            let (number, cursor, safe) = (lane.number, lane.reader.mark().seq, lane.encoder.ring.marks().safe.seq);
            let (word, again, late) = (
                lane.breaker.standing().word(),
                lane.again.map(|mark| mark.seq),
                lane.late.from().map(|mark| mark.seq),
            );
            self.tell(|| format!("lane {number} is at {cursor}, {word}, again {again:?}, late {late:?}, safe {safe}"));
        }
        self.poisoned()
    }

    fn poisoned(&mut self) -> Result<(), String> {
        self.life().still.ring.poisoned().map_or(Ok(()), |reason| Err(format!("the ring is poisoned: {reason}")))
    }

    /// Time passes.
    fn pass(&mut self) {
        let longest = [50, 1_000, 10_000, 100_000][self.rng.usize(..4)];
        let by = Duration::from_millis(self.rng.u64(1..longest));
        let mut world = lock(&self.world);
        world.advance(by);
        world.sync();
    }

    fn trouble(&mut self) {
        let down = Duration::from_millis(self.rng.u64(1..20_000));
        let what = self.rng.u32(..10);
        let mut world = lock(&self.world);
        match what {
            0..3 => world.restart(true, down),
            3 => world.restart(false, down),
            4..6 => world.cut(down),
            _ => {
                let (failing, silent) = (self.rng.u32(..10), self.rng.u32(..10));
                world.weather.failing = [0, 5, 20, 50, 100][(failing / 2) as usize];
                world.weather.silent = [0, 0, 0, 5, 30][(silent / 2) as usize];
                let weather = world.weather;
                world.tell(|| format!("{weather:?}"));
            }
        }
    }

    fn replay(&mut self) {
        let ago = Duration::from_secs(self.rng.u64(1..300));
        let tables = if self.rng.bool() { vec![TABLES[self.rng.usize(..TABLES.len())].to_owned()] } else { Vec::new() };
        let ask = ReplayAsk { since: Since::Ago(ago), tables };
        let answer = self.life().flusher.replay(&ask);
        self.tell(|| format!("{ask:?}: {:?}", answer.map(|answer| answer.from)));
    }

    fn operate(&mut self) {
        let table = TABLES[self.rng.usize(..TABLES.len())];
        let time = i64::from(self.rng.u8(1..4)) * 1_000;
        let newest = self.next_value - 1;
        let mut world = lock(&self.world);
        let now = world.now();
        if self.plan.hopeless && self.rng.bool() {
            if !world.database.hopeless.remove(table) {
                world.database.hopeless.insert(table.to_owned());
            }
            world.tell(|| format!("whether table {table} refuses everything changes"));
        } else if self.plan.drops && self.rng.bool() {
            world.tell(|| format!("an operator drops {table}"));
            world.database.drop_table(now, table);
            self.gone.insert(table, world.newest_sent.get(table).copied().unwrap_or(0));
        } else if self.rng.u8(..3) == 0 {
            world.tell(|| format!("an operator drops what {table} has of {time}"));
            world.database.drop_partition(now, table, time);
            self.dropped.insert((table, time), newest);
        }
    }

    /// Nothing goes wrong any more: everything has to come to rest, and to be as if nothing had gone wrong.
    pub fn finish(&mut self) -> Result<(), String> {
        lock(&self.world).heal();
        self.commit()?;
        // What is late is bounded by the next answer that a lane gets: each gets one.
        let mut left = TABLES.to_vec();
        for _ in 0..MOST_ROUNDS {
            left.retain(|table| !self.nudge(table));
            self.commit()?;
            let is_at_rest = (0..self.lanes().len()).all(|at| is_at_rest(&self.lanes()[at]));
            if is_at_rest && left.is_empty() && lock(&self.world).under_way() == 0 {
                return check::finally(self);
            }
            for at in 0..self.lanes().len() {
                self.lanes()[at].turn();
            }
            self.poisoned()?;
            lock(&self.world).advance(Duration::from_millis(200));
            check::always(self)?;
        }
        Err(format!("it does not come to rest: {}", self.state()))
    }

    /// A row by which a table's lane gets an answer once more; false while the ring has no room for it.
    fn nudge(&mut self, table: &'static str) -> bool {
        let value = self.next_value;
        self.next_value += 1;
        let row = Row {
            time: Some(Timestamp(9_000)),
            device_time: true,
            symbols: vec![("device".into(), "z".into())],
            fields: vec![("v".into(), Value::Long(value as i64))],
            ..Row::default()
        };
        let mut body = Vec::new();
        encode_rows(table, &[row], &mut body).unwrap();
        let part = Part { kind: Kind::Rows, table_hash: table_hash(table), rows: 1, body: &body, ..Part::default() };
        let received = lock(&self.world).clock.now();
        let Ok(appended) = self.life().still.ring.append(&[part], received) else { return false };
        let identity = (9_000, vec![("device".to_owned(), "z".to_owned())]);
        self.said.insert(appended.first, vec![Said { table, identity, value, bad: false }]);
        true
    }

    fn state(&mut self) -> String {
        let lanes = self.lanes().iter().map(|lane| {
            let (late, breaker) = (&lane.late, lane.breaker.standing().word());
            format!("cursor {:?} flight {:?} late {late:?} {breaker}", lane.reader.mark(), lane.flight)
        });
        let lanes = lanes.collect::<Vec<_>>();
        format!("{:?}; {lanes:?}; {} under way", self.life().still.ring.marks(), lock(&self.world).under_way())
    }

    /// What the checks look at.
    pub fn parts(&self) -> (&crate::ring::Ring, &Flusher, &[Lane]) {
        let life = self.life.as_ref().unwrap();
        (&life.still.ring, &life.flusher, &life.lanes)
    }

    /// Up to where the watermark has been checked.
    pub fn checked(&mut self) -> &mut Seq {
        &mut self.checked
    }

    pub fn checked_at(&self) -> Seq {
        self.checked
    }

    pub fn is_hopeless_possible(&self) -> bool {
        self.plan.hopeless
    }

    /// Whether a lane has tables, and so gets answers.
    pub fn serves(lane: usize, lanes: usize) -> bool {
        TABLES.iter().any(|table| lane_of(table, lanes) == lane)
    }
}

fn is_at_rest(lane: &Lane) -> bool {
    let is_through = lane.reader.mark().pos >= lane.durable() && lane.flight.is_empty() && lane.barrier.is_none();
    let owes_nothing = lane.late.from().is_none() || !Run::serves(lane.number, lane.lanes.count());
    is_through && owes_nothing && !lane.rewind && lane.breaker.standing() == Standing::Closed && !lane.rewind_is_due()
}
