//! The routes against an intake of their own: what is asked, what is answered, and what is limited.

use std::{io::Write as _, net::SocketAddr, sync::Mutex};

use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Notify, watch},
};

use super::*;
use crate::{
    clock::SimulatedClock,
    control::{App, Inspect, Limits, Status, api::RingInfoError, serve, serve_tcp},
    decode::line::LineError,
    flush::replay::{ReplayAnswer, ReplayAsk, ReplayError},
    ingest::write::WriteCounts,
    latest::Latest,
    marks::{Ackable, Pos, Seq, State},
    point::Timestamp,
    ring::inspect::RingInfo,
    settings,
    sync::lock,
};

const TOKEN: &str = "a-token-of-some-length";

/// Keeps what is written, and answers what it is told to.
struct Fake {
    bodies: Mutex<Vec<(Vec<u8>, Precision)>>,
    answers: Mutex<Vec<Written>>,
    room: Notify,
    ackable: watch::Sender<Ackable>,
    failed: watch::Sender<Option<String>>,
    counts: WriteCounts,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            bodies: Mutex::default(),
            answers: Mutex::default(),
            room: Notify::new(),
            ackable: watch::Sender::new(Ackable::default()),
            failed: watch::Sender::new(None),
            counts: WriteCounts::default(),
        }
    }
}

impl LineIntake for Fake {
    fn write(&self, writing: Writing<'_>) -> Written {
        lock(&self.bodies).push((writing.body.to_vec(), writing.precision));
        lock(&self.answers).pop().unwrap_or(Written::Accepted { end: Pos(0), rows: 1 })
    }

    fn room(&self) -> &Notify {
        &self.room
    }

    fn ackable(&self) -> watch::Receiver<Ackable> {
        self.ackable.subscribe()
    }

    fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    fn counts(&self) -> &WriteCounts {
        &self.counts
    }
}

struct Nothing;

impl Inspect for Nothing {
    fn state_of(&self, _: Seq) -> State {
        State::Memory
    }

    fn status(&self) -> Status {
        Status::default()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn flush_now(&self) {}

    fn ring_info(&self) -> Result<RingInfo, RingInfoError> {
        Err(RingInfoError::Busy)
    }

    fn replay(&self, _: &ReplayAsk) -> Result<ReplayAnswer, ReplayError> {
        Err(ReplayError::Busy)
    }
}

struct Served {
    fake: Arc<Fake>,
    app: Arc<App>,
    tcp: SocketAddr,
    socket: std::path::PathBuf,
    _stop: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

async fn served(with_token: bool, change: impl FnOnce(Writes) -> Writes) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let token = with_token.then(|| {
        let path = dir.path().join("token");
        std::fs::write(&path, TOKEN).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Arc::new(WriteToken::load(&path).unwrap())
    });
    let fake = Arc::new(Fake::default());
    let clock: SharedClock = Arc::new(SimulatedClock::at(Timestamp(10_000_000_000)));
    let writes = change(Writes::new(Arc::clone(&fake) as _, Arc::clone(&clock), token));
    let latest = Arc::new(Latest::new(&settings::Latest::default()));
    let app = App::new(latest, Arc::new(Nothing), clock, Duration::from_secs(5), Limits::default());
    let app = Arc::new(app.with_writes(writes));
    let (stop, stopping) = watch::channel(false);
    let socket = dir.path().join("s");
    tokio::spawn(serve(UnixListener::bind(&socket).unwrap(), Arc::clone(&app), stopping.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = listener.local_addr().unwrap();
    tokio::spawn(serve_tcp(listener, Arc::clone(&app), stopping));
    Served { fake, app, tcp, socket, _stop: stop, _dir: dir }
}

impl Served {
    /// What is answered over the socket to a request with these header lines.
    async fn ask(&self, target: &str, headers: &str, body: &[u8]) -> String {
        exchange(UnixStream::connect(&self.socket).await.unwrap(), target, headers, body).await
    }

    /// The same over the loopback listener.
    async fn ask_tcp(&self, target: &str, headers: &str, body: &[u8]) -> String {
        exchange(TcpStream::connect(self.tcp).await.unwrap(), target, headers, body).await
    }

    fn last(&self) -> (Vec<u8>, Precision) {
        lock(&self.fake.bodies).pop().expect("something was written")
    }
}

async fn exchange(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    target: &str,
    headers: &str,
    body: &[u8],
) -> String {
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("an answer").unwrap();
    String::from_utf8(answer).unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const GZIP: &str = "content-encoding: gzip\r\n";

#[track_caller]
fn has(answer: &str, status: u16, parts: &[&str]) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    for part in parts {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}

#[tokio::test]
async fn a_request_is_answered_once_it_is_durable() {
    let served = served(false, |writes| writes).await;
    lock(&served.fake.answers).push(Written::Accepted { end: Pos(5), rows: 3 });
    let mut asked = std::pin::pin!(served.ask("/write", "", b"t x=1"));
    served.fake.ackable.send_replace(Pos(4).into());
    assert!(timeout(Duration::from_millis(100), &mut asked).await.is_err(), "position 4 is not enough");
    assert_eq!(served.fake.counts.status().requests, 0);
    served.fake.ackable.send_replace(Pos(5).into());
    has(&asked.await, 204, &[]);
    assert_eq!((served.fake.counts.status().requests, served.fake.counts.status().rows), (1, 3));

    lock(&served.fake.answers).push(Written::Accepted { end: Pos(9), rows: 3 });
    served.fake.failed.send_replace(Some("the disk".into()));
    has(&served.ask("/write", "", b"t x=1").await, 503, &["the ring has failed"]);
}

#[tokio::test]
async fn bodies_come_plain_compressed_or_in_chunks() {
    let served = served(false, |writes| writes).await;
    has(&served.ask("/api/v2/write?org=o&bucket=b&precision=ms", "", b"t x=1 1").await, 204, &[]);
    assert_eq!(served.last(), (b"t x=1 1".to_vec(), Precision::Milliseconds));
    let two = [gzipped(b"t x=1\n"), gzipped(b"t x=2\n")].concat();
    has(&served.ask("/write?db=d", GZIP, &two).await, 204, &[]);
    assert_eq!(served.last(), (b"t x=1\nt x=2\n".to_vec(), Precision::Nanoseconds));

    let mut stream = UnixStream::connect(&served.socket).await.unwrap();
    let chunked = "POST /write HTTP/1.1\r\nhost: f\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nt x\r\n2\r\n=1\r\n0\r\n\r\n";
    stream.write_all(chunked.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    has(&answer, 204, &[]);
    assert_eq!(served.last().0, b"t x=1");
}

#[tokio::test]
async fn refusals_say_what_to_do_in_the_words_of_the_clients() {
    let served = served(false, |writes| writes).await;
    let answers = |answer: Written| lock(&served.fake.answers).push(answer);
    answers(Written::Malformed(LineError { line: 7, column: 3, reason: "no".into() }));
    let parts =
        ["\"code\":\"invalid\"", "\"line\":7", "\"errorId\":\"forebay-", "\"error\":\"failed to parse line protocol"];
    has(&served.ask("/write", "", b"t x=1").await, 400, &parts);
    answers(Written::Full { soon: false });
    has(&served.ask("/write", "", b"t x=1").await, 503, &["retry-after: 1", "the ring is full"]);
    answers(Written::TooLarge("9 rows".into()));
    has(&served.ask("/write", "", b"t x=1").await, 413, &["9 rows; send fewer rows at a time"]);
    answers(Written::Failed("the daemon is stopping".into()));
    has(&served.ask("/write", "", b"t x=1").await, 503, &["stopping", "retry-after"]);
    answers(Written::Dropped { rows: 12, due: Ackable::default() });
    has(&served.ask("/write", "", b"t x=1").await, 204, &["forebay-dropped-rows: 12"]);

    has(&served.ask("/write?precision=year", "", b"t x=1").await, 400, &["precision=\\\"year\\\""]);
    has(&served.ask("/write", "content-encoding: br\r\n", b"t x=1").await, 415, &["gzip"]);
    has(&served.ask("/write", GZIP, b"t x=1").await, 400, &["no gzip"]);
    let status = served.fake.counts.status();
    assert_eq!((status.malformed, status.full, status.refused, status.requests), (3, 1, 3, 0));
}

#[tokio::test]
async fn bodies_are_limited_in_size_as_sent_and_as_decompressed() {
    let served = served(false, |writes| writes).await;
    has(&served.ask("/write", "", &vec![b'x'; MAX_BODY_BYTES]).await, 204, &[]);
    has(&served.ask("/write", "", &vec![b'x'; MAX_BODY_BYTES + 1]).await, 413, &["fewer rows"]);
    has(&served.ask("/write", GZIP, &gzipped(&vec![b'x'; MAX_BODY_BYTES])).await, 204, &[]);
    has(&served.ask("/write", GZIP, &gzipped(&vec![b'x'; 20 * MAX_BODY_BYTES])).await, 413, &["fewer rows"]);
}

#[tokio::test]
async fn slow_bodies_and_too_many_of_them_are_refused() {
    let served = served(false, |writes| writes.with_body_timeout(Duration::from_millis(50))).await;
    let mut stream = UnixStream::connect(&served.socket).await.unwrap();
    stream.write_all(b"POST /write HTTP/1.1\r\nhost: f\r\ncontent-length: 9\r\n\r\nt x").await.unwrap();
    let mut answer = String::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_string(&mut answer));
    assert!(read.await.is_ok());
    has(&answer, 408, &["in time"]);

    let writes = served.app.writes.as_ref().unwrap();
    let held =
        Arc::clone(&writes.held).try_acquire_many_owned((MAX_HELD_BYTES - 4) as u32).expect("nobody else holds any");
    has(&served.ask("/write", "", b"t x=1").await, 503, &["too many requests", "retry-after"]);
    drop(held);
    has(&served.ask("/write", "", b"t x=1").await, 204, &[]);
    assert_eq!(writes.held.available_permits(), MAX_HELD_BYTES);
}

#[tokio::test]
async fn room_that_is_being_made_is_waited_for() {
    let served = served(false, |writes| writes).await;
    lock(&served.fake.answers).extend([
        Written::Accepted { end: Pos(0), rows: 1 },
        Written::Full { soon: true },
        Written::Full { soon: true },
    ]);
    has(&served.ask("/write", GZIP, &gzipped(b"t x=1")).await, 204, &[]);
    let bodies = std::mem::take(&mut *lock(&served.fake.bodies));
    assert_eq!(bodies, vec![(b"t x=1".to_vec(), Precision::Nanoseconds); 3]);
    *lock(&served.fake.answers) = vec![Written::Full { soon: true }; 200];
    has(&served.ask("/write", "", b"t x=1").await, 503, &["the ring is full"]);
}

#[tokio::test]
async fn the_listener_takes_the_token_only_and_the_socket_takes_none() {
    let with = served(true, |writes| writes).await;
    for path in ["/write", "/api/v2/write"] {
        has(&with.ask_tcp(path, "", b"t x=1").await, 401, &["www-authenticate: Bearer", "Authorization: Bearer"]);
        has(&with.ask_tcp(path, "authorization: Bearer wrong\r\n", b"t x=1").await, 401, &["not the token"]);
        has(&with.ask_tcp(path, &format!("authorization: Token {TOKEN}\r\n"), b"t x=1").await, 204, &[]);
        has(&with.ask_tcp(&format!("{path}?u=x&p={TOKEN}"), "", b"t x=1").await, 204, &[]);
        has(&with.ask(path, "", b"t x=1").await, 204, &[]);
    }
    assert_eq!((with.fake.counts.status().unauthorized, lock(&with.fake.bodies).len()), (4, 6));
    let without = served(false, |writes| writes).await;
    let offer = format!("authorization: Bearer {TOKEN}\r\n");
    has(&without.ask_tcp("/write", &offer, b"t x=1").await, 403, &["set control.token_file"]);
    assert!(lock(&without.fake.bodies).is_empty());
}

#[tokio::test]
async fn clients_are_told_what_they_ask_before_they_write() {
    let served = served(true, |writes| writes).await;
    let mut stream = TcpStream::connect(served.tcp).await.unwrap();
    let ask = "GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\nGET /settings HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    has(&answers, 204, &["x-influxdb-version: forebay-", "\"line.proto.support.versions\":[1]"]);
}

/// What is answered over the listener to GET.
async fn got(served: &Served, target: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(served.tcp).await.unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

#[tokio::test]
async fn clients_of_influxdb_find_the_database_they_look_for_and_whether_their_token_is_good() {
    let served = served(true, |writes| writes).await;
    let good = format!("authorization: Token {TOKEN}\r\n");
    let made = "{\"results\":[{\"statement_id\":0}]}";
    let form = b"db=telegraf&q=CREATE+DATABASE+%22telegraf%22";
    has(&served.ask_tcp("/query", &good, form).await, 200, &[made]);
    has(&served.ask_tcp("/query?q=CREATE%20DATABASE%20telegraf", &good, b"").await, 200, &[made]);
    has(&got(&served, "/query?q=SHOW%20DATABASES&db=a%22b", &good).await, 200, &["[[\"a\\\"b\"]]"]);
    let refused = ["forebay answers no queries", "\"error\":"];
    has(&got(&served, "/query?q=SELECT%201", &good).await, 400, &refused);
    has(&served.ask_tcp("/query", &good, b"q=DROP+DATABASE+a").await, 400, &refused);
    has(&served.ask_tcp("/query", &good, b"").await, 400, &["missing required parameter"]);
    has(&served.ask_tcp("/query", &good, &vec![b'x'; (64 << 10) + 1]).await, 413, &[]);
    let chunked = [b"10001\r\n".as_slice(), &vec![b'x'; 0x10001], b"\r\n0\r\n\r\n"].concat();
    let mut stream = UnixStream::connect(&served.socket).await.unwrap();
    let head = b"POST /query HTTP/1.1\r\nhost: f\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(&[head, &chunked[..]].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    has(&answer, 413, &["a statement has at most"]);

    let bucket = "\"buckets\":[{\"id\":\"0000000000000001\",\"orgID\":\"0000000000000001\",\"type\":\"user\",\"name\":";
    has(&got(&served, "/api/v2/buckets?name=home", &good).await, 200, &[bucket, "\"home\",\"retentionRules\":[]"]);
    has(&got(&served, "/api/v2/buckets?limit=20&offset=0", &good).await, 200, &[bucket, "\"forebay\""]);
    has(&got(&served, "/api/v2/buckets?limit=1&offset=1", &good).await, 200, &["\"buckets\":[]"]);

    let org = "\"orgs\":[{\"id\":\"0000000000000001\",\"name\":";
    has(&got(&served, "/api/v2/orgs?org=home", &good).await, 200, &[org, "\"home\""]);
    has(&got(&served, "/api/v2/orgs?offset=1", &good).await, 200, &["\"orgs\":[]"]);
    has(&got(&served, "/api/v2/setup", "").await, 200, &["{\"allowed\":false}"]);
    has(&got(&served, "/ready", "").await, 200, &["{\"status\":\"ready\"}"]);
    let conflict = "\"code\":\"conflict\",\"message\":";
    for (target, head) in [("/api/v2/buckets", good.as_str()), ("/api/v2/orgs", &good), ("/api/v2/setup", "")] {
        has(&served.ask_tcp(target, head, b"{\"orgID\":\"1\",\"name\":\"home\"}").await, 422, &[conflict]);
    }
    let said = served.ask_tcp("/api/v2/buckets", &good, b"{}").await;
    assert!(said.contains("forebay makes the tables by itself"), "{said}");
    has(&served.ask_tcp("/api/v2/buckets", "", b"{}").await, 401, &["takes a token"]);
    has(&got(&served, "/api/v2/health", &good).await, 404, &["\"code\":\"not found\",\"message\":"]);
    has(&got(&served, "/api/v2/write", &good).await, 405, &["\"code\":\"method not allowed\"", "allow: POST"]);
    has(&got(&served, "/health", "").await, 200, &["\"status\":\"pass\"", "\"name\":\"forebay\""]);
    for target in ["/query?q=SHOW%20DATABASES", "/api/v2/buckets"] {
        has(&got(&served, target, "").await, 401, &["takes a token"]);
        has(&got(&served, target, "authorization: Token wrong\r\n").await, 401, &["not the token"]);
    }
    assert!(lock(&served.fake.bodies).is_empty() && served.fake.counts.status().requests == 0);
}
