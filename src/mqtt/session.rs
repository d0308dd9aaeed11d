//! The session with the broker: one task that owns the connection, keeps it, and acknowledges what has become durable.

mod asking;

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior},
};
use tracing::{debug, info, warn};

use super::{
    connection::{Poller, Requests, connection},
    error::ConnectError,
    inbox::Inbox,
    protocol::{CONNECT_TIMEOUT, Event, MAX_UNACKNOWLEDGED, Subscription},
    retry::Retry,
    status::{SharedBroker, State},
    subscribe::Subscriber,
    url::shown,
    window::Window,
    withdraw::Withdrawal,
};
use crate::{
    clock::SharedClock, ingest::Intake, marks::Ackable, observe::heartbeat::Heartbeat, point::Received, settings::Mqtt,
};

/// How often the session looks at what only time changes.
const TICK: Duration = Duration::from_secs(1);
/// How long the broker may take to close the connection after the DISCONNECT.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Everything a session needs.
pub struct Task {
    /// `[mqtt]`.
    pub settings: Mqtt,
    /// What to subscribe to; may change at any time.
    pub subscriptions: watch::Receiver<Arc<[Subscription]>>,
    /// Where messages go.
    pub intake: Arc<dyn Intake>,
    /// How far messages may be acknowledged.
    pub ackable: watch::Receiver<Ackable>,
    /// State and counters, for others to read.
    pub status: Arc<SharedBroker>,
    /// Time of receipt.
    pub clock: SharedClock,
    /// True: stop.
    pub stop: watch::Receiver<bool>,
    /// How long a stop may wait for what was taken in to become durable and acknowledged.
    pub drain_timeout: Duration,
    /// Evidence for the watchdog.
    pub heartbeat: Heartbeat,
}

/// Keeps a session with the broker until told to stop. Then nothing more is taken in, what was taken in is acknowledged as it
/// becomes durable, and the connection is closed so that the broker keeps the session.
pub async fn run(task: Task) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let window = Window::new(task.settings.protocol, task.settings.receive_maximum);
    let inbox = Inbox::new(Arc::clone(&task.intake), Arc::clone(&task.status), MAX_UNACKNOWLEDGED, window);
    let mut retry = Retry::new(task.settings.protocol);
    let mut session = Session {
        task,
        inbox,
        tick,
        told_to_stop: false,
        ring_open: true,
        next_report: Duration::ZERO,
        since: None,
        remembered: 0,
        asks_since: Duration::ZERO,
        standing: Standing::Followed,
    };
    while !*session.task.stop.borrow() {
        session.task.status.set_state(State::Connecting);
        let Err(error) = session.serve().await else { break };
        session.inbox.connection_lost();
        let now = session.task.clock.since_boot();
        let lasted = session.since.take().map(|since| now.saturating_sub(since));
        let (error, wait) = retry.after(error, lasted, fastrand::f64());
        session.task.status.set_error(error.to_string());
        session.task.status.set_state(State::BackingOff);
        if session.back_off(wait).await {
            break;
        }
    }
    session.task.status.set_state(State::Stopped);
}

struct Session {
    task: Task,
    inbox: Inbox,
    tick: Interval,
    /// Whether `task.stop` has said so, or is gone.
    told_to_stop: bool,
    /// Whether the ring still says what is ackable.
    ring_open: bool,
    /// Time since boot at which what only time changes is due again.
    next_report: Duration,
    /// When the connection was accepted, as time since boot.
    since: Option<Duration>,
    /// The note that makes every filter durable which is asked for.
    remembered: u64,
    /// Since when filters are asked for that may not have been asked for before, as time since
    /// boot.
    asks_since: Duration,
    standing: Standing,
}

/// How this connection stands to `task.subscriptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It goes by them.
    Followed,
    /// They have changed.
    Changed,
    /// Nobody is left who could change them.
    Final,
}

/// One connection, besides its socket.
struct Link {
    requests: Requests,
    /// What is subscribed to, with the identifiers that tell copies apart on this connection.
    subscriptions: Vec<Subscription>,
    /// When they may be asked for, as time since boot.
    ask_after: Duration,
    subscriber: Subscriber,
    withdrawal: Withdrawal,
    /// Whether subscriptions wait for the ring, which is to remember them first.
    waits_for_ring: bool,
    /// Whether the broker knows subscription identifiers.
    has_ids: bool,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No CONNACK yet.
    Opening,
    /// Messages are taken in.
    Open,
    /// Told to stop: acknowledging, until then at the latest.
    Draining(Instant),
    /// The DISCONNECT is on its way, and the broker's closing is waited for until then. Reading goes on meanwhile: a socket
    /// closed with unread data resets the connection, and the broker may lose the last acknowledgements with it.
    Leaving(Instant),
    /// Over.
    Gone,
}

impl Phase {
    fn is_stopping(self) -> bool {
        !matches!(self, Self::Opening | Self::Open)
    }
}

/// What ended a wait, when it was not an event of the connection.
enum Wake {
    Ackable,
    RingGone,
    Room,
    Configured,
    Stop,
    Tick,
}

impl Session {
    /// Makes one connection and keeps it up; returns when stopped.
    async fn serve(&mut self) -> Result<(), ConnectError> {
        let (requests, mut poller) = connection(&self.task.settings, false)?;
        let mut link = Link {
            requests,
            subscriptions: Vec::new(),
            ask_after: Duration::ZERO,
            subscriber: Subscriber::new(0),
            withdrawal: Withdrawal::of(Vec::new()),
            waits_for_ring: false,
            has_ids: false,
            phase: Phase::Opening,
        };
        let outcome = self.converse(&mut poller, &mut link).await;
        if outcome.is_err() {
            self.salvage(&mut poller, &link);
        }
        // Told to stop, a lost connection is as good as a closed one: the broker keeps what it has no PUBACK for.
        if link.phase.is_stopping() {
            self.inbox.connection_lost();
            return Ok(());
        }
        outcome
    }

    async fn converse(&mut self, poller: &mut Poller, link: &mut Link) -> Result<(), ConnectError> {
        while link.phase != Phase::Gone {
            if let Some(event) = self.next(poller, link).await? {
                self.batch(event, poller, link)?;
            }
        }
        Ok(())
    }

    /// Waits for the connection's next event, minding everything else meanwhile. The poll is never dropped half-way except
    /// together with its connection: it may already have taken something off the socket.
    async fn next(&mut self, poller: &mut Poller, link: &mut Link) -> Result<Option<Event>, ConnectError> {
        // Pings make the poll return once a keep-alive; past twice that it hangs in a write nobody reads.
        let stalled_after = poller.keep_alive() * 2 + CONNECT_TIMEOUT;
        let mut waited = Duration::ZERO;
        let mut polling = pin!(poller.poll());
        loop {
            let wake = tokio::select! {
                biased;
                event = &mut polling => return event.map(Some),
                changed = self.task.ackable.changed(), if self.ring_open => {
                    if changed.is_ok() { Wake::Ackable } else { Wake::RingGone }
                }
                () = self.task.intake.room().notified(), if self.inbox.holds() && link.phase == Phase::Open => Wake::Room,
                changed = self.task.subscriptions.changed(), if self.standing != Standing::Final && link.phase == Phase::Open => {
                    self.standing = if changed.is_ok() { Standing::Changed } else { Standing::Final };
                    Wake::Configured
                }
                changed = self.task.stop.changed(), if !link.phase.is_stopping() => {
                    // Whoever could have said stop is gone: that is a stop, too.
                    self.told_to_stop = changed.is_err() || *self.task.stop.borrow();
                    Wake::Stop
                }
                _ = self.tick.tick() => Wake::Tick,
            };
            match wake {
                Wake::Ackable => {
                    self.acknowledge(link);
                    self.subscribe_once_remembered(link)?;
                }
                Wake::RingGone => self.ring_open = false,
                Wake::Room => {
                    self.inbox.retry()?;
                    self.acknowledge(link);
                }
                Wake::Configured => self.follow_configuration(link)?,
                Wake::Stop => {}
                Wake::Tick => {
                    waited += TICK;
                    if waited > stalled_after {
                        return Err(ConnectError::Lost("the broker takes no data and answers no ping".into()));
                    }
                    self.periodic(link)?;
                }
            }
            self.mind_the_stop(link);
            if link.phase == Phase::Gone {
                return Ok(None);
            }
        }
    }

    /// Handles an event and those read together with it, then does once what they all need.
    fn batch(&mut self, first: Event, poller: &mut Poller, link: &mut Link) -> Result<(), ConnectError> {
        let mut received = None;
        let mut next = Some(first);
        while let Some(event) = next {
            self.handle(event, link, &mut received)?;
            next = poller.buffered();
        }
        if self.inbox.holds() && link.phase == Phase::Open {
            self.inbox.retry()?;
        }
        // Most batches are one acknowledgement that has left; those cost as little as can be.
        if received.is_some() || self.task.ackable.has_changed().unwrap_or(false) {
            self.acknowledge(link);
            self.subscribe_once_remembered(link)?;
        }
        if self.task.stop.has_changed().unwrap_or(false) {
            self.told_to_stop = *self.task.stop.borrow_and_update();
        }
        if received.is_some_and(|received: Received| received.since_boot_ns >= self.next_report.as_nanos() as u64) {
            self.periodic(link)?;
        }
        self.mind_the_stop(link);
        Ok(())
    }

    /// `received` is read from the clock once a batch.
    fn handle(&mut self, event: Event, link: &mut Link, received: &mut Option<Received>) -> Result<(), ConnectError> {
        match event {
            Event::Publish(message) => {
                let received = *received.get_or_insert_with(|| self.task.clock.now());
                if link.phase == Phase::Open {
                    return self.inbox.take(&message, received);
                }
                if message.ack().is_none() {
                    self.inbox.drop_qos0();
                }
            }
            Event::AcksSent(count) => self.inbox.acks_left(count),
            Event::ConnAck { session_present, has_ids, shortened } => {
                link.has_ids = has_ids;
                if self.task.status.set_shortened(shortened)
                    && let Some(shortened) = shortened
                {
                    warn!("{shortened}");
                }
                self.connected(session_present, link)?;
            }
            Event::SubAck { id, codes } => {
                self.subscribed(id, &codes, link);
                self.follow_configuration(link)?;
            }
            Event::UnsubAck { id, codes } => {
                self.unsubscribed(id, &codes, link);
                self.follow_configuration(link)?;
            }
            Event::DisconnectSent | Event::Other => {}
        }
        Ok(())
    }

    fn connected(&mut self, session_present: bool, link: &mut Link) -> Result<(), ConnectError> {
        self.since = Some(self.task.clock.since_boot());
        self.task.status.connects.fetch_add(1, Relaxed);
        if session_present {
            self.task.status.sessions_resumed.fetch_add(1, Relaxed);
        }
        info!(url = %shown(&self.task.settings.url), session_present, "connected to the broker");
        self.task.status.set_state(State::Subscribing);
        link.phase = Phase::Open;
        self.inbox.connected(session_present);
        self.configure(link, session_present);
        self.subscribe(link)?;
        self.inbox.retry()
    }

    /// Acknowledges everything that has become ackable, in one go.
    fn acknowledge(&mut self, link: &mut Link) {
        let ackable = *self.task.ackable.borrow_and_update();
        if self.inbox.is_due(ackable) {
            let now = self.task.clock.since_boot().as_nanos() as u64;
            self.inbox.release(ackable, now, |ack| link.requests.ack(ack));
        }
        self.inbox.publish_counts();
    }

    /// What only time changes; at least once a tick, however busy the connection is.
    fn periodic(&mut self, link: &mut Link) -> Result<(), ConnectError> {
        let now = self.task.clock.since_boot();
        self.next_report = now + TICK;
        self.task.heartbeat.waiting("the broker", Some(TICK));
        if link.phase == Phase::Open {
            self.inbox.retry()?;
            self.acknowledge(link);
            if link.subscriber.is_overdue(now) {
                return Err(ConnectError::Lost("the broker did not answer SUBSCRIBE".into()));
            }
            if link.withdrawal.is_overdue(now) {
                return Err(ConnectError::Lost("the broker did not answer UNSUBSCRIBE".into()));
            }
            self.subscribe(link)?;
        }
        Ok(())
    }

    /// Takes the next step towards a stop, if one was asked for.
    fn mind_the_stop(&mut self, link: &mut Link) {
        match link.phase {
            Phase::Opening | Phase::Open => {
                if self.told_to_stop {
                    self.task.status.set_state(State::Stopping);
                    let until = Instant::now() + self.task.drain_timeout;
                    link.phase = if link.phase == Phase::Open { Phase::Draining(until) } else { Phase::Gone };
                    self.mind_the_stop(link);
                }
            }
            Phase::Draining(until) => {
                let now = Instant::now();
                if self.inbox.is_settled() || now >= until {
                    let asked = link.requests.disconnect();
                    link.phase = if asked { Phase::Leaving(now + LEAVE_WITHIN) } else { Phase::Gone };
                }
            }
            Phase::Leaving(until) => {
                if Instant::now() >= until {
                    link.phase = Phase::Gone;
                }
            }
            Phase::Gone => {}
        }
    }

    /// Takes in the QoS 0 messages that were read before the connection failed; the broker won't send those again.
    fn salvage(&mut self, poller: &mut Poller, link: &Link) {
        while let Some(event) = poller.buffered() {
            if let Event::Publish(message) = event
                && message.ack().is_none()
            {
                if link.phase != Phase::Open {
                    self.inbox.drop_qos0();
                } else if let Err(why) = self.inbox.take(&message, self.task.clock.now()) {
                    // Counted where it was refused; the connection is over in any case.
                    debug!(%why, "a QoS 0 message read before the connection failed was dropped");
                }
            }
        }
    }

    /// Waits before the next attempt; true when told to stop meanwhile.
    async fn back_off(&mut self, wait: Duration) -> bool {
        self.task.heartbeat.waiting("the next attempt to connect", Some(wait));
        let mut over = pin!(tokio::time::sleep(wait));
        loop {
            tokio::select! {
                () = &mut over => return false,
                changed = self.task.stop.changed() => {
                    if changed.is_err() || *self.task.stop.borrow() {
                        return true;
                    }
                }
            }
        }
    }
}
