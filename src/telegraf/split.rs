//! From the topics of an input to its sources: a source has one table, the same constant symbols,
//! and one group of subscribers. Pure.

use std::collections::BTreeMap;

use super::{
    draft::{self, Draft, LEVEL},
    remark::{Kind, Place},
    topics::{Cell, Takes},
};

/// The sources of an input whose payloads are read as `body` says.
pub fn split(body: &Draft, cells: Vec<Cell>) -> Vec<Draft> {
    let keyed: Vec<(Key, Cell)> = cells.into_iter().map(|mut cell| (Key::of(&mut cell), cell)).collect();
    let measurements: Vec<Measurement> = keyed.iter().map(|(key, _)| key.measurement.clone()).collect();
    let mut groups: Vec<(Key, Draft)> = Vec::new();
    for (at, (key, cell)) in keyed.into_iter().enumerate() {
        // A symbol with the whole topic is needed where the placeholders do not tell topics apart.
        let is_shared = measurements.iter().filter(|other| **other == key.measurement).count() > 1;
        let is_one_topic = key.measurement == Measurement::OfPayload && !cell.levels.iter().any(draft::varies);
        let keeps_topic = body.topic_tag.is_some() && (is_shared || is_one_topic);
        let key = Key { number: keeps_topic.then_some(at), ..key };
        if let Some((_, draft)) = groups.iter_mut().find(|(own, _)| *own == key) {
            draft.cells.push(cell);
        } else {
            let draft = of_key(body, &key, cell, keeps_topic);
            groups.push((key, draft));
        }
    }
    groups.into_iter().map(|(_, draft)| draft).collect()
}

/// What the topics of a source have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Key {
    number: Option<usize>,
    shared: Option<String>,
    measurement: Measurement,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Measurement {
    #[default]
    OfPayload,
    Name(String),
    /// A level that differs, with the tag that it is as well.
    Level(Option<String>),
}

impl Key {
    /// Of a cell. The tags of its levels that have one name go over into the key.
    fn of(cell: &mut Cell) -> Self {
        let measurement = cell.measurement().map_or(Measurement::OfPayload, |level| match &level.takes {
            Takes::Name(name) => Measurement::Name(name.clone()),
            _ => Measurement::Level(level.tags.first().cloned()),
        });
        let mut tags = BTreeMap::new();
        for level in &mut cell.levels {
            if let Takes::Name(name) = &level.takes {
                tags.extend(level.tags.drain(..).map(|tag| (tag, name.clone())));
            }
        }
        Self { number: None, shared: cell.shared.clone(), measurement, tags }
    }
}

fn of_key(body: &Draft, key: &Key, cell: Cell, keeps_topic: bool) -> Draft {
    let mut draft = body.clone();
    match &key.measurement {
        Measurement::OfPayload => {}
        Measurement::Name(name) => draft.override_measurement(name),
        Measurement::Level(_) => {
            draft.override_measurement("");
            draft.table = LEVEL.into();
        }
    }
    draft.tags.extend(key.tags.clone());
    draft.keeps_topic = keeps_topic;
    draft.cells.push(cell);
    fields(&mut draft);
    draft
}

/// Levels that Telegraf makes fields of become symbols: a topic gives no fields here.
fn fields(draft: &mut Draft) {
    let place = Place { path: format!("{}.topic_parsing", draft.place.path), ..draft.place.clone() };
    let mut moved = Vec::new();
    for level in draft.cells.iter_mut().flat_map(|cell| &mut cell.levels) {
        for field in level.fields.drain(..) {
            match &level.takes {
                Takes::Name(name) => drop(draft.tags.insert(field.clone(), name.clone())),
                _ => level.tags.push(field.clone()),
            }
            moved.push(field);
        }
    }
    for field in moved {
        let what = format!("a topic gives symbols and no fields: {field:?} is a symbol here");
        draft.say(Kind::Changed, &place, "topic", what);
    }
}
