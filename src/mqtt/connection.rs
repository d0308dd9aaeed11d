//! One connection with the broker: a half that makes requests and never waits, and a half that reads and writes the socket.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, Sleep, sleep, timeout},
};

use super::{
    error::ConnectError,
    packet::{self, Ack, ConnAck, Filter, Frame, Message, Reader, Version, kind},
    protocol::{CONNECT_TIMEOUT, Event, Options, Subscription},
    rest::Rest,
    status::Shortened,
    transport::{self, Stream},
};
use crate::{settings::Mqtt, sync::lock};

/// Most bytes that wait to be written: an acknowledgement for each packet id, and the filters of all sources.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// Bytes of the memory for them that are kept.
const KEPT_BYTES: usize = 64 * 1_024;
/// Messages of our own under way.
const MAX_PUBLISHED: u16 = 16;

/// What waits to be written.
#[derive(Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Acknowledgements among them.
    acks: u64,
    /// Whether a DISCONNECT is the last of them.
    ends: bool,
    last_id: u16,
    /// Messages of our own without their PUBACK.
    published: u16,
    /// How many there may be.
    most_published: u16,
}

impl Waiting {
    /// A packet id; those of acknowledgements are the broker's and not meant.
    fn next_id(&mut self) -> u16 {
        self.last_id = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
        self.last_id
    }
}

/// Makes requests; none of them waits.
pub(super) struct Requests {
    version: Version,
    out: Arc<Outbox>,
}

/// Reads and writes the socket.
pub(super) struct Poller {
    options: Options,
    link: Option<Box<dyn Stream>>,
    out: Arc<Outbox>,
    /// Taken over from the outbox; from `sent` on they are to be written.
    sending: Vec<u8>,
    sent: usize,
    sending_acks: u64,
    sending_ends: bool,
    is_flushed: bool,
    reader: Reader,
    keep_alive: Duration,
    ping: Pin<Box<Sleep>>,
    /// Whether a ping is unanswered, and nothing else was heard since.
    is_quiet: bool,
    rest: Rest,
    events: VecDeque<Event>,
    /// Why nothing more can be read.
    broken: Option<ConnectError>,
}

/// Prepares a connection for `settings`; the first poll opens it.
pub(super) fn connection(settings: &Mqtt, clean: bool) -> Result<(Requests, Poller), ConnectError> {
    Options::from_settings(settings, clean).map(prepare)
}

/// The same for what is known of it.
fn prepare(options: Options) -> (Requests, Poller) {
    let out = Arc::new(Outbox::default());
    let requests = Requests { version: options.version, out: Arc::clone(&out) };
    let poller = Poller {
        reader: Reader::new(options.max_payload),
        keep_alive: options.keep_alive,
        ping: Box::pin(sleep(options.keep_alive)),
        // The session's thread is its own; whoever else connects keeps no session.
        rest: Rest::new(Instant::now(), !options.clean),
        options,
        link: None,
        out,
        sending: Vec::new(),
        sent: 0,
        sending_acks: 0,
        sending_ends: false,
        is_flushed: true,
        is_quiet: false,
        events: VecDeque::new(),
        broken: None,
    };
    (requests, poller)
}

impl Requests {
    /// Queues an acknowledgement; false when the queue is full.
    pub fn ack(&mut self, ack: Ack) -> bool {
        self.put(|waiting| {
            if ack.is_qos2 {
                packet::pubrec(&mut waiting.bytes, ack.packet_id);
            } else {
                packet::puback(&mut waiting.bytes, ack.packet_id);
            }
            waiting.acks += 1;
        })
        .is_some()
    }

    /// Queues a SUBSCRIBE for filters that share an identifier; gives its packet id, none when the queue is full.
    pub fn subscribe<'a>(&self, id: Option<u32>, wanted: impl Iterator<Item = &'a Subscription>) -> Option<u16> {
        let filters = wanted.map(|wanted| Filter { filter: &wanted.filter, qos: wanted.qos });
        self.put(|waiting| {
            let packet_id = waiting.next_id();
            packet::subscribe(&mut waiting.bytes, self.version, packet_id, id, filters);
            packet_id
        })
    }

    /// Queues an UNSUBSCRIBE; gives its packet id, none when the queue is full.
    pub fn unsubscribe<'a>(&self, filters: impl Iterator<Item = &'a str>) -> Option<u16> {
        self.put(|waiting| {
            let packet_id = waiting.next_id();
            packet::unsubscribe(&mut waiting.bytes, self.version, packet_id, filters);
            packet_id
        })
    }

    /// Queues a retained message at QoS 1; false when so many are under way that it has to wait.
    pub fn publish_retained(&self, topic: &str, payload: &[u8]) -> bool {
        let published = self.put(|waiting| {
            if waiting.published >= waiting.most_published {
                return false;
            }
            waiting.published += 1;
            let packet_id = waiting.next_id();
            packet::publish(&mut waiting.bytes, self.version, packet_id, topic, payload);
            true
        });
        published.unwrap_or(false)
    }

    /// Queues a DISCONNECT, which leaves the session at the broker.
    pub fn disconnect(&self) -> bool {
        self.put(|waiting| {
            waiting.bytes.extend([kind::DISCONNECT << 4, 0]);
            waiting.ends = true;
        })
        .is_some()
    }

    fn put<T>(&self, write: impl FnOnce(&mut Waiting) -> T) -> Option<T> {
        let mut waiting = lock(&self.out.waiting);
        if waiting.bytes.len() >= MAX_WAITING_BYTES {
            return None;
        }
        let written = write(&mut waiting);
        drop(waiting);
        self.out.waker.wake();
        Some(written)
    }
}

impl Poller {
    /// Drives the connection until something happens; something does at least once a keep-alive. After an error it is over.
    ///
    /// Dropping the future before it is ready may lose what it had read; only do so to give the connection up.
    pub async fn poll(&mut self) -> Result<Event, ConnectError> {
        if self.link.is_none() {
            let opened = timeout(CONNECT_TIMEOUT, self.open()).await;
            let waited = || ConnectError::Unreachable(format!("no answer within {CONNECT_TIMEOUT:?}"));
            let ConnAck { session_present, has_ids, session_expiry_s, .. } = opened.map_err(|_| waited())??;
            let asked_s = if self.options.clean { 0 } else { self.options.session_expiry_s };
            let shorter = session_expiry_s.filter(|granted_s| *granted_s < asked_s);
            let shortened = shorter.map(|granted_s| Shortened { asked_s, granted_s });
            return Ok(Event::ConnAck { session_present, has_ids, shortened });
        }
        if let Some(event) = self.buffered() {
            return Ok(event);
        }
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        poll_fn(|context| self.step(context)).await?;
        // A large packet may take long: that bytes come shows that the connection is alive.
        Ok(self.buffered().unwrap_or(Event::Other))
    }

    /// The next event that was read together with the last one.
    pub fn buffered(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        while self.broken.is_none() {
            match self.reader.next().and_then(|frame| frame.map(|frame| self.event(frame)).transpose()) {
                Ok(Some(Some(event))) => return Some(event),
                Ok(Some(None)) => {}
                Ok(None) => return None,
                Err(error) => self.broken = Some(error),
            }
        }
        None
    }

    /// Time between pings; the broker may have set another than was asked for.
    pub fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    async fn open(&mut self) -> Result<ConnAck, ConnectError> {
        let options = &self.options;
        let mut link = transport::open(&options.url, options.tls.clone()).await?;
        let mut hello = Vec::new();
        packet::connect(&mut hello, &options.connect());
        link.write_all(&hello).await.map_err(|error| ConnectError::broken(&error))?;
        link.flush().await.map_err(|error| ConnectError::broken(&error))?;
        self.link = Some(link);
        let frame = loop {
            if let Some(frame) = self.reader.next()? {
                break frame;
            }
            poll_fn(|context| self.read(context)).await?;
        };
        if frame.first >> 4 != kind::CONNACK {
            return Err(ConnectError::Refused("it answered CONNECT with another packet".into()));
        }
        let granted = packet::connack(self.options.version, &frame.body)?;
        lock(&self.out.waiting).most_published = granted.receive_maximum.min(MAX_PUBLISHED);
        // A broker that wants no keep-alive answers pings all the same, and they alone show that a link is gone.
        if let Some(seconds) = granted.keep_alive_s.filter(|seconds| *seconds > 0) {
            self.keep_alive = Duration::from_secs(seconds.into());
        }
        self.ping.as_mut().reset(Instant::now() + self.keep_alive);
        Ok(granted)
    }

    /// What a packet means; none where it needs nothing of the session.
    fn event(&mut self, frame: Frame) -> Result<Option<Event>, ConnectError> {
        let version = self.options.version;
        let unreadable = |what: &str| ConnectError::Lost(format!("the broker sent a {what} that cannot be read"));
        Ok(Some(match frame.first >> 4 {
            kind::PUBLISH => {
                self.rest.note_message();
                Event::Publish(Message::read(version, frame))
            }
            kind::PUBACK => {
                let mut waiting = lock(&self.out.waiting);
                waiting.published = waiting.published.saturating_sub(1);
                Event::Other
            }
            kind::PUBREL => {
                // The message is safe since its PUBREC; a PUBREL that nobody waits for is answered too, or it comes for ever.
                let (id, _) = packet::packet_id(&frame.body).ok_or_else(|| unreadable("PUBREL"))?;
                packet::pubcomp(&mut lock(&self.out.waiting).bytes, id);
                return Ok(None);
            }
            kind::SUBACK => {
                let (id, codes) = packet::acknowledged(version, &frame.body).ok_or_else(|| unreadable("SUBACK"))?;
                Event::SubAck { id, codes: codes.into_iter().map(granted).collect() }
            }
            kind::UNSUBACK => {
                let (id, codes) = packet::acknowledged(version, &frame.body).ok_or_else(|| unreadable("UNSUBACK"))?;
                Event::UnsubAck { id, codes: codes.into_iter().map(granted).collect() }
            }
            kind::PINGRESP => Event::Other,
            kind::DISCONNECT if version == Version::V5 => return Err(packet::disconnect(&frame.body)),
            other => return Err(ConnectError::Lost(format!("the broker sent a packet of type {other}"))),
        }))
    }

    /// Writes what there is to write, and reads.
    fn step(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        if self.ping.as_mut().poll(context).is_ready() {
            if self.is_quiet {
                return Poll::Ready(Err(ConnectError::Lost("a ping was not answered".into())));
            }
            self.is_quiet = true;
            packet::ping(&mut lock(&self.out.waiting).bytes);
            self.ping.as_mut().reset(Instant::now() + self.keep_alive);
            return Poll::Ready(Ok(()));
        }
        if self.write(context).map_err(|error| ConnectError::broken(&error))? {
            return Poll::Ready(Ok(()));
        }
        let read = self.read(context);
        if read.is_pending() {
            self.rest.before_wait();
        }
        read
    }

    /// Writes as much as the socket takes; whether anything has left that the session is told of.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        self.out.waker.register(context.waker());
        let Some(link) = &mut self.link else { return Ok(false) };
        loop {
            if self.sending.is_empty() {
                let mut waiting = lock(&self.out.waiting);
                std::mem::swap(&mut self.sending, &mut waiting.bytes);
                self.sending_acks += std::mem::take(&mut waiting.acks);
                self.sending_ends |= std::mem::take(&mut waiting.ends);
            }
            if self.sending.is_empty() && self.is_flushed {
                return Ok(!self.events.is_empty());
            }
            while self.sent < self.sending.len() {
                match AsyncWrite::poll_write(Pin::new(&mut **link), context, &self.sending[self.sent..]) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(written) => self.sent += written?,
                    Poll::Pending => return Ok(!self.events.is_empty()),
                }
                self.is_flushed = false;
            }
            self.sending.clear();
            self.sending.shrink_to(KEPT_BYTES);
            self.sent = 0;
            match AsyncWrite::poll_flush(Pin::new(&mut **link), context) {
                Poll::Ready(flushed) => flushed?,
                Poll::Pending => return Ok(!self.events.is_empty()),
            }
            self.is_flushed = true;
            let acks = std::mem::take(&mut self.sending_acks);
            if acks > 0 {
                self.events.push_back(Event::AcksSent(acks));
            }
            if std::mem::take(&mut self.sending_ends) {
                self.events.push_back(Event::DisconnectSent);
            }
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        let Some(link) = &mut self.link else { return Poll::Ready(Err(ConnectError::Closed)) };
        let reading = std::pin::pin!(link.read_buf(self.reader.space()));
        match ready!(reading.poll(context)) {
            Ok(0) => Poll::Ready(Err(ConnectError::Closed)),
            Ok(_) => {
                self.is_quiet = false;
                self.rest.after_read(Instant::now());
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(ConnectError::broken(&error))),
        }
    }
}

/// What a code of a SUBACK or an UNSUBACK says: the QoS granted, or the refusal.
fn granted(code: u8) -> Result<u8, String> {
    if code < packet::reason::FAILED { Ok(code) } else { Err(packet::reason::words(code)) }
}

#[cfg(test)]
mod tests;
