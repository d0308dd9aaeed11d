//! One simulated device: plausible readings from a seed, each with a time and a sequence number of its own.

use std::io::Write as _;

/// Readings that drift, so that values look like a sensor's.
pub(super) struct Device {
    /// Where it publishes.
    pub topic: String,
    /// Its name, as in the topic.
    pub name: String,
    rng: fastrand::Rng,
    next_seq: u64,
    /// Time of the last reading, milliseconds since 1970.
    last_ms: i64,
    temperature: f64,
    humidity: f64,
    battery: f64,
}

impl Device {
    /// Device number `index`; equal seeds make equal values.
    pub fn new(pattern: &str, index: u32, sites: u32, seed: u64, first_seq: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ u64::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let name = format!("dev-{index}");
        let topic = pattern.replace("{site}", &format!("site-{}", index % sites.max(1))).replace("{device}", &name);
        let (temperature, humidity) = (15.0 + rng.f64() * 10.0, 35.0 + rng.f64() * 30.0);
        let battery = 60.0 + rng.f64() * 40.0;
        Self { topic, name, rng, next_seq: first_seq, last_ms: i64::MIN, temperature, humidity, battery }
    }

    /// The sequence number the next reading gets.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Writes the next reading into `out`. Its time is `now_ms`, or one millisecond after the last where the device is faster
    /// than that: each reading is a row of its own.
    pub fn reading(&mut self, now_ms: i64, out: &mut Vec<u8>) {
        self.last_ms = now_ms.max(self.last_ms.saturating_add(1));
        self.temperature = (self.temperature + self.rng.f64() * 0.2 - 0.1).clamp(-20.0, 45.0);
        self.humidity = (self.humidity + self.rng.f64() * 0.6 - 0.3).clamp(5.0, 100.0);
        self.battery = (self.battery - self.rng.f64() * 0.001).max(1.0);
        out.clear();
        // Writing to memory can't fail.
        let _ = write!(
            out,
            r#"{{"ts":{},"seq":{},"temperature":{:.2},"humidity":{:.1},"battery":{:.1},"status":"ok"}}"#,
            self.last_ms, self.next_seq, self.temperature, self.humidity, self.battery
        );
        self.next_seq += 1;
    }

    /// Writes something that is no reading into `out`. It takes no sequence number.
    pub fn rubbish(&mut self, out: &mut Vec<u8>) {
        const KINDS: [&[u8]; 7] = [
            b"{\"ts\":17000000000",
            b"\xff\xfe\x00\x01",
            b"not json at all",
            b"{\"ts\":\"yesterday\",\"seq\":1,\"temperature\":1.0}",
            b"[1,2,3]",
            b"{\"ts\":99999999999999999999,\"temperature\":1.0}",
            b"null",
        ];
        out.clear();
        out.extend_from_slice(KINDS[self.rng.usize(..KINDS.len())]);
    }

    /// Whether the next message is rubbish, where `percent` in a hundred are.
    pub fn wants_rubbish(&mut self, percent: f64) -> bool {
        percent > 0.0 && self.rng.f64() * 100.0 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(count: usize, now_ms: i64) -> Vec<serde_json::Value> {
        let mut device = Device::new("sensors/{site}/{device}", 5, 4, 42, 7);
        let mut out = Vec::new();
        (0..count)
            .map(|_| {
                device.reading(now_ms, &mut out);
                serde_json::from_slice(&out).expect("is JSON")
            })
            .collect()
    }

    #[test]
    fn each_reading_has_its_own_time_and_number() {
        for (n, reading) in (0u64..).zip(readings(1_000, 1_700_000_000_000)) {
            assert_eq!((reading["ts"].as_u64(), reading["seq"].as_u64()), (Some(1_700_000_000_000 + n), Some(7 + n)));
            assert!(reading["temperature"].is_f64() && reading["status"] == "ok");
        }
    }

    #[test]
    fn a_seed_says_everything() {
        assert_eq!(readings(50, 1), readings(50, 1));
        let device = Device::new("sensors/{site}/{device}", 5, 4, 42, 0);
        assert_eq!((device.topic.as_str(), device.name.as_str()), ("sensors/site-1/dev-5", "dev-5"));
    }

    #[test]
    fn rubbish_is_never_empty() {
        let mut device = Device::new("t", 0, 1, 1, 0);
        let mut out = Vec::new();
        for _ in 0..100 {
            device.rubbish(&mut out);
            assert!(!out.is_empty());
        }
        assert_eq!(device.next_seq(), 0);
    }
}
