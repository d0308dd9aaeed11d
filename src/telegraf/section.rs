//! A section of a Telegraf configuration, whose options are taken one by one: what nobody takes is
//! told in the end.

use super::{
    document::{Entries, Item, Value},
    remark::{Kind, Place, Remark},
};
use crate::observe::log::clip;

/// Options that Telegraf takes for any plugin and that change no row.
const WITHOUT_MEANING: [&str; 6] =
    ["collection_jitter", "collection_offset", "interval", "log_level", "startup_error_behavior", "labels"];

/// A section, and what is said of it.
#[derive(Debug, Clone)]
pub struct Section {
    /// Where it stands.
    pub place: Place,
    entries: Entries,
    /// What is to be told.
    pub remarks: Vec<Remark>,
}

impl Section {
    /// A section of a file.
    pub fn new(file: &str, path: String, line: usize, entries: Entries) -> Self {
        Self { place: Place { file: file.to_owned(), line, path }, entries, remarks: Vec::new() }
    }

    /// The place of an option.
    pub fn place_of(&self, key: &str) -> Place {
        let line = self.entries.iter().find(|(name, _)| name == key).map_or(self.place.line, |(_, item)| item.line);
        Place { file: self.place.file.clone(), line, path: format!("{}.{key}", self.place.path) }
    }

    /// Whether an option is there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name == key)
    }

    fn take(&mut self, key: &str) -> Option<(Place, Item)> {
        let place = self.place_of(key);
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        Some((place, self.entries.remove(at).1))
    }

    /// Says something of the section.
    pub fn remark(&mut self, kind: Kind, place: Place, key: &'static str, what: impl Into<String>) {
        self.remarks.push(Remark::new(kind, place, what).at(key));
    }

    fn misplaced(&mut self, place: Place, wanted: &str) {
        let what = format!("Telegraf wants {wanted} here; it is left out");
        self.remark(Kind::NoCounterpart, place, "", what);
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.text_at(key).map(|(_, text)| text)
    }

    /// A text and its place.
    pub fn text_at(&mut self, key: &str) -> Option<(Place, String)> {
        let (place, item) = self.take(key)?;
        match item.value {
            Value::Text(text) => Some((place, text)),
            Value::Int(number) => Some((place, number.to_string())),
            _ => {
                self.misplaced(place, "a text");
                None
            }
        }
    }

    /// A whole number and its place.
    pub fn int_at(&mut self, key: &str) -> Option<(Place, i64)> {
        let (place, item) = self.take(key)?;
        if let Value::Int(number) = item.value {
            return Some((place, number));
        }
        self.misplaced(place, "a whole number");
        None
    }

    /// A number and its place.
    pub fn number_at(&mut self, key: &str) -> Option<(Place, f64)> {
        let (place, item) = self.take(key)?;
        match item.value {
            Value::Int(number) => Some((place, number as f64)),
            Value::Float(number) => Some((place, number)),
            _ => {
                self.misplaced(place, "a number");
                None
            }
        }
    }

    /// true or false.
    pub fn bool(&mut self, key: &str) -> Option<bool> {
        let (place, item) = self.take(key)?;
        if let Value::Bool(is_true) = item.value {
            return Some(is_true);
        }
        self.misplaced(place, "true or false");
        None
    }

    /// Texts; none where the option is not there.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        self.texts_at(key).map(|(_, texts)| texts).unwrap_or_default()
    }

    /// Texts and their place.
    pub fn texts_at(&mut self, key: &str) -> Option<(Place, Vec<String>)> {
        let (place, item) = self.take(key)?;
        let items = match item.value {
            Value::List(items) => items,
            Value::Text(_) => vec![item],
            _ => Vec::new(),
        };
        let count = items.len();
        let texts: Vec<String> = items.into_iter().filter_map(|item| as_text(item.value)).collect();
        if count == 0 || texts.len() != count {
            let is_empty_list = count == 0;
            if !is_empty_list {
                self.misplaced(place.clone(), "a list of texts");
            }
        }
        Some((place, texts))
    }

    /// The texts of a table, such as tags.
    pub fn pairs(&mut self, key: &str) -> Vec<(String, String)> {
        let Some((place, item)) = self.take(key) else { return Vec::new() };
        let Value::Table(entries) = item.value else {
            self.misplaced(place, "a table");
            return Vec::new();
        };
        entries.into_iter().filter_map(|(name, item)| Some((name, as_text(item.value)?))).collect()
    }

    /// A table within it.
    pub fn table(&mut self, key: &str) -> Option<Section> {
        let (place, item) = self.take(key)?;
        if let Value::Table(entries) = item.value {
            return Some(Section { place, entries, remarks: Vec::new() });
        }
        self.misplaced(place, "a table");
        None
    }

    /// The tables of an array within it.
    pub fn tables(&mut self, key: &str) -> Vec<Section> {
        let Some((place, item)) = self.take(key) else { return Vec::new() };
        let items = match item.value {
            Value::List(items) => items,
            Value::Table(_) => vec![item],
            _ => {
                self.misplaced(place, "sections in double brackets");
                return Vec::new();
            }
        };
        let table = |(at, item): (usize, Item)| match item.value {
            Value::Table(entries) => {
                Some(Section::new(&place.file, format!("{}[{at}]", place.path), item.line, entries))
            }
            _ => None,
        };
        items.into_iter().enumerate().filter_map(table).collect()
    }

    /// The tables of a table, such as the plugins of `inputs`, each with its name.
    pub fn plugins(self) -> Vec<(String, Vec<Section>)> {
        let Self { place, entries, .. } = self;
        let of_one = |(name, item): (String, Item)| {
            // One at a time: there may be very many, and an entry is looked up among all others.
            let mut section =
                Section { place: place.clone(), entries: vec![(name.clone(), item)], remarks: Vec::new() };
            let tables = section.tables(&name);
            (name, tables)
        };
        entries.into_iter().map(of_one).collect()
    }

    /// The names of its options.
    pub fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Leaves options out that mean nothing here.
    pub fn without(&mut self, keys: &[&str]) {
        self.entries.retain(|(name, _)| !keys.contains(&name.as_str()));
    }

    /// What is to be told, with the options that nobody took.
    pub fn finish(mut self) -> Vec<Remark> {
        self.without(&WITHOUT_MEANING);
        let Self { place: Place { file, path, .. }, entries, mut remarks } = self;
        remarks.extend(entries.into_iter().map(|(key, item)| {
            let place = Place { file: file.clone(), line: item.line, path: format!("{path}.{key}") };
            let what = format!("forebay has nothing for the option {:?}", clip(&key));
            Remark::new(Kind::NoCounterpart, place, what)
        }));
        remarks
    }
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(is_true) => Some(is_true.to_string()),
        Value::List(_) | Value::Table(_) => None,
    }
}
