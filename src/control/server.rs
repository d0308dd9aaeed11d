//! The server's shell: takes connections, limits them, and ends them at the stop.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{debug, warn};

use super::{
    accepting::Accepting,
    api::Inspect,
    attend::attend,
    routes::{Routes, write::Writes},
    seats::{Offer, STALLED_AFTER, Seats, Taken, Told},
    stall::WriteTimeout,
};
use crate::{clock::SharedClock, latest::Latest};

/// Most connections at a time on each listener.
pub const MAX_CONNECTIONS: usize = 64;
/// Of the socket's, those that only administrators get.
pub const ADMIN_CONNECTIONS: usize = 8;
/// Most of a listener's connections that may be watching.
pub const MAX_WATCHERS: usize = 16;
/// Most series an answer lists.
pub const MAX_LISTED: usize = 2_000;
/// How long a client may take to send a request's head, and an idle connection is kept.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's body, once it is waited for.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave what it was sent untaken before it is cut off.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest request head in bytes (hyper's least is 8 KiB).
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// Most header fields.
pub const MAX_HEADERS: usize = 64;
/// How long answers under way may take once the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Looks for silent connections while one may be so, and their bounds.
const SWEEPS: u32 = 10;
const LEAST_SWEEP: Duration = Duration::from_millis(10);
const MOST_SWEEP: Duration = Duration::from_secs(1);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
retry-after: 1\r\n\r\n{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"too many connections\",\
\"hint\":\"close some, or try again in a moment\"}\n";

/// The limits in force; the defaults are this module's constants.
#[derive(Debug, Clone)]
pub struct Limits {
    /// See [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// See [`MAX_WATCHERS`].
    pub watchers: usize,
    /// See [`MAX_LISTED`].
    pub listed: usize,
    /// See [`HEAD_TIMEOUT`].
    pub head_timeout: Duration,
    /// See [`BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// See [`WRITE_TIMEOUT`].
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            watchers: MAX_WATCHERS,
            listed: MAX_LISTED,
            head_timeout: HEAD_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

/// What the routes answer from.
pub struct App {
    pub(super) latest: Arc<Latest>,
    pub(super) inspect: Arc<dyn Inspect>,
    pub(super) clock: SharedClock,
    pub(super) stale_after: Duration,
    pub(super) limits: Limits,
    pub(super) writes: Option<Writes>,
}

impl App {
    /// An interface onto the map and the daemon.
    pub fn new(
        latest: Arc<Latest>,
        inspect: Arc<dyn Inspect>,
        clock: SharedClock,
        stale_after: Duration,
        limits: Limits,
    ) -> Self {
        Self { latest, inspect, clock, stale_after, limits, writes: None }
    }

    /// The same, with somewhere to write to.
    #[must_use]
    pub fn with_writes(self, writes: Writes) -> Self {
        Self { writes: Some(writes), ..self }
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A local process of this user (`SO_PEERCRED`, unix(7)).
    User(u32),
    /// Unknown: a TCP connection.
    Unknown,
}

impl Peer {
    /// Root and the daemon's own user may administer.
    pub fn is_admin(self) -> bool {
        matches!(self, Self::User(uid) if uid == 0 || uid == rustix::process::geteuid().as_raw())
    }
}

trait Accept: Send {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Peer)>> + Send;
}

impl Accept for UnixListener {
    type Io = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<(Self::Io, Peer)> {
        let (stream, _) = UnixListener::accept(self).await?;
        let peer = stream.peer_cred().map_or(Peer::Unknown, |cred| Peer::User(cred.uid()));
        Ok((stream, peer))
    }
}

impl Accept for TcpListener {
    type Io = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Io, Peer)> {
        let (stream, _) = TcpListener::accept(self).await?;
        // One that has gone already is met when it is read from.
        let _ = stream.set_nodelay(true);
        Ok((stream, Peer::Unknown))
    }
}

/// Serves every route on the Unix socket until `stop` turns true.
pub async fn serve(listener: UnixListener, app: Arc<App>, stop: watch::Receiver<bool>) {
    let routes = Routes::local(Arc::clone(&app), stop.clone());
    run(listener, &routes, &app.limits, ADMIN_CONNECTIONS, stop).await;
}

/// Serves the routes that only read, and writing with the token, on a loopback TCP address until `stop` turns true.
pub async fn serve_tcp(listener: TcpListener, app: Arc<App>, stop: watch::Receiver<bool>) {
    let routes = Routes::read_only(Arc::clone(&app), stop.clone());
    run(listener, &routes, &app.limits, 0, stop).await;
}

async fn run<L: Accept>(
    listener: L,
    routes: &Routes,
    limits: &Limits,
    reserved: usize,
    mut stop: watch::Receiver<bool>,
) {
    let seats = Seats::new(limits.connections, reserved);
    let mut connections = JoinSet::new();
    let (mut accepting, began) = (Accepting::default(), Instant::now());
    // One look at all connections now and then, in place of a timer for each request.
    let mut sweep = interval((limits.head_timeout / SWEEPS).clamp(LEAST_SWEEP, MOST_SWEEP));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = sweep.tick(), if !connections.is_empty() => {
                seats.end_silent(limits.head_timeout);
                continue;
            }
            () = stopped(&mut stop) => break,
        };
        let (mut io, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(why) => {
                let (pause, tell) = accepting.failed(began.elapsed());
                if let Some(failures) = tell {
                    warn!(error = %why, failures, "can't take connections for status and values; if files run out, raise LimitNOFILE=");
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stopped(&mut stop) => {}
                }
                continue;
            }
        };
        accepting.succeeded();
        let waits_since = Instant::now();
        let taken = loop {
            match seats.take(peer.is_admin()) {
                Offer::Seat(taken) => break Some(taken),
                Offer::Full => break None,
                // Whoever asks often enough keeps its seat, and is no reason to let in nobody else.
                Offer::Wait(_) if waits_since.elapsed() > STALLED_AFTER => break None,
                // Those behind wait in the listener's queue, in their order.
                Offer::Wait(moment) => tokio::select! {
                    () = tokio::time::sleep(moment) => {}
                    Some(_) = connections.join_next() => {}
                    () = stopped(&mut stop) => break None,
                },
            }
        };
        let Some(taken) = taken else {
            // A fresh socket's buffer is empty: this is written at once or not at all.
            let _ = timeout(Duration::ZERO, io.write_all(BUSY)).await;
            continue;
        };
        let routes = routes.for_peer(peer);
        let limits = limits.clone();
        connections.spawn(async move { connection(io, &taken, &routes, &limits).await });
    }
    // Dropping the listener refuses newcomers while answers under way are finished.
    drop(listener);
    seats.stop();
    let _ = timeout(2 * STOP_GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    io: I,
    taken: &Taken,
    routes: &Routes,
    limits: &Limits,
) {
    let seat = taken.seat();
    let service = service_fn(|request| attend(routes, request, Arc::clone(seat), limits.body_timeout));
    let connection = http1::Builder::new()
        // The seats have one for all.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(WriteTimeout::new(io, limits.write_timeout, Arc::clone(seat))), service);
    let mut connection = std::pin::pin!(connection);
    let ended = poll_fn(|cx| match seat.poll_told(cx) {
        Poll::Ready(told) => Poll::Ready(Err(told)),
        Poll::Pending => {
            let polled = connection.as_mut().poll(cx).map(Ok);
            if polled.is_pending() {
                seat.is_waiting();
            }
            polled
        }
    });
    let ended = match ended.await {
        Ok(ended) => ended,
        Err(Told::Leave) => {
            debug!("a control connection that kept the server waiting is ended");
            return;
        }
        Err(Told::Stop) => {
            connection.as_mut().graceful_shutdown();
            timeout(STOP_GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(why) = ended {
        debug!(error = %why, "a control connection ended early");
    }
}

/// Completes once the daemon stops.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
