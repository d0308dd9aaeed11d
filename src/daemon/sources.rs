//! What follows `[source]`, `[tags]` and `[limits]` while the daemon runs.

use std::{
    collections::BTreeSet,
    sync::{Arc, RwLock},
};

use tokio::sync::watch;

use super::silence::Patience;
use crate::{
    decode::{Decoder, DecoderError, table::TableTemplate},
    flush::Flusher,
    ingest::{self, Ingest, filters::Wanted},
    mqtt::Subscription,
    settings::Settings,
    sync::{read, write},
};

/// The tables of sources with `allow_narrow_keys`.
#[derive(Debug, Default)]
pub struct NarrowKeys(RwLock<Vec<TableTemplate>>);

impl NarrowKeys {
    /// Those of these settings.
    pub fn of(settings: &Settings) -> Self {
        Self(RwLock::new(templates(settings)))
    }

    /// Whether a table is one of them.
    pub fn allow(&self, table: &str) -> bool {
        read(&self.0).iter().any(|template| template.could_render(table))
    }

    /// Goes over to those of other settings; true where they are others.
    fn follow(&self, settings: &Settings) -> bool {
        let new = templates(settings);
        let mut templates = write(&self.0);
        let differs = *templates != new;
        *templates = new;
        differs
    }
}

fn templates(settings: &Settings) -> Vec<TableTemplate> {
    let allowing = settings.source.values().filter(|source| source.allow_narrow_keys);
    allowing.filter_map(|source| TableTemplate::parse(source.table_template()).ok()).collect()
}

/// What to subscribe to for these settings.
pub fn subscriptions(settings: &Settings) -> Result<Arc<[Subscription]>, DecoderError> {
    let wanted = ingest::filters::wanted(&settings.source)?;
    Ok(wanted.into_iter().map(|Wanted { filter, qos, id }| Subscription { filter, qos, id }).collect())
}

/// Sources and limits that are sound, ready to be put in force.
pub struct Prepared {
    decoders: Vec<Decoder>,
    subscriptions: Arc<[Subscription]>,
}

impl Prepared {
    /// Those of these settings; the error is the first mistake.
    pub fn of(settings: &Settings) -> Result<Self, DecoderError> {
        Ok(Self { decoders: ingest::decoders(&settings.source)?, subscriptions: subscriptions(settings)? })
    }
}

/// The parts of the daemon that go by them.
pub struct Followers {
    /// Decodes messages and keeps the limits.
    pub ingest: Arc<Ingest>,
    /// Subscribes.
    pub subscriptions: watch::Sender<Arc<[Subscription]>>,
    /// Says what goes to tables with narrow keys.
    pub narrow: Arc<NarrowKeys>,
    /// Looks at tables again where that has changed.
    pub flusher: Arc<Flusher>,
    /// How long each source may be silent.
    pub patience: Arc<RwLock<Patience>>,
}

impl Followers {
    /// Goes over from `old` to `new`. Messages are taken by the new sources first, and then the
    /// subscriptions follow: what the broker sends for a source that is gone is set aside, not lost.
    pub fn follow(&self, old: &Settings, new: &Settings, prepared: Prepared) {
        let unchanged: BTreeSet<&str> = new
            .source
            .iter()
            .filter(|(name, source)| old.source.get(*name) == Some(*source))
            .map(|(name, _)| name.as_str())
            .collect();
        self.ingest.reconfigure(prepared.decoders, new, &|name| unchanged.contains(name));
        self.subscriptions.send_if_modified(|subscriptions| {
            let differs = **subscriptions != *prepared.subscriptions;
            *subscriptions = prepared.subscriptions;
            differs
        });
        *write(&self.patience) = Patience::of(&new.source);
        if self.narrow.follow(new) {
            self.flusher.look_afresh();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_keys_follow_the_settings() {
        let settings = |allow: bool| {
            let mut settings = Settings::default();
            let text = format!("topic = \"a/{{x}}\"\ntable = \"p_{{x}}\"\nallow_narrow_keys = {allow}");
            settings.source.insert("a".into(), toml::from_str(&text).expect("a source"));
            settings
        };
        let narrow = NarrowKeys::of(&settings(false));
        assert!(!narrow.allow("p_1") && !narrow.follow(&settings(false)));
        assert!(narrow.follow(&settings(true)) && narrow.allow("p_1") && !narrow.allow("q"));
    }
}
