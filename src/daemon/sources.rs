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
    ingest::{self, Ingest},
    marks::Pos,
    mqtt::Subscription,
    ring::Ring,
    settings::Settings,
    sync::{read, write},
};

/// Most templates of earlier configurations that are kept.
const MAX_EARLIER: usize = 1_000;

/// The tables of sources with `allow_narrow_keys`. Rows that came in before a reload keep what was
/// allowed then.
pub struct NarrowKeys {
    tables: RwLock<Tables>,
    ring: Ring,
}

/// The same without the ring. Pure.
#[derive(Default)]
struct Tables {
    now: Vec<TableTemplate>,
    /// Those of earlier configurations, and up to where in the ring their rows may lie; none while
    /// they still come in.
    earlier: Vec<(Option<Pos>, TableTemplate)>,
}

impl NarrowKeys {
    /// Those of these settings.
    pub fn of(settings: &Settings, ring: Ring) -> Self {
        Self { tables: RwLock::new(Tables { now: templates(settings), earlier: Vec::new() }), ring }
    }

    /// Whether a table is one of them.
    pub fn allow(&self, table: &str) -> bool {
        read(&self.tables).allow(table, || self.ring.marks().settled.pos)
    }

    /// Goes over to those of other settings; true where they are others.
    fn follow(&self, settings: &Settings) -> bool {
        write(&self.tables).follow(templates(settings), self.ring.marks().settled.pos)
    }

    /// Takes note that no more rows come in by the settings before.
    fn seal(&self) {
        write(&self.tables).seal(self.ring.marks().appended.pos);
    }
}

impl Tables {
    fn allow(&self, table: &str, settled: impl FnOnce() -> Pos) -> bool {
        if self.now.iter().any(|template| template.could_render(table)) {
            return true;
        }
        let mut earlier = self.earlier.iter().filter(|(_, template)| template.could_render(table)).peekable();
        earlier.peek().is_some() && {
            let settled = settled();
            earlier.any(|(upto, _)| upto.is_none_or(|upto| settled < upto))
        }
    }

    fn follow(&mut self, new: Vec<TableTemplate>, settled: Pos) -> bool {
        let differs = self.now != new;
        let before = std::mem::replace(&mut self.now, new);
        self.earlier.retain(|(upto, _)| upto.is_none_or(|upto| settled < upto));
        let gone = before.into_iter().filter(|template| !self.now.contains(template));
        self.earlier.extend(gone.map(|template| (None, template)));
        let too_many = self.earlier.len().saturating_sub(MAX_EARLIER);
        self.earlier.drain(..too_many);
        differs
    }

    fn seal(&mut self, appended: Pos) {
        self.earlier.iter_mut().filter(|(upto, _)| upto.is_none()).for_each(|(upto, _)| *upto = Some(appended));
    }
}

fn templates(settings: &Settings) -> Vec<TableTemplate> {
    let allowing = settings.source.values().filter(|source| source.allow_narrow_keys);
    allowing.filter_map(|source| TableTemplate::parse(source.table_template()).ok()).collect()
}

/// What to subscribe to for these settings.
pub fn subscriptions(settings: &Settings) -> Result<Arc<[Subscription]>, DecoderError> {
    let wanted = ingest::filters::wanted(&settings.source)?;
    Ok(wanted.into_iter().map(Subscription::from).collect())
}

/// Sources and limits that are sound, ready to be put in force.
pub struct SoundSources {
    decoders: Vec<Decoder>,
    subscriptions: Arc<[Subscription]>,
}

impl SoundSources {
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
    /// Goes over from `old` to `new`. What tables allow comes first, so that the first row finds
    /// it; then the way in; then the subscriptions: what the broker sends for a source that is gone
    /// is set aside, not lost.
    pub fn follow(&self, old: &Settings, new: &Settings, sound: SoundSources) {
        let unchanged: BTreeSet<&str> = new
            .source
            .iter()
            .filter(|(name, source)| old.source.get(*name) == Some(*source))
            .map(|(name, _)| name.as_str())
            .collect();
        let allows_otherwise = self.narrow.follow(new);
        self.ingest.reconfigure(sound.decoders, new, &|name| unchanged.contains(name));
        self.narrow.seal();
        self.subscriptions.send_if_modified(|subscriptions| {
            let differs = **subscriptions != *sound.subscriptions;
            *subscriptions = sound.subscriptions;
            differs
        });
        *write(&self.patience) = Patience::of(&new.source);
        if allows_otherwise {
            self.flusher.look_afresh();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_before_a_reload_keeps_what_was_allowed() {
        let template = |text: &str| vec![TableTemplate::parse(text).expect("a template")];
        let mut tables = Tables { now: template("p_{x}"), earlier: Vec::new() };
        let allows = |tables: &Tables, table: &str, settled| tables.allow(table, || Pos(settled));
        assert!(allows(&tables, "p_1", 0) && !allows(&tables, "q", 0));
        assert!(!tables.follow(template("p_{x}"), Pos(0)), "nothing has changed");
        assert!(tables.follow(template("q"), Pos(0)));
        assert!(allows(&tables, "q", 0) && allows(&tables, "p_1", 1_000), "rows still come in by it");
        tables.seal(Pos(500));
        assert!(allows(&tables, "p_1", 499) && !allows(&tables, "p_1", 500));
        tables.follow(template("q"), Pos(500));
        assert!(tables.earlier.is_empty(), "its rows are settled");
        for n in 0..2 * MAX_EARLIER {
            tables.follow(template(&format!("t{n}")), Pos(0));
        }
        assert_eq!(tables.earlier.len(), MAX_EARLIER);
    }
}
