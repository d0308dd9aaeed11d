//! Sources that bring nothing for longer than `silent_after`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{ingest::SourceStatus, settings::Source};

/// How long each source may be silent, where that is configured.
#[derive(Debug, Clone, Default)]
pub struct Patience(BTreeMap<String, Duration>);

impl Patience {
    /// As configured.
    pub fn of(sources: &BTreeMap<String, Source>) -> Self {
        Self(sources.iter().filter_map(|(name, source)| Some((name.clone(), source.silent_after?))).collect())
    }

    /// Whether any source has to be looked at.
    pub fn is_needed(&self) -> bool {
        !self.0.is_empty()
    }

    /// Says of each source whether it is silent. The time begins again with the daemon's start and
    /// with a reload that changes the source.
    pub fn judge(&self, sources: &mut [SourceStatus], uptime: Duration) {
        for source in sources {
            let Some(limit) = self.0.get(&source.name) else { continue };
            source.silent_after_s = Some(limit.as_secs_f64());
            let since = uptime.min(source.in_force_for).as_secs_f64();
            let quiet = source.last_received_age_s.map_or(since, |age| age.min(since));
            source.silent = quiet >= limit.as_secs_f64();
        }
    }
}

/// What was told of silent sources.
#[derive(Debug, Default)]
pub struct Silence {
    told: BTreeSet<String>,
}

impl Silence {
    /// Tells of sources that have become silent, and of those that are heard again.
    pub fn look(&mut self, sources: &[SourceStatus]) {
        for source in sources {
            let name = &source.name;
            if source.silent && self.told.insert(name.clone()) {
                tracing::warn!("{}", sentence(source));
            } else if !source.silent && self.told.remove(name) {
                tracing::info!(source = name, "source.{name} is heard again");
            }
        }
    }
}

/// That a source is silent, since when, and what to do.
pub fn sentence(source: &SourceStatus) -> String {
    let SourceStatus { name, topic, last_received, silent_after_s, .. } = source;
    let limit = humantime::format_duration(Duration::from_secs_f64(silent_after_s.unwrap_or_default()));
    let since = match last_received {
        Some(time) => format!("its last message came at {time}"),
        None => "no message came since the start".to_owned(),
    };
    format!(
        "source.{name} is silent: {since} (silent_after = {limit}); look at what publishes to {topic}, and at the broker"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_silent_after_its_time_since_its_last_message_or_the_start() {
        let source = |name: &str, age, in_force| SourceStatus {
            name: name.into(),
            last_received_age_s: age,
            in_force_for: Duration::from_secs(in_force),
            ..SourceStatus::default()
        };
        let mut sources = [
            source("a", Some(59.9), 1_000),
            source("b", Some(60.0), 1_000),
            source("c", None, 1_000),
            source("d", Some(1e6), 1_000),
            source("e", None, 59),
        ];
        let patience = Patience(["a", "b", "c", "e"].map(|name| (name.to_owned(), Duration::from_mins(1))).into());
        for (uptime, expected) in
            [(60, [false, true, true, false, false]), (59, [false; 5]), (61, [false, true, true, false, false])]
        {
            patience.judge(&mut sources, Duration::from_secs(uptime));
            assert_eq!(sources.each_ref().map(|source| source.silent), expected);
        }
        assert!(sentence(&sources[2]).contains("no message came since the start (silent_after = 1m)"));
        let mut silence = Silence::default();
        silence.look(&sources);
        assert_eq!(silence.told, ["b", "c"].map(str::to_owned).into());
        sources[1].silent = false;
        silence.look(&sources);
        assert_eq!(silence.told, ["c".to_owned()].into());
    }
}
