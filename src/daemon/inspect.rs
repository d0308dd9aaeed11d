//! What the control interface may ask of the running daemon.

use std::{
    path::Path,
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use super::{
    outlook::Outlook,
    reloaded::Reloaded,
    resizing::Resizing,
    ring_look::RingLook,
    silence::{Patience, sentence},
    space::levels,
    spells::{Spells, Wrong},
};
use crate::{
    clock::{Clock, SystemClock, boot_id},
    control::api::{
        ClockStatus, ConfigStatus, Inspect, MachineStatus, QuarantineAccess, Rates, ResizeRefusal, ResizeStatus,
        RingInfoError, Status, TroubleStatus,
    },
    files,
    flush::{
        Flusher, Health,
        refused_rows::RefusedRows,
        replay::{ReplayAnswer, ReplayAsk, ReplayError},
    },
    ingest::{Ingest, SourceStatus},
    latest::Latest,
    lookup::Lookup,
    marks::{Seq, State},
    mqtt::{SharedBroker, status::State as Session},
    observe::{
        heartbeat::Heartbeats,
        process::Process,
        sentence::{Neighbour, Standing},
        systemd::ServiceManager,
    },
    republish::SharedRepublish,
    requeue::Requeue,
    ring::{
        Ledger, Ring,
        inspect::{RingInfo, live_info},
    },
    sync::{lock, read},
};

/// Rates are measured over at least this long.
const RATE_SPAN: Duration = Duration::from_secs(2);
/// How long a request may read the ring; `forebay ring info` waits 10 s for the answer.
const RING_INFO_SPAN: Duration = Duration::from_secs(5);

/// Looks into every part of the daemon.
pub struct Inspector {
    ring: Ring,
    latest: Arc<Latest>,
    lookup: Option<Arc<Lookup>>,
    republish: Option<Arc<SharedRepublish>>,
    broker: Arc<SharedBroker>,
    flusher: Arc<Flusher>,
    ingest: Arc<Ingest>,
    requeue: Arc<Requeue>,
    heartbeats: Heartbeats,
    outlook: Arc<Outlook>,
    started: Instant,
    boot_id: String,
    rates: Mutex<Sample>,
    /// Held while the ring file is read for a request.
    reading_ring: RingLook,
    watched: Watched,
    spells: Mutex<Spells>,
    /// The line that the service manager was told last.
    told: Mutex<String>,
}

/// What is known of sources beside what they brought.
#[derive(Debug, Default)]
pub struct Watched {
    /// Rows set aside on the way to QuestDB.
    pub refused_rows: Arc<RefusedRows>,
    /// How long each may be silent.
    pub patience: Arc<RwLock<Patience>>,
    /// What has become of reloads.
    pub reloaded: Arc<Reloaded>,
    /// What has become of a change of the ring's size.
    pub resizing: Arc<Resizing>,
}

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    ledger: Ledger,
    rates: Rates,
}

impl Inspector {
    /// An inspector of these parts.
    pub fn new(
        ring: &Ring,
        latest: &Arc<Latest>,
        broker: &Arc<SharedBroker>,
        flusher: &Arc<Flusher>,
        ingest: &Arc<Ingest>,
        heartbeats: &Heartbeats,
        outlook: &Arc<Outlook>,
    ) -> Self {
        let now = Instant::now();
        Self {
            rates: Mutex::new(Sample { at: now, ledger: ring.ledger(), rates: Rates::default() }),
            ring: ring.clone(),
            latest: Arc::clone(latest),
            lookup: None,
            republish: None,
            broker: Arc::clone(broker),
            flusher: Arc::clone(flusher),
            ingest: Arc::clone(ingest),
            requeue: Arc::new(Requeue::new(flusher.outflow(), ingest)),
            heartbeats: heartbeats.clone(),
            outlook: Arc::clone(outlook),
            started: now,
            reading_ring: RingLook::default(),
            watched: Watched::default(),
            spells: Mutex::default(),
            told: Mutex::default(),
            boot_id: format!("{:032x}", u128::from_be_bytes(boot_id())),
        }
    }

    /// With what asks the database, and what publishes values again where that is on.
    #[must_use]
    pub fn with(self, lookup: Arc<Lookup>, republish: Option<Arc<SharedRepublish>>, watched: Watched) -> Self {
        Self { lookup: Some(lookup), republish, watched, ..self }
    }

    /// What sources have brought; nothing where none is watched for silence.
    pub fn sources_if_watched(&self) -> Option<Vec<SourceStatus>> {
        let is_needed = read(&self.watched.patience).is_needed();
        is_needed.then(|| self.sources())
    }

    fn sources(&self) -> Vec<SourceStatus> {
        let mut sources = self.ingest.status();
        for source in &mut sources {
            source.refused_rows = self.watched.refused_rows.of(source.id);
        }
        read(&self.watched.patience).judge(&mut sources, self.started.elapsed());
        sources
    }

    /// Rates since the sample before, at least [`RATE_SPAN`] ago.
    fn rates(&self, ledger: &Ledger) -> Rates {
        let mut sample = lock(&self.rates);
        let elapsed = sample.at.elapsed();
        if elapsed >= RATE_SPAN {
            let rates = Rates::between(&sample.ledger, ledger, elapsed);
            *sample = Sample { at: Instant::now(), ledger: *ledger, rates };
        }
        sample.rates
    }

    /// Takes note of what is wrong now, and tells the service manager how the daemon stands where
    /// that is news.
    pub fn note(&self) {
        let sentence = self.standing(&self.trouble()).sentence();
        let mut told = lock(&self.told);
        if *told != sentence {
            ServiceManager.status(&sentence);
            *told = sentence;
        }
    }

    fn standing(&self, trouble: &TroubleStatus) -> Standing {
        let forecast = self.outlook.forecast(self.flusher.health().is_away());
        let levels = levels(&self.ring);
        let used = levels.appended.saturating_sub(levels.kept) as f64 / self.ring.capacity_bytes() as f64;
        Standing {
            halted: self.ring.halted(),
            late: self.heartbeats.overdue(),
            full: self.ring.is_full().then(|| self.ring.on_full().consequence()),
            used,
            full_in_s: forecast.full_in_s,
            broker: self.broker_now(trouble.broker_s),
            database: self.database_now(trouble.database_s),
            waiting: self.ring.ledger().pending,
            lag_s: self.outlook.lag().as_secs_f64(),
            is_without_source: self.watched.reloaded.has_no_source(),
            reload_refused: self.watched.reloaded.is_refused(),
        }
    }

    fn broker_now(&self, away_s: Option<f64>) -> Neighbour {
        if self.broker.is_connected() {
            return Neighbour::Fine;
        }
        let Some(error) = self.broker.error() else { return Neighbour::Connecting };
        let why = error.strip_prefix("the broker can't be reached: ").unwrap_or(&error).to_owned();
        Neighbour::Wrong { what: "no connection to the broker", why: Some(why), for_s: away_s.unwrap_or_default() }
    }

    fn database_now(&self, wrong_s: Option<f64>) -> Neighbour {
        let (what, is_told) = match self.flusher.health() {
            Health::Ok | Health::Slow => return Neighbour::Fine,
            Health::Connecting => return Neighbour::Connecting,
            Health::Lagging => ("QuestDB takes rows faster than it applies them", true),
            Health::Suspended => ("QuestDB takes rows of a table that it has suspended", true),
            Health::Blocked => ("some rows cannot go to QuestDB", false),
            Health::Overloaded => ("QuestDB answers that it cannot now", false),
            Health::Unreachable => ("QuestDB does not answer", false),
            Health::Refused => ("QuestDB refuses the credentials", true),
            Health::Misconfigured => ("QuestDB cannot be used as it is configured", false),
        };
        let why = self.flusher.status().error.filter(|_| !is_told);
        let why = why.map(|why| why.strip_prefix("QuestDB is not reachable: io: ").unwrap_or(&why).to_owned());
        Neighbour::Wrong { what, why, for_s: wrong_s.unwrap_or_default() }
    }

    fn trouble(&self) -> TroubleStatus {
        let database = self.flusher.health();
        let wrong = Wrong {
            broker: !self.broker.is_connected(),
            database: !matches!(database, Health::Ok | Health::Slow | Health::Connecting),
            ring_full: self.ring.is_full(),
        };
        lock(&self.spells).note(SystemClock.since_boot(), wrong)
    }

    fn machine(ring: &Path) -> MachineStatus {
        let Process { resident_bytes: memory_bytes, cpu_s, .. } = Process::read();
        let disk = files::place::disk(ring);
        MachineStatus {
            memory_bytes,
            cpu_s,
            ring_disk_free_bytes: disk.map(|disk| disk.free_bytes),
            ring_disk_bytes: disk.map(|disk| disk.size_bytes),
        }
    }

    fn warnings(&self, status: &Status) -> Vec<String> {
        let mut warnings = self.watched.reloaded.warnings();
        warnings.extend(status.flush.warnings.iter().cloned());
        if let Some(ring) = &status.ring {
            if let Some(reason) = &ring.poisoned {
                warnings.push(format!("the ring is poisoned: {reason}"));
            }
            if let Some(reason) = &ring.halted {
                warnings.push(format!("nothing is taken in or acknowledged: {reason}"));
            }
            if ring.full {
                warnings.push(format!("the ring is full, and {}", ring.on_full.consequence()));
            }
            for (first, last) in &ring.gaps {
                warnings.push(format!("damage: records {first} to {last} of the ring are lost"));
            }
        }
        for source in &status.sources {
            warnings.extend(source.silent.then(|| sentence(source)));
            let name = &source.name;
            warnings.extend(source.never_seen.iter().map(|member| {
                format!(
                    "source.{name}: {member} was in none of its readings since the start; put its name right, have the device send it, or remove the key"
                )
            }));
        }
        if let Some(late) = self.heartbeats.overdue() {
            warnings.push(format!("{} is past its deadline while waiting on {}", late.name, late.waits_on));
        }
        warnings
    }
}

impl Inspect for Inspector {
    fn state_of(&self, seq: Seq) -> State {
        self.ring.state_of(seq)
    }

    fn status(&self) -> Status {
        let ledger = self.ring.ledger();
        let ring = self.ring.status();
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            boot_id: self.boot_id.clone(),
            clock: ClockStatus { trusted: self.ingest.has_trusted_clock() },
            machine: Self::machine(Path::new(&ring.path)),
            trouble: self.trouble(),
            acks_wait_for: ring.acks_wait_for.to_owned(),
            broker: self.broker.status(),
            flush: self.flusher.status(),
            latest: self.latest.status(),
            lookup: self.lookup.as_ref().map(|lookup| lookup.status()),
            republish: self.republish.as_ref().map(|republish| republish.status()),
            ledger,
            sources: self.sources(),
            writes: self.ingest.write_status(),
            limits: self.ingest.limits(),
            replaced: self.ingest.replaced(),
            rates: self.rates(&ledger),
            lag_s: self.outlook.lag().as_secs_f64(),
            forecast: self.outlook.forecast(self.flusher.health().is_away()),
            ring: Some(ring),
            warnings: Vec::new(),
        };
        status.warnings = self.warnings(&status);
        status
    }

    fn config(&self) -> ConfigStatus {
        self.watched.reloaded.status()
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(reason) = self.ring.poisoned() {
            return Err(format!("the ring is poisoned: {reason}"));
        }
        if let Some(reason) = self.ring.halted() {
            return Err(format!("nothing is taken in or acknowledged: {reason}"));
        }
        // A broker that is away is no fault of this daemon's: it is ready for when the broker is back.
        match self.broker.status().state {
            Session::Stopped => Err("intake has stopped".to_owned()),
            _ => Ok(()),
        }
    }

    fn flush_now(&self) {
        self.flusher.flush_now();
    }

    fn ring_info(&self) -> Result<RingInfo, RingInfoError> {
        let look = || {
            let began = Instant::now();
            live_info(&self.ring, SystemClock.now().wall, &mut || began.elapsed() < RING_INFO_SPAN)
        };
        self.reading_ring.look(|| self.started.elapsed(), look)
    }

    fn resize_ring(&self, bytes: u64) -> Result<ResizeStatus, ResizeRefusal> {
        self.watched.resizing.ask(bytes, &self.ring, &self.watched.reloaded.settings())
    }

    fn resized_ring(&self) -> ResizeStatus {
        self.watched.resizing.status()
    }

    fn quarantine(&self) -> Option<QuarantineAccess> {
        Some(QuarantineAccess { quarantine: Arc::clone(self.flusher.quarantine()), requeue: Arc::clone(&self.requeue) })
    }

    fn lookup(&self) -> Option<&Arc<Lookup>> {
        self.lookup.as_ref()
    }

    fn replay(&self, ask: &ReplayAsk) -> Result<ReplayAnswer, ReplayError> {
        self.flusher.replay(ask)
    }
}
