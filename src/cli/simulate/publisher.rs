//! One connection of the simulator: publishes its devices' readings at its pace and keeps count of what was acknowledged.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rumqttc::{
    Outgoing,
    v5::{AsyncClient, Event, EventLoop, MqttOptions, Request, mqttbytes::QoS, mqttbytes::v5::Packet},
};

use super::device::Device;
use crate::mqtt::{ConnectError, backoff::Backoff, v5::explain};

/// Requests queued towards the connection before the publisher waits for it.
const QUEUE: usize = 64;
/// Granularity of the pace, and of looking at whether to stop.
const STEP: Duration = Duration::from_millis(5);
/// How long the first connection may take to come about.
const FIRST_CONNECT: Duration = Duration::from_secs(10);

/// Counters of all connections together.
#[derive(Default)]
pub(super) struct Totals {
    /// Messages that have left for the socket, rubbish included.
    pub published: AtomicU64,
    /// PUBACKs received.
    pub acknowledged: AtomicU64,
    /// Messages that were rubbish on purpose.
    pub rubbish: AtomicU64,
    /// Connections made.
    pub connects: AtomicU64,
}

/// What one device has sent.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    /// Readings published.
    pub published: u64,
    /// Readings acknowledged.
    pub acknowledged: u64,
}

/// How one connection behaves.
#[derive(Clone)]
pub(super) struct Plan {
    pub qos: u8,
    /// Messages a second; 0 for as fast as it goes.
    pub rate: f64,
    /// Messages in all; none for no limit.
    pub count: Option<u64>,
    pub until: Option<Instant>,
    pub rubbish_percent: f64,
    pub drain_timeout: Duration,
}

/// What a queued or unacknowledged message was: the device's place, and whether it was a reading.
#[derive(Clone, Copy)]
struct Sent {
    device: usize,
    reading: bool,
}

/// A connection with its devices.
pub(super) struct Publisher {
    pub devices: Vec<Device>,
    pub tallies: Vec<Tally>,
    client: AsyncClient,
    plan: Plan,
    totals: Arc<Totals>,
    stop: Arc<AtomicBool>,
    /// Queued and not yet seen leaving, in order.
    queued: VecDeque<Sent>,
    /// Unacknowledged, by packet id.
    unacknowledged: Vec<Option<Sent>>,
    outstanding: u64,
    made: u64,
    started: Instant,
    /// When waiting for acknowledgements ends; set when publishing does.
    drain_until: Option<Instant>,
    next_device: usize,
    payload: Vec<u8>,
}

impl Publisher {
    /// A publisher and the connection it is to be run with.
    pub fn new(
        options: MqttOptions,
        plan: Plan,
        devices: Vec<Device>,
        totals: Arc<Totals>,
        stop: Arc<AtomicBool>,
    ) -> (Self, EventLoop) {
        let (client, eventloop) = AsyncClient::new(options, QUEUE * 2);
        let publisher = Self {
            tallies: vec![Tally::default(); devices.len()],
            devices,
            client,
            plan,
            totals,
            stop,
            queued: VecDeque::with_capacity(QUEUE),
            unacknowledged: vec![None; usize::from(u16::MAX) + 1],
            outstanding: 0,
            made: 0,
            started: Instant::now(),
            drain_until: None,
            next_device: 0,
            payload: Vec::with_capacity(256),
        };
        (publisher, eventloop)
    }

    /// Publishes to the end of the plan, then waits for what is not acknowledged. An error is one of the first connection;
    /// later ones are outlasted.
    pub async fn run(&mut self, mut eventloop: EventLoop) -> Result<(), ConnectError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let (mut ever, mut connected) = (false, false);
        // Requests of the last connection. The library would forget them should the broker have lost the session.
        let mut unsent: VecDeque<Request> = VecDeque::new();
        loop {
            if self.is_over() {
                break;
            }
            match self.step(&mut eventloop, connected).await {
                None => {}
                Some(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                    (ever, connected) = (true, true);
                    backoff.reset();
                    self.totals.connects.fetch_add(1, Relaxed);
                    self.send_again(&mut unsent, &mut eventloop);
                }
                Some(Ok(event)) => {
                    self.note(&event);
                    while let Some(event) = eventloop.state.events.pop_front() {
                        self.note(&event);
                    }
                }
                Some(Err(error)) => {
                    unsent.append(&mut eventloop.pending);
                    connected = false;
                    if !ever && (error.needs_hands() || self.started.elapsed() > FIRST_CONNECT) {
                        return Err(error);
                    }
                    tokio::time::sleep(backoff.next(fastrand::f64())).await;
                }
            }
        }
        self.leave(&mut eventloop).await;
        Ok(())
    }

    /// Puts back what the last connection left. Messages that never had a packet id go through the channel: among the pending
    /// ones the library minds no limit, and of two whose new ids are taken it forgets the first.
    fn send_again(&mut self, unsent: &mut VecDeque<Request>, eventloop: &mut EventLoop) {
        for request in unsent.drain(..) {
            match request {
                Request::Publish(publish) if publish.pkid == 0 => {
                    let topic = String::from_utf8_lossy(&publish.topic);
                    let queued = self.client.try_publish(topic, publish.qos, publish.retain, publish.payload.clone());
                    debug_assert!(queued.is_ok(), "the channel is larger than the queue");
                }
                other => eventloop.pending.push_back(other),
            }
        }
    }

    /// Queues what is due and waits for the connection's next event; none when everything is over. The poll is dropped only
    /// then.
    async fn step(&mut self, eventloop: &mut EventLoop, connected: bool) -> Option<Result<Event, ConnectError>> {
        let mut polling = pin!(eventloop.poll());
        loop {
            if connected {
                self.fill();
            }
            tokio::select! {
                biased;
                event = &mut polling => return Some(event.map_err(|error| explain(&error))),
                () = tokio::time::sleep(STEP) => {
                    if self.is_over() {
                        return None;
                    }
                }
            }
        }
    }

    /// Messages made so far, whether they have left or not.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Whether nothing more is to be published.
    fn is_finished(&self) -> bool {
        self.plan.count.is_some_and(|count| self.made >= count)
            || self.plan.until.is_some_and(|until| Instant::now() >= until)
            || self.stop.load(Relaxed)
    }

    /// Whether nothing more is to be published, and nothing more to be waited for.
    fn is_over(&mut self) -> bool {
        if !self.is_finished() {
            return false;
        }
        let until = *self.drain_until.get_or_insert_with(|| Instant::now() + self.plan.drain_timeout);
        (self.outstanding == 0 && self.queued.is_empty()) || Instant::now() >= until
    }

    /// Queues messages as far as the pace and the queue allow.
    fn fill(&mut self) {
        if self.queued.len() >= QUEUE || self.is_finished() {
            return;
        }
        let due = match (self.plan.rate, self.plan.count) {
            (rate, count) if rate > 0.0 => {
                let due = (self.started.elapsed().as_secs_f64() * rate) as u64 + 1;
                count.map_or(due, |count| due.min(count))
            }
            (_, count) => count.unwrap_or(u64::MAX),
        };
        let now_ms = jiff::Timestamp::now().as_millisecond();
        while self.made < due && self.queued.len() < QUEUE {
            let index = self.next_device;
            self.next_device = (index + 1) % self.devices.len();
            let device = &mut self.devices[index];
            let reading = !device.wants_rubbish(self.plan.rubbish_percent);
            if reading {
                device.reading(now_ms, &mut self.payload);
            } else {
                device.rubbish(&mut self.payload);
            }
            let qos = if self.plan.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            let queued = self.client.try_publish(device.topic.as_str(), qos, false, self.payload.clone());
            debug_assert!(queued.is_ok(), "the channel is larger than the queue");
            self.queued.push_back(Sent { device: index, reading });
            self.made += 1;
        }
    }

    /// Keeps count.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Outgoing(Outgoing::Publish(pkid)) => {
                let slot = &mut self.unacknowledged[usize::from(*pkid)];
                // An occupied slot: the library sends an old message again.
                if slot.is_none()
                    && let Some(sent) = self.queued.pop_front()
                {
                    if *pkid != 0 {
                        *slot = Some(sent);
                        self.outstanding += 1;
                    }
                    self.totals.published.fetch_add(1, Relaxed);
                    if sent.reading {
                        self.tallies[sent.device].published += 1;
                    } else {
                        self.totals.rubbish.fetch_add(1, Relaxed);
                    }
                }
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                if let Some(sent) = self.unacknowledged[usize::from(ack.pkid)].take() {
                    self.outstanding -= 1;
                    self.totals.acknowledged.fetch_add(1, Relaxed);
                    self.tallies[sent.device].acknowledged += u64::from(sent.reading);
                }
            }
            _ => {}
        }
    }

    /// Says goodbye, so that the broker does not wait for the keep-alive.
    async fn leave(&mut self, eventloop: &mut EventLoop) {
        if self.client.try_disconnect().is_err() {
            return;
        }
        let goodbye = async {
            loop {
                match eventloop.poll().await {
                    Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_) => return,
                    Ok(event) => self.note(&event),
                }
            }
        };
        // The count is what matters; whether the goodbye arrives changes nothing.
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }
}
