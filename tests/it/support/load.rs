//! Readings that can be told apart, and the check that each is in QuestDB exactly once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use super::{QuestDb, eventually_eq, wire::Publisher};

/// A numbered family of readings: number `n` belongs to device `n % devices` and is that device's reading `n / devices`.
#[derive(Debug, Clone)]
pub struct Readings {
    /// First topic level, and the table.
    pub name: String,
    /// Devices.
    pub devices: u64,
    base_ms: u64,
}

impl Readings {
    /// Readings of `devices` devices whose timestamps start ten minutes ago, one millisecond apart for each device.
    pub fn new(name: impl Into<String>, devices: u64) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Self { name: name.into(), devices, base_ms: now.as_millis() as u64 - 600_000 }
    }

    /// The same with timestamps so much later.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        Self { base_ms: self.base_ms + by.as_millis() as u64, ..self }
    }

    /// The source's topic pattern.
    pub fn pattern(&self) -> String {
        format!("{}/{{site}}/{{device}}", self.name)
    }

    /// Reading `n`: topic and payload.
    pub fn reading(&self, n: u64) -> (String, String) {
        let (device, seq) = (n % self.devices, n / self.devices);
        let topic = format!("{}/site-{}/dev-{device}", self.name, device % 4);
        let temperature = 15.0 + (seq % 200) as f64 / 10.0;
        let payload = format!(
            r#"{{"ts":{},"seq":{seq},"temperature":{temperature},"humidity":{},"ok":{}}}"#,
            self.base_ms + seq,
            40 + device % 50,
            seq.is_multiple_of(7),
        );
        (topic, payload)
    }

    /// The number of the reading with this topic and payload.
    pub fn number_of(&self, topic: &str, payload: &[u8]) -> Option<u64> {
        let device: u64 = topic.rsplit_once("/dev-")?.1.parse().ok()?;
        let payload: serde_json::Value = serde_json::from_slice(payload).ok()?;
        Some(payload["seq"].as_u64()? * self.devices + device)
    }

    /// The numbers of the readings that are in QuestDB.
    pub fn present(&self, questdb: &QuestDb) -> BTreeSet<u64> {
        if questdb.count(&self.name) == 0 {
            return BTreeSet::new();
        }
        let rows = questdb.sql(&format!("SELECT DISTINCT device, seq FROM '{}' LIMIT 1000000", self.name));
        let number = |row: &Vec<serde_json::Value>| {
            let device: u64 = row[0].as_str()?.trim_start_matches("dev-").parse().ok()?;
            Some(row[1].as_u64()? * self.devices + device)
        };
        rows.iter().map(|row| number(row).expect("a device and a number")).collect()
    }

    /// Publishes readings `range` at QoS 1 and waits until the broker has acknowledged them all.
    pub fn publish(&self, publisher: &mut Publisher, range: std::ops::Range<u64>) {
        for n in range {
            let (topic, payload) = self.reading(n);
            publisher.publish(&topic, payload.as_bytes()).expect("publish");
        }
        publisher.drain(Duration::from_mins(1)).expect("the broker acknowledges");
    }

    /// Waits until readings `0..count` are in QuestDB, then asserts that each is there exactly once and whole.
    #[track_caller]
    pub fn assert_exactly_once(&self, questdb: &QuestDb, count: u64, limit: Duration) {
        let table = &self.name;
        eventually_eq(limit, "every reading is in QuestDB", count as i64, || distinct(questdb, table));
        questdb.settle(table);
        assert_eq!(questdb.count(table), count as i64, "no reading is there twice");
        let rows = questdb.sql(&format!(
            "SELECT device, count() n, sum(seq::long) total, min(seq::long) low, max(seq::long) high FROM '{table}' ORDER BY device"
        ));
        assert_eq!(rows.len() as u64, self.devices.min(count), "devices");
        for row in rows {
            let name = row[0].as_str().expect("device").to_owned();
            let device: u64 = name.trim_start_matches("dev-").parse().expect("number");
            let n = count / self.devices + u64::from(device < count % self.devices);
            let sum = n * n.saturating_sub(1) / 2;
            let found: Vec<u64> = row[1..].iter().map(|value| value.as_u64().expect("a whole number")).collect();
            assert_eq!(found, [n, sum, 0, n - 1], "{name}: count, sum, least and greatest sequence number");
        }
        let incomplete =
            format!("SELECT count() FROM '{table}' WHERE temperature = null OR humidity = null OR site = null");
        assert_eq!(questdb.number(&incomplete), 0, "no reading lacks a field");
    }
}

/// Distinct readings in a table; 0 while it does not exist.
pub fn distinct(questdb: &QuestDb, table: &str) -> i64 {
    questdb.number(&format!("SELECT count() FROM (SELECT DISTINCT device, seq FROM '{table}')"))
}

/// Each device with the times of its readings, in the order of sequence numbers; of a reading that is there twice, the
/// first.
pub fn first_times(questdb: &QuestDb, table: &str) -> BTreeMap<String, Vec<String>> {
    let rows =
        questdb.sql(&format!("SELECT device, seq, min(timestamp) FROM '{table}' ORDER BY device, seq LIMIT 1000000"));
    let mut times: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let [device, time] = [0, 2].map(|at| row[at].as_str().expect("text").to_owned());
        times.entry(device).or_default().push(time);
    }
    times
}

/// A steady load from a thread of its own. After a lost connection it goes on from the first reading that was not
/// acknowledged, so that in the end everything it published is acknowledged.
pub struct Load {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    thread: Option<JoinHandle<u64>>,
}

impl Load {
    /// Publishes `per_second` readings a second, from number 0 on, to the broker on `port`.
    pub fn start(readings: &Readings, port: u16, per_second: u64) -> Self {
        Self::start_repeating(readings, port, per_second, 0)
    }

    /// The same for a broker that may be killed: what it acknowledged in its last moments may be gone with it, so after a lost
    /// connection the devices send the last `again` readings once more.
    pub fn start_repeating(readings: &Readings, port: u16, per_second: u64, again: u64) -> Self {
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (readings, stop, acked) = (readings.clone(), Arc::clone(&stop), Arc::clone(&acked));
            thread::spawn(move || run(&readings, port, (per_second, again), &stop, &acked))
        };
        Self { stop, acked, thread: Some(thread) }
    }

    /// Readings the broker has acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Stops publishing and returns the count of readings published, all of them acknowledged by the broker.
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("runs").join().expect("the load ends in order")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn run(readings: &Readings, port: u16, (per_second, again): (u64, u64), stop: &AtomicBool, acked: &AtomicU64) -> u64 {
    const TICK: Duration = Duration::from_millis(1);
    const GIVE_UP: Duration = Duration::from_mins(2);
    let mut confirmed: u64 = 0;
    let mut last_connected = Instant::now();
    loop {
        if let Ok(mut publisher) = Publisher::connect(port, None) {
            let first = confirmed.saturating_sub(again);
            let start = Instant::now();
            let mut step = || -> std::io::Result<bool> {
                let ending = stop.load(Ordering::Relaxed);
                let due = first + (start.elapsed().as_micros() as u64 * per_second) / 1_000_000;
                // What is sent once more is sent whole.
                let due = if ending { due.max(confirmed) } else { due };
                while first + publisher.sent() < due {
                    let (topic, payload) = readings.reading(first + publisher.sent());
                    publisher.publish(&topic, payload.as_bytes())?;
                }
                publisher.flush()?;
                if ending {
                    publisher.drain(Duration::from_secs(20))?;
                }
                confirmed = confirmed.max(first + publisher.acked());
                acked.store(confirmed, Ordering::Relaxed);
                // A connection that is gone shows when it is written to or waited on; an idle one shows here.
                publisher.check()?;
                Ok(ending)
            };
            loop {
                match step() {
                    Ok(true) => return confirmed,
                    Ok(false) => thread::sleep(TICK),
                    Err(_) => break,
                }
            }
            confirmed = confirmed.max(first + publisher.acked());
            last_connected = Instant::now();
        }
        assert!(last_connected.elapsed() < GIVE_UP, "no broker for {GIVE_UP:?}");
        thread::sleep(TICK);
    }
}
