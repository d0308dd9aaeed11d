//! What becomes of messages by sources that are proposed: the checks of `forebay check`, and the
//! steps of a message. Pure.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::notes::Topic;
use crate::{
    config::validate,
    ingest::{
        Incoming,
        preview::{Preview, Previewer},
    },
    point::{Received, Row, Text, Timestamp},
    settings::Settings,
};

/// The settings of sections of sources. The error says what is wrong.
pub fn settings(text: &str) -> Result<Settings, Vec<(String, String)>> {
    let settings: Settings = toml::from_str(text).map_err(|error| vec![(String::new(), error.to_string())])?;
    let mut problems = validate::check(&settings).problems;
    problems.retain(|problem| problem.key.starts_with("source."));
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(problems.into_iter().map(|problem| (problem.key, problem.what)).collect())
    }
}

/// Who gets a topic's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This source takes them.
    Takes(String),
    /// This source leaves them out.
    LeavesOut(String),
    /// Nobody does.
    Nobody,
}

/// What has become of the kept messages of topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fates {
    /// Kept messages that were tried.
    pub messages: usize,
    /// Messages that became rows.
    pub to_rows: usize,
    /// Rows that came of the messages.
    pub rows: usize,
    /// Messages that have no value.
    pub empty: usize,
    /// Messages that the broker had kept, and that tell no time: they are not stored.
    pub retained: usize,
    /// Topics of the messages of which something is set aside, and why.
    pub aside: Vec<(String, String)>,
    /// How many of them for a time too far ahead of the clock.
    pub ahead: usize,
    /// Whether rows of a message have the same symbols and time.
    pub collides: bool,
    /// Rows that would take the place of another message's: table, symbols and time are the same,
    /// and a field is not.
    pub lost: usize,
    /// Topics whose rows have table, symbols and a field in common with those of another topic, and
    /// that topic.
    pub mixed: BTreeSet<(String, String)>,
    /// What was met of rows.
    pub met: Met,
}

/// What was met of rows: hashes of what would be the same cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met {
    /// By table, symbols, time and field: the message and the value, hashed.
    cells: HashMap<u64, (usize, u64)>,
    /// By table, symbols and field: the topic.
    columns: HashMap<u64, String>,
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Fates {
    /// Takes note of the rows of a message.
    fn meet(&mut self, topic: &str, rows: &[&(Text, Row)]) {
        let message = self.messages;
        for (table, row) in rows {
            let series = hash(format!("{table}\n{:?}", row.symbols));
            let mut is_lost = false;
            for (name, value) in &row.fields {
                let column = hash((series, name.to_lowercase()));
                let first = self.met.columns.entry(column).or_insert_with(|| topic.to_owned());
                if first != topic {
                    self.mixed.insert((topic.to_owned(), first.clone()));
                }
                let Some(time) = row.time.filter(|_| !row.apart) else { continue };
                let value = hash(format!("{value:?}"));
                let cell = hash((column, time.to_micros()));
                let (other, known) = *self.met.cells.entry(cell).or_insert((message, value));
                is_lost |= other != message && known != value;
            }
            self.lost += usize::from(is_lost);
        }
    }

    /// Messages that speak against a source. A few times that lie ahead speak against their clock.
    #[must_use]
    pub fn doubtful(&self) -> usize {
        let all = self.aside.len();
        if self.ahead * 2 <= self.messages { all - self.ahead } else { all }
    }
}

/// Sources on trial.
pub struct Trial {
    previewer: Previewer,
    now: Timestamp,
}

impl Trial {
    /// Of these settings, now; none where a source cannot be made.
    #[must_use]
    pub fn new(settings: &Settings, now: Timestamp) -> Option<Self> {
        Some(Self { previewer: Previewer::new(settings, None).ok()?, now })
    }

    /// Who gets the messages of a topic.
    pub fn owner(&mut self, topic: &str) -> Owner {
        match self.previewer.preview(&Incoming { topic, ..Incoming::default() }) {
            None => Owner::Nobody,
            Some(Preview { source, is_dropped: true, .. }) => Owner::LeavesOut(source),
            Some(Preview { source, .. }) => Owner::Takes(source),
        }
    }

    /// Decodes the kept messages of a topic.
    pub fn decode(&mut self, name: &str, topic: &Topic, fates: &mut Fates) {
        let mut moments: HashSet<String> = HashSet::new();
        for kept in &topic.kept {
            fates.messages += 1;
            let received = Received { wall: self.now.max(kept.received), since_boot_ns: 0 };
            let message =
                Incoming { topic: name, payload: &kept.payload, received, retain: kept.retain, ..Incoming::default() };
            let Some(told) = self.previewer.preview(&message) else { continue };
            let all: Vec<&(Text, Row)> = told.rows.iter().chain(&told.left_out).collect();
            fates.meet(name, &all);
            moments.clear();
            let is_new = |(table, row): &&&(Text, Row)| {
                let time = row.time.map(Timestamp::to_micros);
                time.is_none() || moments.insert(format!("{table}\n{time:?}\n{:?}", row.symbols))
            };
            let distinct = all.iter().filter(is_new).count();
            fates.collides |= distinct < all.len() && !all.iter().any(|(_, row)| row.apart);
            fates.rows += told.rows.len();
            fates.to_rows += usize::from(!told.rows.is_empty());
            fates.retained += usize::from(told.rows.is_empty() && !told.left_out.is_empty());
            fates.empty += usize::from(told.is_empty() || told.clears);
            if let Some(reason) = told.set_aside.first() {
                fates.aside.push((name.to_owned(), reason.clone()));
                fates.ahead += usize::from(told.is_ahead);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_checked_as_a_configuration_is() {
        assert!(settings("[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"").is_ok());
        let wrong = settings("[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\nsymbols = [\"x\"]").expect_err("twice");
        assert!(wrong.iter().all(|(key, _)| key.starts_with("source.a")), "{wrong:?}");
        assert!(settings("[source").is_err());
    }
}
