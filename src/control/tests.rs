//! The interface as its clients meet it: real sockets, several clients, and each limit.

mod parts_of_keys;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    api::{Inspect, LatestAnswer, RingInfoError, Status},
    client::{Client, ClientError},
    *,
};
use crate::{
    clock::SimulatedClock,
    flush::replay::{ReplayAnswer, ReplayAsk, ReplayError, ReplayLane},
    latest::Latest,
    marks::{Seq, State},
    point::{Received, Row, Timestamp, Value},
    ring::inspect::RingInfo,
    settings,
    since::Since,
};

const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Fake {
    durable: AtomicU64,
    flushes: AtomicU64,
}

impl Inspect for Fake {
    fn state_of(&self, seq: Seq) -> State {
        if seq.0 <= self.durable.load(Ordering::SeqCst) { State::Durable } else { State::Memory }
    }

    fn status(&self) -> Status {
        Status { version: "0.0.0-test".into(), ..Status::default() }
    }

    fn ready(&self) -> Result<(), String> {
        if self.durable.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err("the ring is being recovered".into()) }
    }

    fn flush_now(&self) {
        self.flushes.fetch_add(1, Ordering::SeqCst);
    }

    fn ring_info(&self) -> Result<RingInfo, RingInfoError> {
        match self.durable.load(Ordering::SeqCst) {
            0 => Err(RingInfoError::Busy),
            records => Ok(RingInfo { records, ..RingInfo::default() }),
        }
    }

    fn replay(&self, ask: &ReplayAsk) -> Result<ReplayAnswer, ReplayError> {
        if ask.since == Since::Ago(Duration::ZERO) {
            return Err(ReplayError::Nothing(Some(Timestamp(0))));
        }
        let lanes = vec![ReplayLane { lane: 1, records: 2, rows: 3, bytes: 400 }];
        let (left_out, received) = (ask.tables.clone(), "1970-01-01T00:00:00Z".into());
        Ok(ReplayAnswer { number: 1, from: Seq(9), received, history_begins: true, lanes, left_out })
    }
}

pub(super) struct Served {
    _dir: tempfile::TempDir,
    path: PathBuf,
    latest: Arc<Latest>,
    fake: Arc<Fake>,
    pub app: Arc<App>,
    pub stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub(super) fn served(limits: Limits) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let latest = Arc::new(Latest::new(&settings::Latest::default()));
    let fake = Arc::new(Fake::default());
    let clock = Arc::new(SimulatedClock::at(Timestamp(10_000_000_000)));
    let inspect: Arc<dyn Inspect> = fake.clone();
    let app = Arc::new(App::new(Arc::clone(&latest), inspect, clock, Duration::from_secs(5), limits));
    let (stop, stopping) = watch::channel(false);
    let listener = UnixListener::bind(&path).unwrap();
    let task = tokio::spawn(serve(listener, Arc::clone(&app), stopping));
    Served { _dir: dir, path, latest, fake, app, stop, task }
}

impl Served {
    fn reading(&self, device: &str, seconds: i64, seq: u64) {
        let row = Row {
            time: Some(Timestamp(seconds * 1_000_000_000)),
            device_time: true,
            symbols: vec![("device".into(), device.into())],
            fields: vec![("temperature".into(), Value::Double(21.5)), ("bad".into(), Value::Double(f64::NAN))],
            ..Row::default()
        };
        let received = Received { wall: Timestamp(9_000_000_000), since_boot_ns: 0 };
        self.latest.update("sensors", &row, Seq(seq), received);
    }

    async fn client(&self) -> Client {
        Client::connect(&self.path).await.unwrap()
    }

    /// What comes back for raw bytes, until the server closes.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(request).await.unwrap();
        read_all(&mut stream).await
    }
}

pub(super) async fn read_all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8(answer).unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

fn detail(error: &ClientError) -> (u16, String) {
    match error {
        ClientError::Problem(problem) => (problem.status, problem.detail.clone()),
        other => panic!("a problem document, not {other}"),
    }
}

#[tokio::test]
async fn latest_answers_with_age_state_and_staleness() {
    let served = served(Limits::default());
    served.reading("dev-1", 8, 1);
    served.reading("dev-2", 1, 2);
    served.fake.durable.store(1, Ordering::SeqCst);
    let mut client = served.client().await;
    let answer: LatestAnswer = client.get_json("/v1/latest?table=sensors&device=dev-1").await.unwrap();
    let one = &answer.series[0];
    assert_eq!((answer.series.len(), one.age_ms, one.stale, one.state), (1, 2_000, false, State::Durable));
    assert_eq!((one.time.as_str(), one.fields["temperature"].as_f64()), ("1970-01-01T00:00:08Z", Some(21.5)));
    assert!(one.fields["bad"].is_null());
    let answer: LatestAnswer = client.get_json("/v1/latest?table=sensors").await.unwrap();
    assert_eq!((answer.series.len(), answer.truncated), (2, false));
    assert_eq!((answer.series[1].stale, answer.series[1].state), (true, State::Memory));
    let answer: LatestAnswer = client.get_json("/v1/latest?limit=1").await.unwrap();
    assert_eq!((answer.series.len(), answer.truncated), (1, true));
}

#[tokio::test]
async fn one_series_is_answered_as_a_listing_of_one_is() {
    let served = served(Limits::default());
    served.reading("dev-1", 8, 1);
    served.reading("dev-2", 1, 2);
    let mut client = served.client().await;
    for query in ["", "&field=temperature", "&stale=false", "&before=1970-01-01T00:00:09Z"] {
        let one = format!("/v1/latest?table=sensors&device=dev-1{query}");
        let (directly, listed) =
            (client.get(&one).await.unwrap(), client.get(&format!("{one}&limit=1")).await.unwrap());
        assert_eq!(String::from_utf8(directly), String::from_utf8(listed), "{query}");
    }
    for query in ["&field=none", "&stale=true"] {
        let refused = client.get(&format!("/v1/latest?table=sensors&device=dev-1{query}")).await.unwrap_err();
        assert_eq!(detail(&refused), (404, "no series matches".to_owned()), "{query}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let served = served(Limits::default());
    let mut client = served.client().await;
    for (path, status, word) in [
        ("/v1/latest?table=none", 404, "no series"),
        ("/v1/latest?limit=0", 400, "limit=0"),
        ("/v1/latest?limit=many", 400, "limit=many"),
        ("/v1/latest?table=a&table=b", 400, "twice"),
        ("/v1/latest?snapshot=true", 400, "/v1/watch"),
        ("/v1/watch?limit=1", 400, "/v1/latest"),
        ("/v1/watch?min_state=stored&wait=1s", 400, "/v1/latest"),
        ("/v1/latest?device=a&device=b", 400, "twice"),
        ("/v1/nothing", 404, "/v1/nothing"),
        ("/v1/flush", 405, "GET"),
        ("/readyz", 503, "recovered"),
    ] {
        let error = client.get(path).await.unwrap_err();
        let (code, text) = detail(&error);
        assert!(code == status && text.contains(word), "{path}: {code} {text}");
    }
    // A client of InfluxDB is told the same in its words.
    let health = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = served.raw(health).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"status\":\"fail\""), "{answer}");
    assert!(answer.contains("recovered"), "{answer}");
    served.fake.durable.store(1, Ordering::SeqCst);
    assert!(client.get("/readyz").await.is_ok());
    let answer = served.raw(health).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"status\":\"pass\""), "{answer}");
    assert!(client.get("/healthz").await.is_ok());
    let status: serde_json::Value = client.get_json("/v1/status").await.unwrap();
    assert_eq!(status["version"], "0.0.0-test");
    assert!(String::from_utf8(client.get("/metrics").await.unwrap()).unwrap().contains("forebay_rows_total 0"));
    client.post("/v1/flush").await.unwrap();
    assert_eq!(served.fake.flushes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn symbols_named_like_parameters_can_be_asked_for() {
    let served = served(Limits::default());
    let row = Row {
        symbols: vec![("table".into(), "7".into())],
        fields: vec![("x".into(), Value::Long(1))],
        ..Row::default()
    };
    served.latest.update("restaurant", &row, Seq(1), Received::default());
    let mut client = served.client().await;
    let answer: LatestAnswer = client.get_json("/v1/latest?symbol.table=7").await.unwrap();
    assert_eq!(answer.series[0].table, "restaurant");
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_cut_off() {
    let served = served(Limits { head_timeout: Duration::from_millis(50), ..Limits::default() });
    let mut slow = UnixStream::connect(&served.path).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: f").await.unwrap();
    let mut silent = UnixStream::connect(&served.path).await.unwrap();
    assert_eq!((read_all(&mut slow).await, read_all(&mut silent).await), (String::new(), String::new()));
}

#[tokio::test]
async fn a_newcomer_is_served_in_place_of_whoever_is_silent() {
    let served = served(Limits { connections: 2, ..Limits::default() });
    let mut silent = UnixStream::connect(&served.path).await.unwrap();
    let _slow = UnixStream::connect(&served.path).await.unwrap();
    let answer = served.raw(b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(read_all(&mut silent).await, "", "it had waited longest");
}

#[tokio::test]
async fn while_all_are_being_served_a_newcomer_is_told_to_come_again() {
    let served = served(Limits { connections: 2, ..Limits::default() });
    let _watching = [served.client().await.events("/v1/watch").await, served.client().await.events("/v1/watch").await];
    let mut late = UnixStream::connect(&served.path).await.unwrap();
    let full = read_all(&mut late).await;
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("too many connections"), "{full}");
}

#[tokio::test]
async fn a_newcomer_does_not_wait_for_ever_for_one_who_asks_often() {
    let served = served(Limits { connections: 1, ..Limits::default() });
    let mut busy = served.client().await;
    let mut newcomer = UnixStream::connect(&served.path).await.unwrap();
    newcomer.write_all(b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let asks = async {
        // Where the machine stands still for a moment, the seat is the newcomer's.
        while busy.get_json::<serde_json::Value>("/healthz").await.is_ok() {
            sleep(seats::GRACE / 4).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        told = read_all(&mut newcomer) => assert!(told.starts_with("HTTP/1.1 "), "{told}"),
        () = asks => {}
    }
}

#[tokio::test]
async fn an_idle_connection_is_let_go() {
    let served = served(Limits { head_timeout: Duration::from_millis(50), ..Limits::default() });
    let answer = served.raw(b"GET /healthz HTTP/1.1\r\nhost: forebay\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let served = served(Limits::default());
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2 * server::MAX_HEAD_BYTES));
    let mut stream = UnixStream::connect(&served.path).await.unwrap();
    let _ = stream.write_all(long.as_bytes()).await;
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let served = served(Limits { write_timeout: Duration::from_millis(50), connections: 1, ..Limits::default() });
    for n in 0..2_000 {
        served.reading(&format!("dev-{n}"), 8, 1);
    }
    let mut stuck = UnixStream::connect(&served.path).await.unwrap();
    stuck.write_all(b"GET /v1/latest HTTP/1.1\r\nhost: forebay\r\n\r\n").await.unwrap();
    // Its answer is larger than the socket's buffers; once the server gives up, what was sent ends early.
    // The one connection there may be is free again then.
    let free = async {
        loop {
            let mut next = UnixStream::connect(&served.path).await.unwrap();
            let _ = next.write_all(b"GET /healthz HTTP/1.1\r\nhost: forebay\r\nconnection: close\r\n\r\n").await;
            if read_all(&mut next).await.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), free).await.expect("the stuck reader is cut off");
    let answer = read_all(&mut stuck).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.ends_with("]}"), "{} bytes", answer.len());
}

#[tokio::test]
async fn a_reader_that_takes_a_byte_now_and_then_is_cut_off_too() {
    let served = served(Limits { write_timeout: Duration::from_millis(200), ..Limits::default() });
    for n in 0..2_000 {
        served.reading(&format!("dev-{n}"), 8, 1);
    }
    let mut slow = UnixStream::connect(&served.path).await.unwrap();
    slow.write_all(b"GET /v1/latest HTTP/1.1\r\nhost: forebay\r\n\r\n").await.unwrap();
    let trickle = async {
        let mut taken = 0;
        while slow.read(&mut [0; 256]).await.is_ok_and(|read| read > 0) {
            taken += 256;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        taken
    };
    let taken = timeout(DEADLINE, trickle).await.expect("it is cut off");
    assert!(taken < 450_000, "{taken} bytes, and the answer is larger");
}

#[tokio::test]
async fn requests_sent_without_end_while_no_answer_is_taken_are_read_no_further() {
    let served = served(Limits { write_timeout: Duration::from_millis(200), ..Limits::default() });
    let mut stuck = UnixStream::connect(&served.path).await.unwrap();
    let request = b"GET /v1/status HTTP/1.1\r\nhost: forebay\r\n\r\n".repeat(100);
    let endless = async { while stuck.write_all(&request).await.is_ok() {} };
    timeout(DEADLINE, endless).await.expect("it is cut off");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_longer_than_it_may_take() {
    let seats = seats::Seats::new(1, 0);
    let seats::Offer::Seat(taken) = seats.take(false) else { panic!("there is a seat") };
    let (ours, theirs) = tokio::io::duplex(1024);
    let seat = Arc::clone(taken.seat());
    tokio::spawn(async move {
        let take = |body: axum::body::Bytes| async move { format!("{} bytes", body.len()) };
        let routes = axum::Router::new().route("/", axum::routing::post(take));
        let routes = &super::routes::Routes::from(routes);
        let limit = Duration::from_millis(50);
        let service = hyper::service::service_fn(|request| attend::attend(routes, request, Arc::clone(&seat), limit));
        let io = hyper_util::rt::TokioIo::new(theirs);
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    });
    let (mut read, mut write) = tokio::io::split(ours);
    write.write_all(b"POST / HTTP/1.1\r\nhost: f\r\ncontent-length: 900\r\n\r\n").await.unwrap();
    let trickle = async {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = [0; 12];
    let whole = tokio::select! {
        read = timeout(DEADLINE, read.read_exact(&mut answer)) => read.unwrap().is_ok(),
        () = trickle => false,
    };
    assert!(whole && answer == *b"HTTP/1.1 400", "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn watchers_get_what_matches_and_their_number_is_limited() {
    let served = served(Limits { watchers: 2, ..Limits::default() });
    let mut one = served.client().await.events("/v1/watch?device=dev-1").await.unwrap();
    let mut all = served.client().await.events("/v1/watch").await.unwrap();
    let refused = served.client().await.events("/v1/watch").await.unwrap_err();
    assert_eq!(detail(&refused).0, 503);
    served.reading("dev-2", 8, 1);
    served.reading("dev-1", 8, 2);
    let device = async |events: &mut client::Events| {
        let event = timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
        let series: api::SeriesView = serde_json::from_str(&event.data).unwrap();
        series.symbols["device"].clone()
    };
    assert_eq!(device(&mut one).await, "dev-1");
    assert_eq!((device(&mut all).await, device(&mut all).await), ("dev-2".into(), "dev-1".into()));
    drop(one);
    until("a watcher that leaves is gone", || served.latest.status().watchers == 1).await;
    let again = async { while served.client().await.events("/v1/watch").await.is_err() {} };
    timeout(DEADLINE, again).await.expect("its place is free");
}

#[tokio::test]
async fn a_slow_watcher_is_told_what_it_missed_and_what_holds_now() {
    let served = served(Limits::default());
    let mut events = served.client().await.events("/v1/watch?device=dev-1").await.unwrap();
    // No await: the server can't run in between, so all of this waits for the watcher.
    for n in 0..2_000 {
        served.reading("dev-1", 8 + n, n as u64);
    }
    let missed = timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((missed.event.as_str(), missed.data.as_str()), ("missed", "{\"missed\":2000}"));
    let now = timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
    assert!(now.data.contains("1970-01-01T00:33:27Z"), "{}", now.data);
}

#[tokio::test]
async fn the_stop_ends_watchers_and_idle_connections() {
    let served = served(Limits::default());
    let mut events = served.client().await.events("/v1/watch").await.unwrap();
    let _idle = UnixStream::connect(&served.path).await.unwrap();
    served.stop.send(true).unwrap();
    assert_eq!(timeout(DEADLINE, events.next()).await.unwrap().unwrap(), None);
    timeout(DEADLINE, served.task).await.unwrap().unwrap();
    assert!(matches!(Client::connect(&served.path).await, Err(ClientError::Refused(_))));
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = Client::connect(&dir.path().join("none")).await.unwrap_err();
    assert!(error.is_unreachable() && matches!(error, ClientError::Missing(_)));
}

#[tokio::test]
async fn tcp_reads_only_and_by_a_loopback_name_only() {
    let served = served(Limits::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopping = served.stop.subscribe();
    tokio::spawn(serve_tcp(listener, Arc::clone(&served.app), stopping));
    let ask = async |request: String| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    };
    let request = |method: &str, path: &str, host: &str| {
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
    };
    assert!(ask(request("GET", "/healthz", "localhost")).await.starts_with("HTTP/1.1 200"));
    assert!(ask(request("GET", "/healthz", "evil.example")).await.starts_with("HTTP/1.1 403"));
    assert!(ask(request("POST", "/v1/flush", "localhost")).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_ring_is_told_or_busy() {
    let served = served(Limits::default());
    let mut client = served.client().await;
    let busy = client.get("/v1/ring").await.unwrap_err();
    assert_eq!(detail(&busy), (503, "the ring is being read for another request".into()));
    served.fake.durable.store(7, Ordering::SeqCst);
    let info: RingInfo = client.get_json("/v1/ring").await.unwrap();
    assert_eq!(info.records, 7);
}
