//! Which series are liveliest, from the updates that were seen. Pure: times come as arguments.
//!
//! Watching every update would load the daemon and this program, so only a sample is watched. A series' rate is its updates that were
//! seen over the time that was watched, both counting for less the longer ago they are.

use std::{collections::HashMap, time::Duration};

use crate::control::api::SeriesView;

/// What was so long ago counts for a third.
const MEMORY: Duration = Duration::from_secs(10);
/// Series remembered; when there are more, the quieter half is forgotten.
const MAX_SERIES: usize = 1_000;

/// The updates seen.
#[derive(Debug, Default)]
pub struct Tally {
    at: Duration,
    watched_s: f64,
    series: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    updates: f64,
    newest: SeriesView,
}

/// A series with its rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Lively {
    /// What it held last, as far as was seen.
    pub series: SeriesView,
    /// Updates a second, about.
    pub per_s: f64,
    /// Time since the last update that was seen.
    pub since: Duration,
}

impl Tally {
    /// The time until `now` has passed, watched or not.
    pub fn pass(&mut self, now: Duration, watching: bool) {
        let faded = fade(self.at, now);
        self.watched_s *= faded;
        if watching {
            self.watched_s += (1.0 - faded) * MEMORY.as_secs_f64();
        }
        self.at = self.at.max(now);
    }

    /// An update.
    pub fn count(&mut self, now: Duration, newest: SeriesView) {
        let key = key(&newest);
        if self.series.len() >= MAX_SERIES && !self.series.contains_key(&key) {
            self.forget(now);
        }
        let entry = self.series.entry(key).or_insert_with(|| Entry { at: now, updates: 0.0, newest: newest.clone() });
        entry.updates = entry.updates * fade(entry.at, now) + 1.0;
        entry.at = now;
        entry.newest = newest;
    }

    /// The liveliest first, at most `most`.
    pub fn liveliest(&self, now: Duration, most: usize) -> Vec<Lively> {
        // What was watched for a moment only says little, and nothing is divided by zero.
        let watched_s = self.watched_s.max(0.01);
        let mut all: Vec<Lively> = self
            .series
            .values()
            .map(|entry| Lively {
                series: entry.newest.clone(),
                per_s: entry.updates * fade(entry.at, now) / watched_s,
                since: now.saturating_sub(entry.at),
            })
            .collect();
        all.sort_by(|a, b| b.per_s.total_cmp(&a.per_s).then_with(|| key(&a.series).cmp(&key(&b.series))));
        all.truncate(most);
        all
    }

    fn forget(&mut self, now: Duration) {
        let mut weights: Vec<f64> = self.series.values().map(|entry| entry.updates * fade(entry.at, now)).collect();
        weights.sort_by(f64::total_cmp);
        let median = weights[weights.len() / 2];
        self.series.retain(|_, entry| entry.updates * fade(entry.at, now) > median);
    }
}

fn fade(from: Duration, to: Duration) -> f64 {
    (-to.saturating_sub(from).as_secs_f64() / MEMORY.as_secs_f64()).exp()
}

fn key(series: &SeriesView) -> String {
    let mut key = series.table.clone();
    for (name, value) in &series.symbols {
        key.extend(["\0", name, "\0", value]);
    }
    key
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use super::*;

    pub fn view(device: &str) -> SeriesView {
        let view = serde_json::json!({
            "table": "sensors", "symbols": { "device": device }, "fields": { "temperature": 21.5 }, "age_ms": 0, "stale": false,
            "time": "2024-01-01T00:00:00Z", "received": "2024-01-01T00:00:00Z", "state": "stored", "source": "memory",
        });
        serde_json::from_value(view).unwrap()
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn rates_are_updates_over_the_time_watched() {
        let mut tally = Tally::default();
        for step in 0..600 {
            let now = ms(step * 100);
            tally.pass(now, true);
            tally.count(now, view("ten"));
            if step % 10 == 0 {
                tally.count(now, view("one"));
            }
        }
        let lively = tally.liveliest(ms(60_000), 9);
        let found: Vec<(&str, f64)> = lively.iter().map(|l| (l.series.symbols["device"].as_str(), l.per_s)).collect();
        assert_eq!([found[0].0, found[1].0], ["ten", "one"]);
        assert!((found[0].1 - 10.0).abs() < 0.5 && (found[1].1 - 1.0).abs() < 0.2, "{found:?}");
        assert_eq!(lively[0].since, ms(100));
        assert_eq!(tally.liveliest(ms(60_000), 1).len(), 1);
    }

    #[test]
    fn a_sample_of_a_tenth_of_the_time_gives_the_same_rates() {
        let mut tally = Tally::default();
        for step in 0..6_000 {
            let now = ms(step * 10);
            let watched = (step / 20) % 10 == 0;
            tally.pass(now, watched);
            if watched {
                tally.count(now, view("hundred"));
            }
        }
        let rate = tally.liveliest(ms(60_000), 1)[0].per_s;
        assert!((85.0..=115.0).contains(&rate), "{rate}");
    }

    #[test]
    fn what_falls_silent_falls_behind() {
        let mut tally = Tally::default();
        for second in 0..60 {
            tally.pass(ms(second * 1_000), true);
            tally.count(ms(second * 1_000), view(if second < 30 { "early" } else { "late" }));
        }
        let lively = tally.liveliest(ms(60_000), 9);
        assert_eq!(lively[0].series.symbols["device"], "late");
        assert!(lively[1].per_s < 0.1, "{lively:?}");
    }

    #[test]
    fn however_many_series_there_are_few_are_remembered() {
        let mut tally = Tally::default();
        tally.pass(ms(1_000), true);
        for n in 0..10 * MAX_SERIES {
            tally.count(ms(1_000), view("always"));
            tally.count(ms(1_000), view(&n.to_string()));
        }
        assert!(tally.series.len() <= MAX_SERIES);
        assert_eq!(tally.liveliest(ms(1_000), 1)[0].series.symbols["device"], "always");
    }
}
