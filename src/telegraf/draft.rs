//! A source as it is put together: what Telegraf would call its columns, and where they come from.
//! Pure.

use std::collections::BTreeMap;

use super::{
    glob,
    remark::{Kind, Place, Remark},
    topics::{Cell, Level, Takes},
};

/// What stands for the measurement's level in a table's name until its placeholder is known.
pub const LEVEL: &str = "{/}";

/// Payload formats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    #[default]
    Json,
    /// One value.
    Plain,
    /// Influx line protocol.
    Line,
    /// Rows of cells.
    Csv,
}

impl Format {
    /// The value of the key `format`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Plain => "plain",
            Self::Line => "line",
            Self::Csv => "csv",
        }
    }
}

/// Where the time stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Time {
    /// The member's path; empty for line protocol.
    pub field: String,
    /// The time's notation; empty where forebay tells it by itself.
    pub unit: String,
    /// The zone of text that tells none.
    pub zone: Option<String>,
}

/// A pattern of members that become fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Only {
    /// The pattern as `only` takes it.
    pub pattern: String,
    /// The field's name as Telegraf has it; or its pattern of names.
    pub name: String,
}

/// A source that is being put together.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The section it comes from.
    pub place: Place,
    /// What it is to be called.
    pub label: String,
    /// The source's topics.
    pub cells: Vec<Cell>,
    /// The table's name, with placeholders.
    pub table: String,
    /// The tag that Telegraf keeps the whole topic in.
    pub topic_tag: Option<String>,
    /// Whether the whole topic is needed to tell series apart.
    pub keeps_topic: bool,
    /// Symbols of each row.
    pub tags: BTreeMap<String, String>,
    /// The payload's format.
    pub format: Format,
    /// QoS, where it is told.
    pub qos: Option<u8>,
    /// Where the time stands.
    pub time: Option<Time>,
    /// Members that become symbols.
    pub symbols: Vec<String>,
    /// Types, by path.
    pub fields: BTreeMap<String, &'static str>,
    /// Columns' names, by path.
    pub rename: BTreeMap<String, String>,
    /// The members that become fields, where not all do.
    pub only: Vec<Only>,
    /// Members that are left out.
    pub ignore: Vec<String>,
    /// Factors and offsets, by path.
    pub scale: BTreeMap<String, (f64, f64)>,
    /// Texts that say nothing.
    pub null_values: Vec<String>,
    /// Where rows stand.
    pub rows: Option<String>,
    /// The member that names a row's field, and that which is its value.
    pub named: Option<(String, String)>,
    /// The name of a bare value's field.
    pub field: Option<String>,
    /// The tag whose value names the field of a plain payload.
    pub pivot: Option<String>,
    /// A jq program.
    pub jq: Option<String>,
    /// What it was before a program put the table's name around each row.
    pub before_key: Option<Before>,
    /// Names of cells.
    pub columns: Vec<String>,
    /// What stands between cells.
    pub delimiter: Option<String>,
    /// What is said of it.
    pub remarks: Vec<Remark>,
    /// Lines that a reader may want, by the key they stand at.
    pub suggestions: Vec<(&'static str, String)>,
    /// Whether members become fields that the configuration does not name one by one.
    pub has_objects: bool,
    /// Why no row comes of it.
    pub nothing: Option<String>,
}

/// What a source was before a program put the table's name around each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The program that the source had.
    pub jq: Option<String>,
    /// The way to rows that the source had.
    pub rows: Option<String>,
    /// How many objects out the top is from a row now.
    pub depth: usize,
}

/// Where a tag comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagAt {
    /// A level of the topic.
    Level,
    /// It has one value.
    Constant(String),
    /// A member of the payload.
    Member(String),
    /// The whole topic.
    Topic,
    /// Nothing is known of it.
    Unknown,
}

impl Draft {
    /// A source of a section.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            label: String::new(),
            cells: Vec::new(),
            table: "mqtt_consumer".into(),
            topic_tag: Some("topic".into()),
            keeps_topic: false,
            tags: BTreeMap::new(),
            format: Format::default(),
            qos: None,
            time: None,
            symbols: Vec::new(),
            fields: BTreeMap::new(),
            rename: BTreeMap::new(),
            only: Vec::new(),
            ignore: Vec::new(),
            scale: BTreeMap::new(),
            null_values: Vec::new(),
            rows: None,
            named: None,
            field: None,
            pivot: None,
            jq: None,
            before_key: None,
            columns: Vec::new(),
            delimiter: None,
            remarks: Vec::new(),
            suggestions: Vec::new(),
            has_objects: false,
            nothing: None,
        }
    }

    /// Says something of it, before a key.
    pub fn say(&mut self, kind: Kind, place: &Place, key: &'static str, what: impl Into<String>) {
        self.remarks.push(Remark::new(kind, place.clone(), what).at(key));
    }

    /// The measurement's name, where it is known.
    pub fn measurement(&self) -> Option<&str> {
        (!self.table.contains('{')).then_some(self.table.as_str())
    }

    /// Names the measurement. Braces would be placeholders.
    pub fn set_measurement(&mut self, name: &str) {
        self.table = name.replace(['{', '}'], "_");
    }

    /// The name of a field's column, by its path.
    pub fn column(&self, path: &str) -> String {
        match self.rename.get(path) {
            Some(name) => name.clone(),
            None => path.trim_start_matches("^.").trim_start_matches("$.").replace('.', "_"),
        }
    }

    /// The path of the field that Telegraf has under a name.
    pub fn path(&self, name: &str) -> String {
        let renamed = self.rename.iter().find(|(path, column)| *column == name && !self.symbols.contains(path));
        if let Some((path, _)) = renamed {
            return path.clone();
        }
        let known = self.fields.keys().find(|path| self.column(path) == name);
        known.cloned().unwrap_or_else(|| name.to_owned())
    }

    /// A path as a pattern of `only` and `ignore`. Telegraf joins the names of nested members with
    /// `_`, and forebay's patterns go by paths.
    pub fn pattern(&self, path: &str) -> String {
        if self.format == Format::Json && !path.contains('.') { path.replace('_', "?") } else { path.to_owned() }
    }

    /// Where a tag comes from.
    pub fn tag(&self, name: &str) -> TagAt {
        if self.topic_tag.as_deref() == Some(name) {
            return TagAt::Topic;
        }
        if self.levels().any(|level| level.tags.iter().any(|tag| tag == name)) {
            return TagAt::Level;
        }
        if let Some(path) = self.symbols.iter().find(|path| self.column(path) == name) {
            return TagAt::Member(path.clone());
        }
        match self.tags.get(name) {
            Some(value) => TagAt::Constant(value.clone()),
            None if self.format == Format::Line => TagAt::Member(name.to_owned()),
            None => TagAt::Unknown,
        }
    }

    /// Every level of its topics.
    pub fn levels(&self) -> impl Iterator<Item = &Level> {
        self.cells.iter().flat_map(|cell| &cell.levels)
    }

    fn levels_mut(&mut self) -> impl Iterator<Item = &mut Level> {
        self.cells.iter_mut().flat_map(|cell| &mut cell.levels)
    }

    /// The names of all tags that are known.
    pub fn tag_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.levels().flat_map(|level| level.tags.iter().cloned()).collect();
        names.extend(self.symbols.iter().map(|path| self.column(path)));
        names.extend(self.tags.keys().cloned());
        names.extend(self.topic_tag.clone());
        names.sort();
        names.dedup();
        names
    }

    /// The names of all fields that are known.
    pub fn field_names(&self) -> Vec<String> {
        let exact = self.only.iter().map(|only| &only.name).filter(|name| glob::is_plain(name)).cloned();
        let paths = self.fields.keys().chain(self.rename.keys()).filter(|path| !self.symbols.contains(path));
        let mut names: Vec<String> = paths.map(|path| self.column(path)).chain(exact).collect();
        let is_time = |column: &String| self.time.as_ref().is_some_and(|time| time.field == *column);
        let cells = self.columns.iter().filter(|column| !column.is_empty() && !self.symbols.contains(column));
        names.extend(cells.filter(|column| !is_time(column)).map(|column| self.column(column)));
        if self.format == Format::Plain && self.pivot.is_none() {
            names.push(self.field_name());
        }
        names.sort();
        names.dedup();
        names
    }

    /// The name of a plain payload's field.
    pub fn field_name(&self) -> String {
        self.field.clone().unwrap_or_else(|| "value".into())
    }

    /// Whether the payload may have members that the configuration does not name.
    pub fn is_open(&self) -> bool {
        match self.format {
            Format::Json => self.only.is_empty(),
            Format::Csv => self.columns.is_empty(),
            Format::Line => true,
            Format::Plain => false,
        }
    }

    /// A tag gets another name.
    pub fn rename_tag(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        match self.tag(from) {
            TagAt::Topic => self.topic_tag = Some(to.to_owned()),
            TagAt::Level => {
                for level in self.levels_mut() {
                    level.tags.iter_mut().filter(|tag| *tag == from).for_each(|tag| to.clone_into(tag));
                }
            }
            TagAt::Member(path) => self.name_member(&path, to),
            TagAt::Constant(value) => {
                self.tags.remove(from);
                self.tags.insert(to.to_owned(), value);
            }
            TagAt::Unknown => {}
        }
    }

    /// A field gets another name.
    pub fn rename_field(&mut self, from: &str, to: &str) {
        if self.format == Format::Plain {
            if self.field_name() == from {
                let kind = self.fields.remove(from);
                self.field = Some(to.to_owned());
                self.fields.extend(kind.map(|kind| (to.to_owned(), kind)));
            }
            return;
        }
        for only in &mut self.only {
            if only.name == from {
                to.clone_into(&mut only.name);
            }
        }
        let path = self.path(from);
        self.name_member(&path, to);
    }

    fn name_member(&mut self, path: &str, name: &str) {
        self.rename.remove(path);
        if self.column(path) != name {
            self.rename.insert(path.to_owned(), name.to_owned());
        }
    }

    /// A field is of a type.
    pub fn set_type(&mut self, name: &str, kind: &'static str) {
        let path = self.path(name);
        if !self.symbols.contains(&path) {
            self.fields.insert(path, kind);
        }
    }

    /// A field becomes a tag.
    pub fn field_to_tag(&mut self, name: &str) {
        let path = self.path(name);
        self.fields.remove(&path);
        self.only.retain(|only| only.name != name);
        if !self.symbols.contains(&path) {
            self.symbols.push(path);
        }
    }

    /// A tag goes.
    pub fn drop_tag(&mut self, name: &str) {
        match self.tag(name) {
            TagAt::Topic => self.topic_tag = None,
            TagAt::Level => self.levels_mut().for_each(|level| level.tags.retain(|tag| tag != name)),
            TagAt::Constant(_) => drop(self.tags.remove(name)),
            TagAt::Member(path) => {
                self.symbols.retain(|own| *own != path);
                self.rename.remove(&path);
                if self.only.is_empty() {
                    let pattern = self.pattern(&path);
                    self.leave_out(pattern);
                }
            }
            TagAt::Unknown => {}
        }
    }

    /// A pattern of members that are left out.
    pub fn leave_out(&mut self, pattern: String) {
        if !self.ignore.contains(&pattern) {
            self.ignore.push(pattern);
        }
    }

    /// Keeps the fields whose names match.
    pub fn keep_fields(&mut self, patterns: &[String], place: &Place) {
        if self.format == Format::Plain {
            if !glob::any(patterns, &self.field_name()) {
                self.nothing = Some(format!("{} leaves out its only field", place.path));
            }
        } else if self.only.is_empty() {
            self.only = self.as_only(patterns, place);
            if self.format == Format::Line {
                let what = "of line protocol `only` leaves out tags as well: name the tags to keep there";
                self.say(Kind::Changed, place, "only", what);
            }
        } else {
            self.only.retain(|only| glob::any(patterns, &only.name));
            if self.only.is_empty() {
                self.nothing = Some(format!("{} leaves out all of its fields", place.path));
            }
        }
    }

    /// Leaves out the fields whose names match.
    pub fn drop_fields(&mut self, patterns: &[String], place: &Place) {
        if self.format == Format::Plain {
            if glob::any(patterns, &self.field_name()) {
                self.nothing = Some(format!("{} leaves out its only field", place.path));
            }
            return;
        }
        let all_are_named = !self.only.is_empty() && self.only.iter().all(|only| glob::is_plain(&only.name));
        self.only.retain(|only| !glob::is_plain(&only.name) || !glob::any(patterns, &only.name));
        if !all_are_named {
            for only in self.as_only(patterns, place) {
                if glob::is_plain(&only.name) {
                    let path = self.path(&only.name);
                    self.fields.remove(&path);
                    self.rename.remove(&path);
                }
                self.leave_out(only.pattern);
            }
        } else if self.only.is_empty() {
            self.nothing = Some(format!("{} leaves out all of its fields", place.path));
        }
    }

    fn as_only(&mut self, patterns: &[String], place: &Place) -> Vec<Only> {
        let mut all = Vec::new();
        for name in patterns {
            if glob::is_plain(name) {
                all.push(Only { pattern: self.pattern(&self.path(name)), name: name.clone() });
                continue;
            }
            let (translated, is_exact) = glob::translated(name);
            if !is_exact {
                let what = format!(
                    "{name:?}: a pattern of forebay has * and ? alone; ? stands for the characters in brackets"
                );
                self.say(Kind::Changed, place, "only", what);
            }
            for pattern in translated {
                let is_path = self.format == Format::Json;
                let pattern = if is_path { pattern.replace('_', "?") } else { pattern };
                all.push(Only { pattern, name: name.clone() });
            }
        }
        all
    }
}

/// Whether a level's name differs from message to message.
pub fn varies(level: &Level) -> bool {
    !matches!(level.takes, Takes::Name(_))
}
