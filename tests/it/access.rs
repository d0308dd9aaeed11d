//! Who may do what over the socket and the loopback listener, and that clients who are slow, silent or talk nonsense cost nobody anything.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings,
    daemon::{FOREBAY, told},
    eventually_eq, heavy,
    process::free_port,
    unique,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Clients that misbehave, at each of socket and listener.
const CLIENTS: usize = 204;
/// The newcomers before it may each take a tenth of a second's turn; the rest is for a machine that does other things too.
const PROMPT: Duration = Duration::from_secs(5);

/// Either kind of connection.
trait Stream: Read + Write + Send {
    fn patience(&self, limit: Duration);
    fn half_close(&self);
    /// Whether the other end has closed; what it sent stays where it is.
    fn is_closed(&self) -> bool;
}

fn hung_up(stream: &impl std::os::fd::AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    let _ = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

impl Stream for TcpStream {
    fn patience(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).and_then(|()| self.set_write_timeout(Some(limit))).expect("time-outs");
    }

    fn half_close(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn is_closed(&self) -> bool {
        hung_up(self)
    }
}

impl Stream for UnixStream {
    fn patience(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).and_then(|()| self.set_write_timeout(Some(limit))).expect("time-outs");
    }

    fn half_close(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn is_closed(&self) -> bool {
        hung_up(self)
    }
}

/// Where to connect.
#[derive(Clone, Copy)]
enum Place<'a> {
    Tcp(u16),
    Unix(&'a Path),
}

impl Place<'_> {
    fn connect(self, patience: Duration) -> std::io::Result<Box<dyn Stream>> {
        let stream: Box<dyn Stream> = match self {
            Self::Tcp(port) => Box::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?),
            Self::Unix(path) => Box::new(UnixStream::connect(path)?),
        };
        stream.patience(patience);
        Ok(stream)
    }

    /// All that is answered to raw bytes until the daemon closes.
    fn ask(self, request: &[u8]) -> String {
        let mut stream = self.connect(LIMIT).expect("connects");
        // A daemon that refuses closes before all is written.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The status of an answer; 0 when there is none.
    fn status(self, request: &str) -> u16 {
        self.ask(request.as_bytes()).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

fn request(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n")
}

/// A daemon with a loopback listener, and its port.
fn daemon(broker: &Mosquitto, questdb: &QuestDb, readings: &Readings) -> (Daemon, u16) {
    let port = free_port();
    let builder = DaemonBuilder::new().servers(broker, questdb).source(readings);
    let daemon = builder.set("control.listen", format!("127.0.0.1:{port}")).start();
    daemon.wait_subscribed();
    (daemon, port)
}

/// Ways to misbehave: what is sent at first, and what again and again. Nothing is ever read.
const MISCHIEF: [(&str, &str); 6] = [
    ("", ""),
    ("GET /v1/status HTTP/1.1\r\nhost: localhost\r\nx: ", "x"),
    ("POST /v1/flush HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n", "x"),
    ("GET /v1/watch HTTP/1.1\r\nhost: localhost\r\n\r\n", ""),
    ("GET /v1/latest HTTP/1.1\r\nhost: localhost\r\n\r\n", ""),
    (LISTING, LISTING),
];
const LISTING: &str = "GET /v1/latest HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// Listings cost the daemon work, which this is not about: one client in so many asks for them.
const WORK: usize = 25;

fn misbehave(n: usize, place: Place) -> Option<(Box<dyn Stream>, &'static str)> {
    let kind = if n.is_multiple_of(WORK) { 4 + n / WORK % 2 } else { n % 4 };
    let (first, again) = MISCHIEF[kind];
    let mut stream = place.connect(Duration::from_millis(5)).ok()?;
    let _ = stream.write_all(first.as_bytes());
    if kind == 0 && n.is_multiple_of(8) {
        stream.half_close();
    }
    Some((stream, again))
}

/// Keeps them connected, anew as soon as they are thrown out.
fn besiege(place: Place, stop: &AtomicBool) {
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| misbehave(n, place)).collect();
    while !stop.load(Ordering::Relaxed) {
        for (n, client) in clients.iter_mut().enumerate() {
            let waits = |why: &std::io::Error| matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            let lost = client.as_mut().is_none_or(|(stream, again)| {
                stream.is_closed() || stream.write_all(again.as_bytes()).is_err_and(|why| !waits(&why))
            });
            if lost {
                *client = misbehave(n, place);
            }
        }
    }
}

/// Ends a siege when it goes, also when an assertion fails.
struct Lifted<'a>(&'a AtomicBool);

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The daemon's memory in use, in KiB (proc(5)).
fn memory_kib(daemon: &Daemon) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn two_hundred_clients_that_are_slow_or_silent_keep_nobody_waiting() {
    let _alone = heavy();
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("siege"), 1_000);
    let (daemon, port) = daemon(&broker, questdb, &readings);
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..1_000);
    daemon.wait_drained(1_000, LIMIT);
    let socket = daemon.socket();
    let places = [Place::Tcp(port), Place::Unix(&socket)];
    let before = memory_kib(&daemon);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let _lifted = Lifted(stop);
        for place in places {
            scope.spawn(move || besiege(place, stop));
        }
        let full = |daemon: &Daemon| std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("runs").count();
        crate::support::eventually(LIMIT, "they are all there", || full(&daemon) > 100);
        let mut slowest = Duration::ZERO;
        for n in 0..40 {
            let began = Instant::now();
            let status = places[n % 2].status(&request("GET", "/v1/latest?limit=1", ""));
            slowest = slowest.max(began.elapsed());
            assert_eq!(status, 200, "request {n}");
        }
        println!("slowest of 40 answers: {slowest:?}");
        assert!(slowest < PROMPT, "{slowest:?}");
        let (code, _, error) = told(&daemon.cli(&["status"]));
        assert_eq!(code, 0, "{error}");
        readings.publish(&mut publisher, 1_000..5_000);
        daemon.wait_drained(5_000, LIMIT);
        assert!(full(&daemon) < 250, "{} files", full(&daemon));
    });
    let grown = memory_kib(&daemon).saturating_sub(before);
    println!("{grown} KiB more memory");
    assert!(grown < 128 << 10, "{grown} KiB more memory");
}

#[test]
fn nonsense_is_refused_and_ends_its_connection_alone() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("nonsense"), 1);
    let (daemon, port) = daemon(&broker, &questdb, &readings);
    let socket = daemon.socket();
    let tls: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let long = "x".repeat(40 << 10);
    let many = "a: b\r\n".repeat(100);
    for place in [Place::Tcp(port), Place::Unix(&socket)] {
        for (what, bytes) in [
            ("a long target", request("GET", &format!("/{long}"), "").into_bytes()),
            ("a long header", request("GET", "/v1/status", &format!("x: {long}\r\n")).into_bytes()),
            ("many headers", request("GET", "/v1/status", &many).into_bytes()),
            ("TLS", [tls, &[b'x'; 600]].concat()),
            ("binary", (0..=255).cycle().take(64 << 10).collect()),
            ("another protocol", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
            ("two lengths", request("POST", "/v1/flush", "content-length: 1\r\ncontent-length: 2\r\n").into_bytes()),
        ] {
            let answer = place.ask(&bytes);
            let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5");
            assert!(refused && answer.len() < 2_000, "{what}: {answer}");
        }
        let pipelined = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n\0\0garbage\r\n\r\n";
        let answer = place.ask(pipelined.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 400"), "{answer}");
        assert_eq!(place.status(&request("GET", "/healthz", "")), 200);
    }
}

#[test]
fn the_listener_only_reads_and_only_for_this_machine() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("listener"), 1);
    let (_daemon, port) = daemon(&broker, &questdb, &readings);
    let place = Place::Tcp(port);
    for target in
        ["/v1/flush", "/v1/replay?since_ms=1000", "/v1/quarantine/requeue?all=true", "/v1/quarantine/drop?all=true"]
    {
        assert_eq!(place.status(&request("POST", target, "")), 404, "{target}");
    }
    for target in ["/v1/quarantine", "/v1/quarantine/entry?id=1-1"] {
        assert_eq!(place.status(&request("GET", target, "")), 404, "{target}");
    }
    for target in ["/", "/page/app.js", "/v1/status", "/v1/latest", "/metrics"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            assert_eq!(place.status(&request(method, target, "")), 405, "{method} {target}");
        }
        for header in
            ["origin: http://evil.example", "origin: null", "sec-fetch-site: cross-site", "sec-fetch-site: same-site"]
        {
            assert_eq!(place.status(&request("GET", target, &format!("{header}\r\n"))), 403, "{header} {target}");
        }
        let elsewhere = format!("GET {target} HTTP/1.1\r\nhost: evil.example:{port}\r\nconnection: close\r\n\r\n");
        assert_eq!(place.status(&elsewhere), 403, "{target}");
    }
    for target in ["/", "/page/style.css", "/v1/status", "/nothing"] {
        let answer = place.ask(request("GET", target, "").as_bytes());
        for header in [
            "content-security-policy: default-src 'none'; ",
            "x-content-type-options: nosniff",
            "frame-ancestors 'none'",
        ] {
            assert!(answer.contains(header), "{target} lacks {header}: {answer}");
        }
        assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{answer}");
    }
}

/// Runs curl as another user and group; the status it was answered, or 0.
fn status_as(uid: u32, gid: u32, socket: &Path, method: &str, target: &str) -> u16 {
    let output = Command::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={gid}")])
        .args(["--clear-groups", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "--unix-socket"])
        .arg(socket)
        .arg(format!("http://forebay{target}"))
        .output()
        .expect("setpriv and curl are there: run tests/tools/install-deps test");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0)
}

/// What the command says to another user and group who may not connect.
fn advice_as(uid: u32, gid: u32, socket: &Path) -> String {
    let output = Command::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={gid}")])
        .args(["--clear-groups", FOREBAY, "status", "--socket"])
        .arg(socket)
        .output()
        .expect("setpriv is there");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_sockets_mode_and_group_say_who_reads_and_the_kernel_says_who_administers() {
    const NOBODY: u32 = 65_534;
    const GROUP: u32 = 54_321;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let builder = DaemonBuilder::new().servers(&broker, &questdb).source(&Readings::new(unique("peer"), 1));
    let mut daemon = builder.set("control.group", GROUP.to_string()).start();
    let socket = daemon.socket();
    let file = std::fs::metadata(&socket).expect("the socket");
    assert_eq!((file.permissions().mode() & 0o777, std::os::unix::fs::MetadataExt::gid(&file)), (0o660, GROUP));
    assert_eq!(status_as(NOBODY, NOBODY, &socket, "GET", "/v1/status"), 0, "neither owner nor group");
    assert_eq!(status_as(NOBODY, GROUP, &socket, "GET", "/v1/status"), 200, "of the group");
    for target in
        ["/v1/flush", "/v1/replay?since_ms=1000", "/v1/quarantine/requeue?all=true", "/v1/quarantine/drop?all=true"]
    {
        assert_eq!(status_as(NOBODY, GROUP, &socket, "POST", target), 403, "{target}");
    }
    assert_eq!(status_as(0, 0, &socket, "POST", "/v1/flush"), 202, "root");

    let advised = advice_as(NOBODY, NOBODY, &socket);
    assert!(advised.contains(&format!("sudo usermod -aG {GROUP} $USER")), "{advised}");
    assert_eq!(advice_as(NOBODY, GROUP, &socket), "", "a member is let in");

    assert!(daemon.stop().success());
    daemon.reconfigure(|builder| builder.set("control.mode", "0600"));
    daemon.restart();
    let advised = advice_as(NOBODY, GROUP, &socket);
    assert!(advised.contains("closed to you (mode 0600); use sudo") && !advised.contains("usermod"), "{advised}");
    assert_eq!(std::fs::metadata(&socket).expect("the socket").permissions().mode() & 0o777, 0o600);
    assert_eq!(status_as(NOBODY, GROUP, &socket, "GET", "/v1/status"), 0, "the mode shuts the group out");
    eventually_eq(LIMIT, "root is answered", 200, || status_as(0, 0, &socket, "GET", "/v1/status"));
}

#[test]
fn a_daemon_without_descriptors_says_so_once_and_takes_clients_again() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("descriptors"), 1);
    let (daemon, port) = daemon(&broker, &questdb, &readings);
    daemon.wait_subscribed();
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("runs").count();
    let limit = format!("--nofile={0}:{0}", open + 8);
    let limited = Command::new("prlimit").args(["--pid", &daemon.id().to_string(), &limit]).status();
    assert!(limited.expect("prlimit can be run").success());
    let complaints = || daemon.log().matches("can't take connections").count();
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the kernel takes it");
    let crowd: Vec<TcpStream> = (0..30).map(|_| connect()).collect();
    crate::support::eventually(LIMIT, "that is told", || complaints() > 0);
    // Attempts go on, each tenth of a second at first.
    let until = Instant::now() + Duration::from_secs(3);
    crate::support::eventually(LIMIT, "some time passes", || Instant::now() > until);
    drop(crowd);
    eventually_eq(LIMIT, "clients are taken again", Some(200), || {
        let mut stream = Place::Tcp(port).connect(LIMIT).ok()?;
        stream.write_all(request("GET", "/healthz", "").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse::<u16>().ok()
    });
    assert_eq!(complaints(), 1, "{}", daemon.log());
}
