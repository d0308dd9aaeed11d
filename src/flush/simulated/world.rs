//! What happens between lanes and the database, in simulated time: requests under way, answers that are lost, servers that crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;

use super::database::{Database, Line, lane_of};
use crate::{
    clock::{Clock, SimulatedClock},
    point::Timestamp,
    questdb::{SqlError, WriteError},
};

/// The client's time-out for a request.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The world, as lanes and the run share it. All of a run happens in one thread.
pub type Shared = Arc<Mutex<World>>;

/// A request that has left and is not executed yet.
struct Request {
    number: u64,
    lines: Arc<Vec<Line>>,
    /// The connection it came by.
    link: u64,
    server: u64,
    executes: Duration,
    /// How long after its execution the client has the answer; none when nobody is going to take it.
    reply: Option<Duration>,
}

/// What a lane's connection waits for.
#[derive(Default)]
struct Waiting {
    number: u64,
    lines: Arc<Vec<Line>>,
    sent: Duration,
    answer: Option<(Duration, Result<(), WriteError>)>,
}

/// How hard the times are.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Of 100 requests so many come to grief.
    pub failing: u32,
    /// Of 100 questions so many are not answered.
    pub silent: u32,
    /// Whether refusals name lines.
    pub names_lines: bool,
    /// How long a crash may take back what was acknowledged.
    pub unsynced: Duration,
    /// How long after the next answer a request may still be executed.
    pub grace: Duration,
}

/// Everything outside the lanes.
pub struct World {
    pub clock: Arc<SimulatedClock>,
    pub rng: Rng,
    pub database: Database,
    pub weather: Weather,
    /// Lanes of the present life.
    pub lanes: usize,
    requests: Vec<Request>,
    waiting: Vec<Option<Waiting>>,
    sent: u64,
    /// Number of the server's process.
    pub server: u64,
    /// The one that last said in this life when it was started.
    known: Option<u64>,
    /// A request that left for another one.
    pub astray: Option<u64>,
    /// When it is up again.
    up_at: Duration,
    /// When the network is back.
    net_at: Duration,
    /// Counts cuts of the network, which end connections.
    pub cuts: u64,
    /// The lanes' connections, and which table each takes a name for, from its first row for it on.
    links: Vec<u64>,
    next_link: u64,
    taken_for: BTreeMap<(u64, String), i64>,
    /// The newest value of each table that was ever sent.
    pub newest_sent: BTreeMap<String, u64>,
    /// Values whose storing was told to a lane.
    pub confirmed: BTreeSet<u64>,
    pub trace: Option<Vec<String>>,
}

fn unreachable(what: &str) -> WriteError {
    WriteError::Unreachable(what.to_owned())
}

impl World {
    pub fn new(rng: Rng, weather: Weather, tells: bool) -> Self {
        Self {
            clock: Arc::new(SimulatedClock::at(Timestamp(1_800_000_000_000_000_000))),
            rng,
            database: Database::default(),
            weather,
            lanes: 1,
            requests: Vec::new(),
            waiting: Vec::new(),
            sent: 0,
            server: 1,
            known: None,
            astray: None,
            up_at: Duration::ZERO,
            net_at: Duration::ZERO,
            cuts: 0,
            links: Vec::new(),
            next_link: 0,
            taken_for: BTreeMap::new(),
            newest_sent: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            trace: tells.then(Vec::new),
        }
    }

    pub fn now(&self) -> Duration {
        self.clock.since_boot()
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} {}", now.as_secs_f64(), what()));
        }
    }

    pub fn is_up(&self) -> bool {
        self.now() >= self.up_at && self.now() >= self.net_at
    }

    /// Requests that are still to be executed.
    pub fn under_way(&self) -> usize {
        self.requests.len()
    }

    /// A new life of the program, with so many lanes: whatever was under way goes on without anybody to take the answer.
    pub fn begin_life(&mut self, lanes: usize) {
        self.lanes = lanes;
        self.known = None;
        self.waiting = (0..lanes).map(|_| None).collect();
        self.links = vec![0; lanes];
        (0..lanes).for_each(|lane| self.connect_anew(lane));
        self.requests.iter_mut().for_each(|request| request.reply = None);
    }

    /// A lane opens another connection.
    pub fn connect_anew(&mut self, lane: usize) {
        self.next_link += 1;
        self.links[lane] = self.next_link;
    }

    /// What of a request is kept: an open connection goes on writing to a table that was dropped, once, and is answered as usual.
    fn kept(&mut self, request: &Request) -> Vec<Line> {
        let tables: BTreeSet<String> = request.lines.iter().map(|line| line.table.clone()).collect();
        let mut lost = BTreeSet::new();
        for table in tables {
            let key = (request.link, table.clone());
            let taken_for = self.taken_for.get(&key).copied();
            if taken_for.is_some() && taken_for != self.database.id(&table) {
                self.taken_for.remove(&key);
                lost.insert(table);
            }
        }
        request.lines.iter().filter(|line| !lost.contains(&line.table)).cloned().collect()
    }

    fn some(&mut self, below: Duration) -> Duration {
        Duration::from_micros(self.rng.u64(..below.as_micros() as u64))
    }

    /// A lane sends a request.
    pub fn send(&mut self, lane: usize, lines: Vec<Line>) {
        self.sent += 1;
        for line in &lines {
            let newest = self.newest_sent.entry(line.table.clone()).or_default();
            *newest = line.value.max(*newest);
        }
        let (now, number, lines) = (self.now(), self.sent, Arc::new(lines));
        assert!(self.waiting[lane].is_none(), "two requests in flight");
        if self.is_up() && self.known != Some(self.server) {
            self.astray.get_or_insert(number);
        }
        let mut waiting = Waiting { number, lines: Arc::clone(&lines), sent: now, answer: None };
        let quick = if self.rng.u32(..10) == 0 { Duration::from_secs(8) } else { Duration::from_millis(40) };
        let link = self.links[lane];
        let mut request =
            Request { number, lines, link, server: self.server, executes: now + self.some(quick), reply: None };
        let fate = self.rng.u32(..100);
        let mut leaves = true;
        if !self.is_up() {
            leaves = false;
            if self.rng.bool() {
                waiting.answer = Some((now + Duration::from_millis(1), Err(unreachable("refused"))));
            }
        } else if fate >= self.weather.failing {
            request.reply = Some(self.some(Duration::from_millis(5)));
        } else {
            leaves = self.rng.u32(..4) > 0;
            if self.rng.bool() {
                request.executes = now + self.some(Duration::from_mins(4));
            }
            let after = now + self.some(TIMEOUT);
            waiting.answer = match self.rng.u32(..4) {
                0 | 1 => None,
                2 => Some((after, Err(unreachable("broken")))),
                _ => Some((after, Err(WriteError::Overloaded("503".to_owned())))),
            };
        }
        self.tell(|| {
            let rows: Vec<_> = request.lines.iter().map(|line| line.value).collect();
            let at = request.executes.as_secs_f64();
            format!("lane {lane} sends {number}: {rows:?}, executes {at:.3} {leaves} reply {:?}", request.reply)
        });
        if leaves {
            self.requests.push(request);
        }
        self.waiting[lane] = Some(waiting);
    }

    /// The answer that a lane waits for, at most so long.
    pub fn wait(&mut self, lane: usize, at_most: Duration) -> Option<(Result<(), WriteError>, Duration)> {
        let until = self.now() + at_most;
        loop {
            let waiting = self.waiting[lane].as_ref()?;
            let gives_up = waiting.sent + TIMEOUT;
            let due = waiting.answer.as_ref().map_or(gives_up, |(at, _)| (*at).min(gives_up));
            if due <= self.now() {
                return Some(self.take_answer(lane));
            }
            if self.now() >= until {
                return None;
            }
            let next = self.requests.iter().map(|request| request.executes).min().unwrap_or(until);
            self.advance_to(due.min(until).min(next.max(self.now())));
        }
    }

    fn take_answer(&mut self, lane: usize) -> (Result<(), WriteError>, Duration) {
        let now = self.now();
        let waiting = self.waiting[lane].take().unwrap();
        let result = match waiting.answer {
            Some((at, result)) if at <= now => result,
            _ => Err(WriteError::Timeout("no answer".to_owned())),
        };
        if let Some(request) = self.requests.iter_mut().find(|request| request.number == waiting.number) {
            request.reply = None;
        }
        if result.is_ok() {
            self.confirmed.extend(waiting.lines.iter().map(|line| line.value));
        }
        if matches!(result, Ok(()) | Err(WriteError::BadRow { .. } | WriteError::Refused { .. })) {
            self.bound_what_is_late(lane);
        }
        self.tell(|| format!("lane {lane} is answered {}: {result:?}", waiting.number));
        (result, now.saturating_sub(waiting.sent))
    }

    /// What nobody waits for is executed no later than a grace after the lane's next answer.
    fn bound_what_is_late(&mut self, lane: usize) {
        let (lanes, latest) = (self.lanes, self.now() + self.weather.grace);
        let mut requests = std::mem::take(&mut self.requests);
        requests.retain_mut(|request| {
            let is_own = request.lines.iter().any(|line| lane_of(&line.table, lanes) == lane);
            if request.reply.is_some() || !is_own || request.executes < latest {
                return true;
            }
            request.executes = self.now() + self.some(self.weather.grace);
            self.rng.bool()
        });
        self.requests = requests;
    }

    pub fn advance(&mut self, by: Duration) {
        self.advance_to(self.now() + by);
    }

    fn advance_to(&mut self, to: Duration) {
        while let Some(at) = (0..self.requests.len())
            .min_by_key(|at| self.requests[*at].executes)
            .filter(|at| self.requests[*at].executes <= to)
        {
            let request = self.requests.swap_remove(at);
            self.clock_to(request.executes);
            self.execute(&request);
        }
        self.clock_to(to);
    }

    fn clock_to(&mut self, to: Duration) {
        self.clock.advance(to.saturating_sub(self.now()));
    }

    fn execute(&mut self, request: &Request) {
        let now = self.now();
        // A table or a column that a crash took would be made anew without keys: a limit of what can be done about late requests.
        let is_late = request.reply.is_none();
        if now < self.up_at || (is_late && !self.database.is_fit_for(&request.lines)) {
            return;
        }
        let kept = self.kept(request);
        let result = self.database.execute(now, &kept, self.weather.names_lines);
        if result.is_ok() {
            for line in kept {
                if let Some(id) = self.database.id(&line.table) {
                    self.taken_for.insert((request.link, line.table), id);
                }
            }
        }
        let number = request.number;
        self.tell(|| format!("request {number} is executed, {}: {result:?}", if is_late { "late" } else { "in time" }));
        let Some(reply) = request.reply else { return };
        if let Some(waiting) = self.waiting.iter_mut().flatten().find(|waiting| waiting.number == number) {
            waiting.answer = Some((now + reply, result));
        }
    }

    /// The server's process ends. What it has received goes with it, unless something in between keeps it for the next one.
    fn stop_server(&mut self, down: Duration) {
        let now = self.now();
        self.server += 1;
        self.up_at = now + down;
        self.cuts += 1;
        self.taken_for.clear();
        for waiting in self.waiting.iter_mut().flatten() {
            let is_answered = waiting.answer.as_ref().is_some_and(|(at, _)| *at <= now);
            if !is_answered {
                waiting.answer = Some((now, Err(unreachable("broken"))));
            }
        }
        let mut requests = std::mem::take(&mut self.requests);
        requests.retain_mut(|request| {
            let is_kept = request.reply.take().is_none() && self.rng.bool();
            request.server = self.server;
            is_kept
        });
        self.requests = requests;
    }

    /// The server ends in order, or (losing what it has not synced) by a crash of its machine.
    pub fn restart(&mut self, crashes: bool, down: Duration) {
        let (now, unsynced) = (self.now(), self.weather.unsynced);
        self.stop_server(down);
        let mut lost = 0;
        if crashes {
            lost = self.database.crash(now.saturating_sub(unsynced), &mut self.rng);
        }
        self.tell(|| format!("the server ends, {lost} changes lost, down for {down:?}"));
    }

    /// The network is cut for a while.
    pub fn cut(&mut self, down: Duration) {
        self.net_at = self.now() + down;
        self.cuts += 1;
        self.tell(|| format!("the network is cut for {down:?}"));
        let now = self.now();
        for waiting in self.waiting.iter_mut().flatten() {
            if waiting.answer.is_none() && self.rng.bool() {
                waiting.answer = Some((now, Err(unreachable("cut"))));
            }
        }
        // Answers get lost with the connection: of what is executed nobody is told.
        self.requests.iter_mut().for_each(|request| request.reply = None);
    }

    /// Whether a question gets its answer.
    pub fn ask(&mut self) -> Result<(), SqlError> {
        let silent = self.rng.u32(..100) < self.weather.silent;
        if self.is_up() && !silent {
            return Ok(());
        }
        if self.rng.u32(..4) == 0 {
            self.advance(TIMEOUT);
            return Err(SqlError::Timeout);
        }
        Err(if self.is_up() { SqlError::Overloaded(503) } else { SqlError::Unreachable("refused".to_owned()) })
    }

    /// When the server was started, if that gets an answer.
    pub fn ask_started(&mut self) -> Result<String, SqlError> {
        self.ask()?;
        self.known = Some(self.server);
        Ok(self.server.to_string())
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.weather.failing = 0;
        self.weather.silent = 0;
        self.up_at = self.up_at.min(self.now());
        self.net_at = self.net_at.min(self.now());
        self.database.hopeless.clear();
        self.tell(|| "all is well".to_owned());
    }

    /// What is old enough is on the server's disk.
    pub fn sync(&mut self) {
        let since = self.now().saturating_sub(self.weather.unsynced);
        self.database.sync(since);
    }
}
