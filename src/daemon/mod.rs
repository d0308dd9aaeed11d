//! The daemon: start-up order, wiring, shutdown. docs/ARCHITECTURE.md draws it and lists every thread and what it waits on.

mod boots;
pub mod client;
mod doors;
mod fullness;
mod held;
mod inspect;
mod opening;
mod outlook;
mod places;
mod progress;
mod reload;
mod reloaded;
mod resizing;
mod ring_look;
mod signals;
mod silence;
mod sources;
mod space;
mod spells;
mod watchdog;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::{runtime::Runtime, sync::watch, task::JoinHandle};

use self::{
    boots::Boots,
    doors::Doors,
    fullness::Fullness,
    held::HeldRows,
    inspect::{Inspector, Watched},
    opening::open_ring,
    outlook::Outlook,
    places::Places,
    reload::Reload,
    reloaded::Reloaded,
    resizing::{Between, Remains, Resizing},
    signals::Signal,
    silence::{Patience, Silence},
    sources::{Followers, NarrowKeys},
};
use crate::{
    clock::{Clock, ClockTrust, SharedClock, SystemClock},
    config::{self, Loaded},
    control::{
        App, Limits, Writes,
        socket::SocketError,
        token::{TokenError, WriteToken},
    },
    decode::DecoderError,
    flush::{self, FlushContext, Flusher},
    ingest::Ingest,
    latest::Latest,
    limits::Allowance,
    lookup::{Known, Lookup},
    mqtt::{self, SharedBroker},
    observe::{
        heartbeat::{Heartbeat, Heartbeats},
        log::{LogError, LogHandle},
        systemd::ServiceManager,
    },
    point::Timestamp,
    questdb::{Connection, Secrets},
    republish::{self, SharedRepublish, topic::TopicTemplate},
    ring::{OpenError, Ring},
    settings::{self, Settings},
};

/// Threads of the control interface that may block.
const BLOCKING_THREADS: usize = 4;
/// How much longer the service manager is asked to wait at each sign of progress during start-up and stop.
const EXTENSION: Duration = Duration::from_secs(30);
/// What a stop may take beyond `stop_timeout`: committing, acknowledging, writing the header.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Why the daemon did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The ring cannot be opened.
    #[error(transparent)]
    Ring(#[from] OpenError),
    /// The ring has failed; a restart recovers.
    #[error("the ring is poisoned: {0}; nothing more was acknowledged, and a restart recovers what was")]
    Poisoned(String),
    /// The quarantine file or a lane cannot be started.
    #[error(transparent)]
    Flush(#[from] flush::StartError),
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The token for writing cannot be had.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A source cannot be used.
    #[error(transparent)]
    Source(#[from] DecoderError),
    /// Logging cannot be set up.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Threads or signal handlers cannot be set up.
    #[error("cannot {what}: {source}")]
    Start {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs until SIGTERM or SIGINT, or until the ring fails. `file` is what SIGHUP reads again.
pub fn run(loaded: &Loaded, file: Option<&Path>) -> Result<(), DaemonError> {
    let log = crate::observe::log::init(&loaded.settings.log)?;
    abort_on_panic();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for line in config::sizes::told(&loaded.chosen) {
        tracing::info!("{line}");
    }
    let mut signals = signals::listen().map_err(|source| DaemonError::Start { what: "handle signals", source })?;
    let clock: SharedClock = Arc::new(SystemClock);
    let resizing = Arc::new(Resizing::default());
    let (mut settings, mut between) = (loaded.settings.clone(), None::<Between>);
    loop {
        let start = || Daemon::start(&settings, file.map(Path::to_path_buf), log.clone(), &resizing);
        let daemon = if between.is_some() { resizing::while_locked(start)? } else { start()? };
        if let Some(between) = between.take() {
            between.end(&resizing);
        }
        ServiceManager.ready("running; connecting to the broker and to QuestDB");
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "forebay is running");
        match daemon.run(&mut signals)? {
            Ended::Stopped => return Ok(()),
            Ended::ToResize(bytes, in_force, remains) => {
                settings = *in_force;
                between = Some(Between::begin(&resizing, &clock)?);
                remains.gone()?;
                resizing.carry_out(bytes, &mut settings.ring, &clock, &|| signals.is_stopping());
                if signals.is_stopping() {
                    ServiceManager.stopping(STOP_MARGIN, "stopped while the ring got another size");
                    return Ok(());
                }
            }
        }
    }
}

/// What the daemon wakes up for.
enum Event {
    Pause,
    Signal(Signal),
    Resize(u64),
    /// The ring has failed, for this reason where it told one.
    Failed(Option<String>),
}

/// What the daemon has ended for.
enum Ended {
    /// It was told to.
    Stopped,
    /// The ring is to have so many bytes; then it starts again by these settings.
    ToResize(u64, Box<Settings>, Remains),
}

/// A thread that panics must not leave the others acknowledging what nobody will carry on.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        tracing::error!(%info, "panic");
        std::process::abort();
    }));
}

struct Daemon {
    /// The MQTT session's. It has a thread to itself, so that it never waits behind those who ask.
    runtime: Runtime,
    /// The control interface's.
    control_runtime: Runtime,
    ring: Ring,
    ingest: Arc<Ingest>,
    flusher: Arc<Flusher>,
    session: JoinHandle<()>,
    doors: Doors,
    stop_session: watch::Sender<bool>,
    stop_control: watch::Sender<bool>,
    reload: Reload,
    outlook: Arc<Outlook>,
    boots: Boots,
    held: HeldRows,
    places: Places,
    inspector: Arc<Inspector>,
    silence: Silence,
    fullness: Fullness,
    heartbeats: Heartbeats,
    resizing: Arc<Resizing>,
    /// The main thread's own.
    heartbeat: Heartbeat,
}

/// Why the daemon ends.
enum End {
    /// A signal says so.
    Told,
    /// The ring has failed.
    Failed(String),
    /// The ring is to have so many bytes.
    ToResize(u64),
}

impl Daemon {
    fn start(
        settings: &Settings,
        file: Option<PathBuf>,
        log: LogHandle,
        resizing: &Arc<Resizing>,
    ) -> Result<Self, DaemonError> {
        let token = settings.control.token_file.as_deref().map(WriteToken::load).transpose()?.map(Arc::new);
        let clock: SharedClock = Arc::new(SystemClock);
        let heartbeats = Heartbeats::new(Arc::clone(&clock));
        let latest = Arc::new(Latest::new(&settings.latest));
        let allowance = Arc::new(Allowance::new(&settings.limits, settings.source.iter()));
        let trust = match settings.latest.clock {
            settings::ClockTrust::Trusted => ClockTrust::always(),
            settings::ClockTrust::Auto => ClockTrust::to_be_gained(),
        };
        let now = clock.now();
        let is_set = now.wall >= settings.latest.max_past;
        let judge = (is_set && trust.would_be_given(now)).then(|| now.wall + settings.latest.max_future);
        latest.believe_upto(judge.unwrap_or(Timestamp::MAX));
        let (ring, newest) = open_ring(settings, &clock, &heartbeats, &latest, &allowance, &|| resizing.goes_on())?;
        client::remember(&ring, &settings.mqtt.client_id);
        // From here on the way in decides, which knows the ring's newest time too.
        latest.believe_upto(Timestamp::MAX);
        let (entered, trust) = (Arc::clone(&latest), trust.not_before(newest));
        let ingest = Ingest::with_allowance(settings, ring.clone(), entered, trust, Arc::clone(&allowance))?;
        let ingest = Arc::new(ingest);
        let narrow = Arc::new(NarrowKeys::of(settings, ring.clone()));
        let flushing = flush_context(settings, &ring, Arc::clone(&allowance), &narrow, &clock, &heartbeats);
        let reloaded = Arc::new(Reloaded::at_start(settings.clone()));
        let patience = Arc::new(RwLock::new(Patience::of(&settings.source)));
        let watched = Watched {
            refused_rows: Arc::clone(&flushing.refused_rows),
            patience: Arc::clone(&patience),
            reloaded: Arc::clone(&reloaded),
            resizing: Arc::clone(resizing),
        };
        let flusher = Arc::new(Flusher::start(flushing)?);
        let (runtime, control_runtime) = (start_runtime("mqtt")?, start_runtime("control")?);
        let broker = Arc::new(SharedBroker::default());
        let outlook = Arc::new(Outlook::new(&ring, settings.questdb.resend_window, &clock));
        let lookup = start_lookup(settings, &latest, &flusher, allowance, &clock)?;
        let inspector = Inspector::new(&ring, &latest, &broker, &flusher, &ingest, &heartbeats, &outlook);
        let republish = settings.latest.republish_topic.as_ref().map(|_| Arc::new(SharedRepublish::default()));
        let inspector = inspector.with(lookup, republish.clone(), watched);
        let inspector = Arc::new(inspector);
        let app = App::new(
            Arc::clone(&latest),
            Arc::<Inspector>::clone(&inspector),
            Arc::clone(&clock),
            settings.latest.stale_after,
            Limits::default(),
        )
        .with_writes(Writes::new(Arc::clone(&ingest) as _, Arc::clone(&clock), token.clone()));
        let (stop_session, session_stopped) = watch::channel(false);
        let (stop_control, control_stopped) = watch::channel(false);
        let doors = Doors::open(&settings.control, Arc::new(app), &control_stopped, control_runtime.handle())?;
        let inside = control_runtime.enter();
        tokio::spawn(watchdog::report(heartbeats.register("control"), control_stopped.clone()));
        start_republishing(settings, &latest, republish, &control_stopped);
        let (subscriptions, wanted) = watch::channel(sources::subscriptions(settings)?);
        let session = runtime.spawn(mqtt::run(mqtt::Task {
            settings: settings.mqtt.clone(),
            subscriptions: wanted,
            intake: Arc::clone(&ingest) as _,
            ackable: ring.ackable(),
            status: broker,
            clock,
            stop: session_stopped,
            drain_timeout: STOP_MARGIN,
            heartbeat: heartbeats.register("mqtt session"),
        }));
        drop(inside);
        let followers =
            Followers { ingest: Arc::clone(&ingest), subscriptions, narrow, flusher: Arc::clone(&flusher), patience };
        let reload = Reload::new(file, log, followers, reloaded).with_token(token);
        Ok(Self {
            runtime,
            control_runtime,
            ring,
            ingest,
            flusher,
            session,
            doors,
            stop_session,
            stop_control,
            reload,
            outlook,
            boots: Boots::new(),
            held: HeldRows::new(newest),
            places: Places::default(),
            inspector,
            silence: Silence::default(),
            fullness: Fullness::default(),
            heartbeat: heartbeats.register("main"),
            heartbeats,
            resizing: Arc::clone(resizing),
        })
    }

    fn run(mut self, signals: &mut signals::Signals) -> Result<Ended, DaemonError> {
        let watchdog = watchdog::start(self.heartbeats.clone());
        let watchdog = watchdog.map_err(|source| DaemonError::Start { what: "start the watchdog", source })?;
        let ended = match self.wait(signals) {
            End::Failed(reason) => {
                let settings = self.reload.settings();
                let path = settings.ring.path.display();
                tracing::error!(%path, %reason, "ending with exit code 5: nothing more is acknowledged, and the next start recovers what was");
                ServiceManager.stopping(
                    STOP_MARGIN,
                    "stopping; the ring has failed, nothing more is acknowledged, and a restart recovers what was",
                );
                Err(DaemonError::Poisoned(reason))
            }
            End::Told => {
                let stop_timeout = self.reload.settings().daemon.stop_timeout;
                let status = format!(
                    "stopping; acknowledging what is safe, and sending QuestDB what waits for at most {} s; the rest waits in the ring",
                    stop_timeout.as_secs()
                );
                ServiceManager.stopping(stop_timeout + 2 * STOP_MARGIN, &status);
                self.stop().map(|()| Ended::Stopped)
            }
            End::ToResize(bytes) => {
                let settings = Box::new(self.reload.settings());
                tracing::info!(bytes, "stopping, for a ring of another size");
                ServiceManager.status("stopping, for a ring of another size");
                let remains = Remains::of(&self.ring, self.flusher.quarantine());
                self.stop().map(|()| Ended::ToResize(bytes, settings, remains))
            }
        };
        watchdog.stop();
        ended
    }

    /// Waits for the end, keeping the forecast's history meanwhile; says what it is for.
    fn wait(&mut self, signals: &mut signals::Signals) -> End {
        let (mut failed, resize) = (self.ring.failed(), self.resizing.watch());
        let mut noted = std::time::Instant::now();
        loop {
            // A wait for the time, or for room, is looked at more often than the levels.
            let pause = self.held.pause(&self.ring).unwrap_or(outlook::PERIOD);
            self.heartbeat.waiting("the next look around", Some(pause));
            let event = self.runtime.block_on(async {
                tokio::select! {
                    reason = failed.wait_for(Option::is_some) => Event::Failed(reason.ok().and_then(|reason| reason.clone())),
                    signal = signals.next() => Event::Signal(signal),
                    bytes = Resizing::asked(resize.clone()) => Event::Resize(bytes),
                    () = tokio::time::sleep(pause) => Event::Pause,
                }
            });
            match event {
                Event::Pause => {
                    if noted.elapsed() >= outlook::PERIOD {
                        self.note();
                        noted = std::time::Instant::now();
                    }
                    // While no reading comes, trust grows, and what is to be believed moves on, all
                    // the same.
                    let now = SystemClock.now();
                    self.boots.remember(&self.ring, now, self.ingest.trusts_clock(now));
                    self.held.turn(&self.ring, &self.ingest, &self.boots, now);
                }
                Event::Failed(reason) => {
                    return End::Failed(reason.unwrap_or_else(|| "its committer ended".to_owned()));
                }
                Event::Signal(Signal::Reload) => self.reload.now(),
                Event::Signal(Signal::Stop(name)) => {
                    tracing::info!(signal = name, "stopping");
                    return End::Told;
                }
                Event::Resize(bytes) => return End::ToResize(bytes),
            }
        }
    }

    /// Looks at the levels, and at what has to be where it was.
    fn note(&mut self) {
        self.outlook.note();
        self.inspector.note();
        self.fullness.look(SystemClock.since_boot(), self.ring.is_full(), self.ring.on_full());
        self.places.look(&self.ring, self.flusher.quarantine());
        self.doors.look();
        if let Some(sources) = self.inspector.sources_if_watched() {
            self.silence.look(&sources);
        }
    }

    /// Stops reading, commits, acknowledges, flushes for at most `stop_timeout`, closes the ring.
    fn stop(self) -> Result<(), DaemonError> {
        // From here on the service manager's patience is the only watchdog.
        drop(self.heartbeat);
        let stop_timeout = self.reload.settings().daemon.stop_timeout;
        self.stop_session.send_replace(true);
        let session = self.session;
        let ended = self.runtime.block_on(async { tokio::time::timeout(2 * STOP_MARGIN, session).await });
        if ended.is_err() {
            tracing::warn!("the MQTT session did not end in time; the broker sends again what is not acknowledged");
        }
        self.ingest.close_writes();
        // Lanes see durable records only: the last of them become so here.
        self.ring.stop_committing();
        if !self.flusher.stop(stop_timeout) {
            tracing::warn!("a lane did not end in time; what it was sending is sent again at the next start");
        }
        let closed = self.ring.close();
        places::put_back(&self.ring, &mut |_| ServiceManager.extend_timeout(EXTENSION));
        self.stop_control.send_replace(true);
        self.runtime.block_on(self.doors.closed());
        self.control_runtime.shutdown_timeout(Duration::from_secs(1));
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        let ledger = self.ring.ledger();
        if ledger.pending > 0 {
            tracing::info!(rows = ledger.pending, "rows wait in the ring for the next start");
        }
        if let Some(reason) = self.ring.poisoned() {
            return Err(DaemonError::Poisoned(reason));
        }
        closed.map_err(|error| DaemonError::Poisoned(format!("the header could not be written: {error}")))?;
        tracing::info!("stopped");
        Ok(())
    }
}

fn start_runtime(name: &str) -> Result<Runtime, DaemonError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(BLOCKING_THREADS).thread_name(name).enable_all();
    builder.build().map_err(|source| DaemonError::Start { what: "start the async workers", source })
}

/// Publishes latest values again where that is on. What is under way at the stop is made good at the next start.
fn start_republishing(
    settings: &Settings,
    latest: &Arc<Latest>,
    shared: Option<Arc<SharedRepublish>>,
    stop: &watch::Receiver<bool>,
) {
    let topic = settings.latest.republish_topic.as_deref().and_then(|topic| TopicTemplate::parse(topic).ok());
    if let (Some(topic), Some(shared)) = (topic, shared) {
        let (mqtt, latest, stop) = (settings.mqtt.clone(), Arc::clone(latest), stop.clone());
        tokio::spawn(republish::run(republish::Task { mqtt, topic, latest, shared, stop }));
    }
}

fn start_lookup(
    settings: &Settings,
    latest: &Arc<Latest>,
    flusher: &Arc<Flusher>,
    allowance: Arc<Allowance>,
    clock: &SharedClock,
) -> Result<Arc<Lookup>, DaemonError> {
    let describe = || Connection::new(&settings.questdb, Secrets::read(&settings.questdb)?);
    let connection: Connection = describe().map_err(flush::StartError::Connection)?;
    let flusher = Arc::downgrade(flusher);
    let known = Known {
        is_away: Box::new(move || flusher.upgrade().is_none_or(|flusher| flusher.is_away())),
        is_ours: Box::new(move |table| allowance.is_ours(table)),
    };
    let lookup = Lookup::new(Arc::clone(latest), &connection, Arc::clone(clock), known);
    Ok(Arc::new(lookup.map_err(flush::StartError::Sql)?))
}

fn flush_context(
    settings: &Settings,
    ring: &Ring,
    allowance: Arc<Allowance>,
    narrow: &Arc<NarrowKeys>,
    clock: &SharedClock,
    heartbeats: &Heartbeats,
) -> FlushContext {
    let narrow = Arc::clone(narrow);
    FlushContext {
        ring: ring.clone(),
        questdb: settings.questdb.clone(),
        batch: settings.batch.clone(),
        quarantine: settings.quarantine.clone(),
        allow_narrow: Arc::new(move |table| narrow.allow(table)),
        allowance,
        refused_rows: Arc::default(),
        clock: Arc::clone(clock),
        heartbeats: heartbeats.clone(),
        seed: fastrand::u64(..),
    }
}
