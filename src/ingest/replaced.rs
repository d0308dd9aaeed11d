//! Rows that took the place of others, by source and table: what is counted since start, and what
//! the operator is told.

use std::{sync::Mutex, time::Duration};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::enter::{Message, TableRows};
use crate::{
    latest::Collisions,
    observe::log::clip,
    point::{Row, Text},
    sync::lock,
    tally::SourceId,
};

/// Most sources and tables told apart; what others replace is counted under [`OTHER_TABLES`].
const MAX_TABLES: usize = 1_000;
/// Names of sources, those of earlier configurations among them, from which on the earlier ones are
/// forgotten.
const MAX_SOURCES: usize = 10_000;
/// What stands for the tables beyond.
const OTHER_TABLES: &str = "(other tables)";
/// What stands for the source of rows out of quarantine.
const NO_SOURCE: &str = "(none)";
/// A source and table are warned about once in this time.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// Rows of a source and table that took the place of others, since start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplacedStatus {
    /// The source.
    pub source: String,
    /// The table.
    pub table: String,
    /// Rows that another one of their moment took the place of, with another value. QuestDB has
    /// them no more.
    pub replaced: u64,
    /// Rows older than what is remembered of their series: nobody can say what they replaced.
    pub uncompared: u64,
    /// Those of the replaced ones that came in the same message as what replaced them.
    pub in_one_message: u64,
    /// A member that told such rows apart: it may be missing from the source's symbols.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differing_member: Option<String>,
}

#[derive(Debug, Default)]
struct Of {
    replaced: u64,
    uncompared: u64,
    in_one_message: u64,
    differing_member: Option<Text>,
    warned: Option<Duration>,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    names: Mutex<HashMap<SourceId, String, foldhash::quality::RandomState>>,
    tables: Mutex<HashMap<(SourceId, Text), Of, foldhash::quality::RandomState>>,
}

impl Replaced {
    /// Takes note of the names of sources; those that were noted before stay while there is room.
    pub fn name_sources(&self, names: impl Iterator<Item = (SourceId, String)>) {
        let mut known = lock(&self.names);
        if known.len() >= MAX_SOURCES {
            known.clear();
        }
        known.extend(names);
    }

    /// Counts what a message that has entered replaced, and warns of it.
    pub fn tell(&self, message: &Message<'_>) {
        let has_notes = |row: &Row| row.notes.replaced > 0 || row.notes.uncompared;
        for of in message.tables.iter().filter(|of| of.rows.iter().any(has_notes)) {
            self.tell_table(message, of);
        }
    }

    fn tell_table(&self, message: &Message<'_>, TableRows { table, rows, .. }: &TableRows) {
        let replaced: u64 = rows.iter().map(|row| u64::from(row.notes.replaced)).sum();
        let uncompared = rows.iter().filter(|row| row.notes.uncompared).count() as u64;
        let mut tables = lock(&self.tables);
        let key = (message.source, table.clone());
        let is_beyond = tables.len() >= MAX_TABLES && !tables.contains_key(&key);
        let of = tables.entry(if is_beyond { (message.source, OTHER_TABLES.into()) } else { key }).or_default();
        of.replaced += replaced;
        of.uncompared += uncompared;
        let collisions = Some(&message.collisions).filter(|_| replaced > 0 && message.collisions.rows > 0);
        if let Some(Collisions { rows, field, .. }) = collisions {
            of.in_one_message += (*rows).min(replaced);
            of.differing_member = field.clone().or(of.differing_member.take());
        }
        let now = Duration::from_nanos(message.received.since_boot_ns);
        let is_due = of.warned.is_none_or(|last| now.saturating_sub(last) >= WARN_EVERY);
        if replaced == 0 || !is_due {
            return;
        }
        of.warned = Some(now);
        drop(tables);
        let source = self.name(message.source);
        warn(&source, table, clip(message.shown.topic), replaced, collisions);
    }

    fn name(&self, source: SourceId) -> String {
        lock(&self.names).get(&source).map_or(NO_SOURCE, String::as_str).to_owned()
    }

    /// The counts, by source and table.
    pub fn status(&self) -> Vec<ReplacedStatus> {
        let tables = lock(&self.tables);
        let mut status: Vec<ReplacedStatus> = tables
            .iter()
            .map(|((source, table), of)| ReplacedStatus {
                source: self.name(*source),
                table: table.to_string(),
                replaced: of.replaced,
                uncompared: of.uncompared,
                in_one_message: of.in_one_message,
                differing_member: of.differing_member.as_ref().map(Text::to_string),
            })
            .collect();
        status.sort_by(|a, b| (&a.source, &a.table).cmp(&(&b.source, &b.table)));
        status
    }
}

fn warn(source: &str, table: &str, topic: impl std::fmt::Display, replaced: u64, collisions: Option<&Collisions>) {
    let (readings, rows) = if replaced == 1 { ("reading", "row") } else { ("readings", "rows") };
    match collisions {
        Some(Collisions { field: Some(field), .. }) => tracing::warn!(
            source,
            table,
            %topic,
            "{replaced} {readings} of one message on {topic} replaced by others of the same time and symbols: table {table:?} keeps one row of \
             them; source {source:?} may need {field:?} in its symbols"
        ),
        Some(_) => tracing::warn!(
            source,
            table,
            %topic,
            "{replaced} {readings} of one message on {topic} replaced by others of the same time and symbols: table {table:?} keeps one row of \
             them; source {source:?} may need another symbol"
        ),
        None => tracing::warn!(
            source,
            table,
            %topic,
            "{replaced} {rows} on {topic} took the place of others of the same time and symbols, with other values: table {table:?} keeps one row \
             of them; does source {source:?} lack a symbol, or does the device repeat its times?"
        ),
    }
}
