//! What 50 clients that read and list as fast as they can cost the one who brings readings, with
//! 100,000 series in the map; and how long one client waits for an answer to the whole key, and to
//! parts of it.
//!
//! `cargo bench --bench readers -- --seconds 10`. The kernel tells how often the bringing thread
//! gave its core up because it waited for something (voluntary context switches, proc(5)) and how
//! long it waited for a core. The first must stay next to zero (the memory allocator's locks and
//! page faults are left): readers cost it processor time, never a wait for them. The clients are a
//! process of their own, as they are where the daemon runs: in this one they would share the
//! allocator's locks with the bringer.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use forebay::{
    clock::SystemClock,
    control::{self, App, Inspect, Limits, Status, api::RingInfoError},
    flush::replay::{ReplayAnswer, ReplayAsk, ReplayError},
    latest::Latest,
    marks::{Seq, State},
    point::{Received, Row, Timestamp, Value},
    ring::inspect::RingInfo,
    settings,
};
use tokio::sync::watch;

const SERIES: usize = 100_000;
/// Series that share a device.
const A_DEVICE: usize = 10;
const CLIENTS: usize = 50;
const CLIENTS_ROLE: &str = "clients";
/// How long a kind of question is asked at a time, and how often it has its turn.
const TURN: Duration = Duration::from_millis(500);
const TURNS: u32 = 5;
const LEAST_READINGS_A_WAIT: u64 = 1_000_000;

struct Quiet;

impl Inspect for Quiet {
    fn state_of(&self, _: Seq) -> State {
        State::Stored
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

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, path] = &arguments[..]
        && role == CLIENTS_ROLE
    {
        return clients(Path::new(path));
    }
    let seconds = std::env::args().skip_while(|argument| argument != "--seconds").nth(1);
    let span = Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(10));
    let latest = Arc::new(Latest::new(&settings::Latest::default()));
    let rows = rows();
    let mut moment = 1;
    bring(&latest, &rows, Duration::ZERO, &mut moment, SERIES);
    println!("{SERIES} series, {} MiB", latest.status().bytes >> 20);
    let alone = bring(&latest, &rows, span, &mut moment, 0);
    println!("alone:            {alone}");

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let stop = serve(&path, Arc::clone(&latest));
    look_ups(&path).expect("answers");
    let clients = start_clients(&path);
    let read = bring(&latest, &rows, span, &mut moment, 0);
    let [one, listed] = clients.stop().map(|answers| answers as f64 / span.as_secs_f64());
    stop.send_replace(true);
    println!("with 50 clients:  {read}");
    println!("they were told:   {one:.0} single series and {listed:.0} listings of 2,000 a second");
    let slower = alone.per_cpu_second() / read.per_cpu_second() - 1.0;
    println!("a reading took {:.0} % more of the bringer's own processor time", slower * 100.0);
    let aim = 1 + read.readings / LEAST_READINGS_A_WAIT;
    println!("waits with readers: {}, aim: at most {aim}", read.waits);
}

fn rows() -> Vec<Row> {
    let fields = || ["temperature", "humidity", "co2"].map(|name| (name.into(), Value::Double(21.5))).to_vec();
    let symbols = |n| {
        let own = [("device", format!("device-{}", n / A_DEVICE)), ("sensor", format!("sensor-{n}"))];
        let symbols = own.into_iter().chain([("site", "north".to_owned())]);
        symbols.map(|(name, value)| (name.into(), value.into())).collect()
    };
    (0..SERIES)
        .map(|n| Row { time: None, device_time: true, symbols: symbols(n), fields: fields(), ..Row::default() })
        .collect()
}

/// What bringing readings cost.
struct Cost {
    readings: u64,
    wall: Duration,
    /// Time on a core, and time spent waiting for one.
    ran: Duration,
    queued: Duration,
    /// Times the thread gave its core up by itself.
    waits: u64,
    longest: Duration,
    p9999: Duration,
}

impl Cost {
    fn per_cpu_second(&self) -> f64 {
        self.readings as f64 / self.ran.as_secs_f64()
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { readings, wall, ran, queued, waits, longest, p9999 } = self;
        let rate = *readings as f64 / wall.as_secs_f64();
        write!(
            f,
            "{rate:.0} readings/s, {:.0} ns of processor time each; {waits} waits; on a core {:.0} % of the time, without one {:.0} %; \
             longest reading {longest:.1?}, 99.99 % within {p9999:.1?}",
            ran.as_nanos() as f64 / *readings as f64,
            100.0 * ran.as_secs_f64() / wall.as_secs_f64(),
            100.0 * queued.as_secs_f64() / wall.as_secs_f64(),
        )
    }
}

/// Brings readings for so long, but at least so many, on a thread of its own.
fn bring(latest: &Arc<Latest>, rows: &[Row], span: Duration, moment: &mut i64, least: usize) -> Cost {
    thread::scope(|scope| {
        let bringer = scope.spawn(|| {
            let mut took: Vec<u32> = Vec::with_capacity(1 << 26);
            let (before, began) = (account(), Instant::now());
            let mut last = began;
            while (last - began < span || took.len() < least) && took.len() < took.capacity() {
                *moment += 1;
                // A stride, so that neighbours in memory are not neighbours in time.
                let row = &rows[*moment as usize * 7_919 % rows.len()];
                let mut row = Row { time: Some(Timestamp(*moment * 1_000)), ..row.clone() };
                let start = Instant::now();
                latest.prepare("sensors", &mut row, Received::default());
                latest.update("sensors", &row, Seq(*moment as u64), Received::default());
                last = Instant::now();
                took.push((last - start).as_nanos().try_into().unwrap_or(u32::MAX));
            }
            let (after, wall) = (account(), began.elapsed());
            took.sort_unstable();
            let at = |share: f64| took.get((took.len() as f64 * share) as usize).or(took.last());
            let nanos = |nanos: Option<&u32>| Duration::from_nanos(nanos.copied().unwrap_or(0).into());
            Cost {
                readings: took.len() as u64,
                wall,
                ran: Duration::from_nanos(after[0] - before[0]),
                queued: Duration::from_nanos(after[1] - before[1]),
                waits: after[2] - before[2],
                longest: nanos(took.last()),
                p9999: nanos(at(0.9999)),
            }
        });
        bringer.join().expect("no panic")
    })
}

/// Nanoseconds on a core, nanoseconds waiting for one, voluntary context switches of this thread (proc(5)).
fn account() -> [u64; 3] {
    let schedule = fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    let mut numbers = schedule.split_whitespace().map(|number| number.parse().expect("a number"));
    let status = fs::read_to_string("/proc/thread-self/status").expect("status");
    let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("a count");
    [numbers.next().expect("time"), numbers.next().expect("time"), switches.trim().parse().expect("a number")]
}

/// The control interface as the daemon has it: a runtime with one worker.
fn serve(path: &Path, latest: Arc<Latest>) -> watch::Sender<bool> {
    let (stop, stopping) = watch::channel(false);
    let listener = std::os::unix::net::UnixListener::bind(path).expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
            let app =
                App::new(latest, Arc::new(Quiet), Arc::new(SystemClock), Duration::from_mins(5), Limits::default());
            tokio::spawn(control::serve(listener, Arc::new(app), stopping)).await.expect("no panic");
        });
    });
    stop
}

/// The query that names a series by its whole key.
fn whole_key(n: usize) -> String {
    format!("&device=device-{}&sensor=sensor-{n}&site=north", n / A_DEVICE)
}

/// A kind of question, and the query it asks of the nth series.
type Kind = (&'static str, fn(usize) -> String);

/// How long one client waits for answers to questions of several kinds, which take turns.
fn look_ups(path: &Path) -> io::Result<()> {
    let kinds: [Kind; 6] = [
        ("the whole key", whole_key),
        ("a symbol that one has", |n| format!("&sensor=sensor-{n}")),
        ("a symbol that ten have", |n| format!("&device=device-{}", n / A_DEVICE)),
        ("that one and one that all have", |n| format!("&device=device-{}&site=north", n / A_DEVICE)),
        ("the first ten by one that all have", |_| "&site=north&limit=10".to_owned()),
        ("the first ten of the table", |_| "&limit=10".to_owned()),
    ];
    let mut took = kinds.map(|_| Vec::new());
    let (mut stream, mut buffer, mut at) = (UnixStream::connect(path)?, Vec::new(), 0);
    for _ in 0..TURNS {
        for ((_, query), took) in kinds.iter().zip(&mut took) {
            let began = Instant::now();
            while began.elapsed() < TURN {
                at = (at + 7_919) % SERIES;
                let request = format!("GET /v1/latest?table=sensors{} HTTP/1.1\r\nhost: forebay\r\n\r\n", query(at));
                let start = Instant::now();
                stream.write_all(request.as_bytes())?;
                answer(&mut stream, &mut buffer)?;
                took.push(start.elapsed());
            }
        }
    }
    for took in &mut took {
        took.sort_unstable();
    }
    let at = |took: &[Duration], share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let whole = at(&took[0], 0.5);
    for ((name, _), took) in kinds.iter().zip(&took) {
        let (p50, p99) = (at(took, 0.5), at(took, 0.99));
        let ratio = p50.as_secs_f64() / whole.as_secs_f64();
        println!("{name}: p50 {p50:.1?} ({ratio:.2} of the whole key), p99 {p99:.1?}");
    }
    Ok(())
}

/// Clients that ask until they are told to stop.
struct Clients {
    process: Child,
    told: BufReader<ChildStdout>,
}

impl Clients {
    /// How many series and how many listings they were told.
    fn stop(mut self) -> [u64; 2] {
        drop(self.process.stdin.take());
        let mut told = String::new();
        self.told.read_line(&mut told).expect("it says how many");
        assert!(self.process.wait().expect("it ends").success(), "the clients were answered");
        let mut counts = told.split_whitespace().map(|count| count.parse().expect("a number"));
        [(); 2].map(|()| counts.next().expect("two counts"))
    }
}

/// Starts them, and waits until they have begun.
fn start_clients(path: &Path) -> Clients {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let command = command.arg(CLIENTS_ROLE).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().expect("starts");
    let mut told = BufReader::new(process.stdout.take().expect("a pipe"));
    told.read_line(&mut String::new()).expect("it begins");
    Clients { process, told }
}

/// The role of the process that holds all clients: they ask until its standard input ends.
fn clients(path: &Path) {
    let over = Arc::new(AtomicBool::new(false));
    let answers: Arc<[AtomicU64; 2]> = Arc::default();
    let clients: Vec<_> = (0..CLIENTS).map(|n| client(n, path.to_owned(), &over, &answers)).collect();
    println!("begun");
    let _ = io::stdin().read_to_end(&mut Vec::new());
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no panic").expect("answers");
    }
    let [one, listed] = [0, 1].map(|kind| answers[kind].load(Ordering::Relaxed));
    println!("{one} {listed}");
}

/// A client that asks for one series, and each fifth of them lists instead.
fn client(
    n: usize,
    path: PathBuf,
    over: &Arc<AtomicBool>,
    answers: &Arc<[AtomicU64; 2]>,
) -> thread::JoinHandle<io::Result<()>> {
    let (over, answers, lists) = (Arc::clone(over), Arc::clone(answers), n.is_multiple_of(5));
    thread::spawn(move || {
        let mut stream = UnixStream::connect(path)?;
        let (mut buffer, mut at) = (Vec::new(), n);
        while !over.load(Ordering::Relaxed) {
            at = (at + 7_919) % SERIES;
            let query = if lists { String::new() } else { whole_key(at) };
            write!(stream, "GET /v1/latest?table=sensors{query} HTTP/1.1\r\nhost: forebay\r\n\r\n")?;
            answer(&mut stream, &mut buffer)?;
            answers[usize::from(lists)].fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// Reads one answer and forgets it.
fn answer(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if length.map_or_else(|| buffer.ends_with(b"0\r\n\r\n"), |length| buffer.len() >= head + length) {
            return Ok(());
        }
    }
}
