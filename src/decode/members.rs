//! What becomes of the members of a source's documents. It is decided once for each path, and
//! remembered. Pure.
//!
//! A path is the names of a member and of what it is in, joined with dots: `AM2301.Temperature`,
//! `values.0`. A configured path names the member that has it. Where no configured path is that
//! member's, one that is the same with `_` for each dot names it. A path that begins with `$.` or
//! `^.` names a member outside its row: its column is named by what follows.

use std::sync::Arc;

use hashbrown::HashMap;
use wildmatch::WildMatch;

use super::{
    FaultKind, Role, Roles, Unfit,
    names::{column_name, short},
    time::{TimeFault, TimeReader},
    value::{Factor, Scalar},
};
use crate::{
    names::{folded, same},
    point::Text,
    settings::{FieldType, Source},
};

/// Paths of a source remembered, and as many of objects and arrays; when there are more,
/// remembering starts over.
const MAX_KNOWN: usize = 1_024;
/// Longer paths are worked out each time.
const MAX_KNOWN_BYTES: usize = 256;
/// Most patterns that the members of one message are compared with.
const MAX_COMPARED: usize = 10_000_000;
/// Most members that are told of.
const MAX_TOLD: usize = 1_000;
/// Longer ones are no column's, and nothing that is configured.
const MAX_PATH_BYTES: usize = 1_024;

/// What becomes of a member with a single value.
#[derive(Debug, Clone)]
pub(super) enum Treatment {
    /// It is left out.
    Leave,
    /// It is the row's time.
    Time(Arc<TimeReader>),
    /// It is a symbol, in this column.
    Symbol(Text),
    /// It is a field.
    Field {
        /// Its column.
        column: Text,
        /// The type asked for.
        wanted: Option<FieldType>,
        /// What its numbers are multiplied by.
        factor: Option<Factor>,
    },
    /// It cannot become a part of a row.
    Unfit(FaultKind, String),
}

/// What becomes of a member that is an object or an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branch {
    /// Its members are looked into.
    Enter,
    /// All of it is left out.
    Leave,
    /// A single value is wanted there: what for.
    Unfit(&'static str),
}

/// Something that is configured for paths.
#[derive(Debug, Clone)]
struct ByPath<T>(Vec<(Text, Text, T)>);

impl<T> Default for ByPath<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByPath<T> {
    fn of(entries: impl Iterator<Item = (Text, T)>) -> Self {
        Self(entries.map(|(path, what)| (flattened(&path), path, what)).collect())
    }

    /// What is configured for a path: by itself, or by what it is with `_` for dots, in any
    /// spelling where `is_any` says so.
    fn find(&self, path: &str, is_any: impl Fn(&T) -> bool) -> Option<&T> {
        if self.0.is_empty() {
            return None;
        }
        let exact = self.0.iter().find(|(_, own, _)| own == path);
        let by_flat = || {
            let flat = flattened(path);
            self.0.iter().find(|(own, _, what)| if is_any(what) { same(own, &flat) } else { *own == flat })
        };
        exact.or_else(by_flat).map(|(_, _, what)| what)
    }
}

/// Whether a path names a member outside its row.
pub(super) fn is_outside(path: &str) -> bool {
    path.starts_with("$.") || path.starts_with("^.")
}

/// The path without what says that it is outside its row.
fn inner(path: &str) -> &str {
    let mut inner = path;
    while let Some(rest) = inner.strip_prefix("$.").or_else(|| inner.strip_prefix("^.")) {
        inner = rest;
    }
    if inner.is_empty() { path } else { inner }
}

/// The path with `_` for each dot.
fn flattened(path: &str) -> Text {
    path.chars().map(|c| if c == '.' { '_' } else { c }).collect()
}

/// A source's rules about members, and what they have come to so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    roles: Roles,
    time: Arc<TimeReader>,
    by_path: ByPath<Role>,
    rename: ByPath<Text>,
    factors: ByPath<Factor>,
    only: Vec<WildMatch>,
    ignore: Vec<WildMatch>,
    null_texts: Vec<Text>,
    null_numbers: Vec<f64>,
    /// Places in `treatments`.
    known: HashMap<Text, usize, foldhash::fast::RandomState>,
    treatments: Vec<Treatment>,
    branches: HashMap<Text, Branch, foldhash::fast::RandomState>,
    /// The last one worked out that is not remembered.
    other: Option<Treatment>,
    /// Patterns that paths of the message were compared with.
    compared: usize,
    /// What became of members, where it is to be told.
    told: Option<Vec<String>>,
}

impl Members {
    /// By a source's settings. What is wrong with its timestamp shows in the decoder's check.
    pub fn of(source: &Source) -> Self {
        let time = source.timestamp.as_ref().and_then(|field| TimeReader::of(field).ok());
        let glob = |pattern: &String| WildMatch::new(pattern);
        let roles = super::roles(source);
        let nulls = &source.null_values;
        Self {
            time: Arc::new(time.unwrap_or_default()),
            by_path: ByPath::of(roles.0.iter().cloned()),
            roles,
            rename: ByPath::of(source.rename.iter().map(|(path, column)| (path.into(), column.into()))),
            factors: ByPath::of(source.scale.iter().map(|(path, scale)| (path.into(), Factor::of(*scale)))),
            only: source.only.iter().map(glob).collect(),
            ignore: source.ignore.iter().filter(|pattern| !is_outside(pattern)).map(glob).collect(),
            null_texts: nulls.iter().map(|text| text.trim().into()).collect(),
            null_numbers: nulls.iter().filter_map(|text| text.trim().parse().ok()).collect(),
            ..Self::default()
        }
    }

    /// Who has a role.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The column of a path.
    pub fn column(&self, path: &str) -> Option<Text> {
        let renamed = self.rename.find(path, |_| true).cloned();
        renamed.or_else(|| column_name(inner(path)).ok().map(Text::from))
    }

    /// Has what becomes of members be told.
    pub fn explain(&mut self) {
        self.told = Some(Vec::new());
    }

    /// What became of members since it was asked last.
    pub fn explained(&mut self) -> Vec<String> {
        self.told.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Changes places with other rules; what is told stays where it is.
    pub fn take_the_place_of(&mut self, other: &mut Self) {
        std::mem::swap(self, other);
        std::mem::swap(&mut self.told, &mut other.told);
    }

    /// Whether what becomes of members is told.
    #[inline]
    pub fn tells(&self) -> bool {
        self.told.is_some()
    }

    /// Takes note of what has become of a member with a value.
    pub fn tell(&mut self, path: &str, value: Scalar<'_>, unfit: Option<&Unfit>) {
        if self.told.as_ref().is_none_or(|told| told.len() >= MAX_TOLD) {
            return;
        }
        let what = match unfit {
            Some((_, reason)) => format!("set aside: {reason}"),
            None if self.is_null(value) => "no value, by null_values".to_owned(),
            None => self.in_words(path, value),
        };
        let line = format!("{path} = {}: {what}", short(&value.to_text()));
        self.told.get_or_insert_default().push(line);
    }

    /// What becomes of the member at a path, and which keys say so.
    fn in_words(&mut self, path: &str, value: Scalar<'_>) -> String {
        let is_renamed = self.rename.find(path, |_| true).is_some();
        let is_ignored = matches_path(&self.ignore, path);
        let by_rename = if is_renamed { ", named by rename" } else { "" };
        match self.treatment(path) {
            Treatment::Symbol(_) | Treatment::Field { .. } if value.is_nothing() => "no value".to_owned(),
            Treatment::Leave if is_ignored => "left out, by ignore".to_owned(),
            Treatment::Leave => "left out: it is not among only".to_owned(),
            Treatment::Time(time) => match time.read(value) {
                Ok(time) => format!("the time {time}, by timestamp"),
                Err(TimeFault::Unusable(why)) => format!("no time, and that of receipt is taken: {why}"),
                Err(TimeFault::TooLate(why)) => format!("a time too far ahead: {why}"),
            },
            Treatment::Symbol(column) => format!("symbol {column}, by symbols{by_rename}"),
            Treatment::Field { column, wanted, factor } => {
                let by_type = if wanted.is_some() { ", converted by fields" } else { "" };
                let by_scale = if factor.is_some() { ", scaled by scale" } else { "" };
                format!("field {column}{by_rename}{by_scale}{by_type}")
            }
            Treatment::Unfit(_, reason) => format!("set aside: {reason}"),
        }
    }

    /// Whether a value says nothing in this source.
    pub fn is_null(&self, value: Scalar<'_>) -> bool {
        let number = |number: f64| self.null_numbers.contains(&number);
        match value {
            Scalar::Text(text) => !self.null_texts.is_empty() && self.null_texts.iter().any(|null| null == text.trim()),
            Scalar::Int(value) => !self.null_numbers.is_empty() && number(value as f64),
            Scalar::Float(value) => !self.null_numbers.is_empty() && number(value),
            Scalar::Bool(_) | Scalar::Big(_) => false,
        }
    }

    /// What becomes of the member at a path.
    pub fn treatment(&mut self, path: &str) -> &Treatment {
        if path.len() > MAX_KNOWN_BYTES {
            let decided = self.decide(path);
            return self.other.insert(decided);
        }
        if let Some(at) = self.known.get(path) {
            return &self.treatments[*at];
        }
        self.compared += self.only.len() + self.ignore.len();
        let decided = self.decide(path);
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
            self.treatments.clear();
        }
        let at = self.treatments.len();
        self.known.insert(path.into(), at);
        self.treatments.push(decided);
        &self.treatments[at]
    }

    /// What becomes of the object or array at a path.
    pub fn branch(&mut self, path: &str) -> Branch {
        if let Some(known) = self.branches.get(path) {
            return *known;
        }
        let decided = self.decide_branch(path);
        if path.len() <= MAX_KNOWN_BYTES {
            if self.branches.len() >= MAX_KNOWN {
                self.branches.clear();
            }
            self.branches.insert(path.into(), decided);
        }
        decided
    }

    /// Counts the patterns that paths are compared with from 0.
    pub fn begin(&mut self) {
        self.compared = 0;
    }

    /// Whether they are too many for one message.
    #[inline]
    pub fn are_compared_too_often(&self) -> bool {
        self.compared > MAX_COMPARED
    }

    fn decide(&self, path: &str) -> Treatment {
        if path.len() > MAX_PATH_BYTES {
            return column_name(inner(path))
                .map_or_else(|reason| Treatment::Unfit(FaultKind::Name, reason), |_| Treatment::Leave);
        }
        let role = self.role(path);
        // What says when and of whom a row is stays, whatever is left out; and so does what is outside
        // its row, which is there because the source names it.
        match role {
            Some(Role::Time) => return Treatment::Time(Arc::clone(&self.time)),
            None | Some(Role::Field(_)) if !is_outside(path) && self.is_left_out(path) => return Treatment::Leave,
            _ => {}
        }
        let column = match (self.rename.find(path, |_| true), column_name(inner(path))) {
            (Some(column), _) => column.clone(),
            (None, Ok(column)) => column.into(),
            (None, Err(reason)) => return Treatment::Unfit(FaultKind::Name, reason),
        };
        if role == Some(Role::Symbol) {
            return Treatment::Symbol(column);
        }
        let wanted = if let Some(Role::Field(wanted)) = role { Some(wanted) } else { None };
        Treatment::Field { column, wanted, factor: self.factors.find(path, |_| true).copied() }
    }

    fn decide_branch(&self, path: &str) -> Branch {
        if path.len() > MAX_PATH_BYTES {
            return Branch::Enter;
        }
        // An object beside a member whose column has that name in another spelling is looked into.
        match self.by_path.find(path, |_| false) {
            // It is no time, so that the time of receipt has to do.
            Some(Role::Time) => Branch::Leave,
            Some(Role::Symbol) => Branch::Unfit("symbol"),
            Some(Role::Field(_)) if !self.is_left_out(path) => Branch::Unfit("typed field"),
            _ if matches_path(&self.ignore, path) && !self.has_role_within(path) => Branch::Leave,
            _ => Branch::Enter,
        }
    }

    /// The role of a member with a value: a symbol or a typed field is a column, whatever the
    /// spelling; a time is spelled exactly.
    fn role(&self, path: &str) -> Option<Role> {
        self.by_path.find(path, |role| !matches!(role, Role::Time)).copied()
    }

    fn is_left_out(&self, path: &str) -> bool {
        let is_wanted = self.only.is_empty() || matches_path(&self.only, path);
        !is_wanted || matches_path(&self.ignore, path)
    }

    /// Whether a member has a role: the time, a symbol, or a field of a type.
    pub fn is_named(&self, path: &str) -> bool {
        self.role(path).is_some()
    }

    /// The column of a member that is not left out.
    pub fn passes(&mut self, path: &str) -> Option<Text> {
        match self.treatment(path) {
            Treatment::Field { column, .. } | Treatment::Symbol(column) => Some(column.clone()),
            Treatment::Leave | Treatment::Time(_) | Treatment::Unfit(..) => None,
        }
    }

    /// Whether a member's value becomes another one than it is.
    pub fn converts(&mut self, path: &str) -> bool {
        matches!(self.treatment(path), Treatment::Field { wanted, factor, .. } if wanted.is_some() || factor.is_some())
    }

    /// Whether a member's text is taken as it is written: `007` stays so.
    pub fn takes_text(&mut self, path: &str) -> bool {
        match self.treatment(path) {
            Treatment::Time(_) | Treatment::Symbol(_) => true,
            Treatment::Field { wanted, factor, .. } => *wanted == Some(FieldType::String) && factor.is_none(),
            Treatment::Leave | Treatment::Unfit(..) => false,
        }
    }

    /// Whether nothing is said of members: each becomes a field by its name.
    pub fn say_nothing(&self) -> bool {
        self.roles.0.is_empty() && self.rename.0.is_empty() && self.factors.0.is_empty() && self.let_all_pass()
    }

    fn let_all_pass(&self) -> bool {
        self.only.is_empty() && self.ignore.is_empty() && self.null_texts.is_empty()
    }

    /// Whether a member is left out, whatever else is said of it.
    pub fn leaves_out(&self, path: &str) -> bool {
        self.is_left_out(path) && !matches!(self.role(path), Some(Role::Time | Role::Symbol))
    }

    /// Whether the time or a symbol may be found in the object or array at a path.
    fn has_role_within(&self, path: &str) -> bool {
        let within = format!("{}_", folded(&flattened(path)));
        let ByPath(roles) = &self.by_path;
        roles.iter().any(|(flat, _, role)| !matches!(role, Role::Field(_)) && folded(flat).starts_with(&within))
    }
}

/// Whether a pattern matches a path, or what it is in.
fn matches_path(patterns: &[WildMatch], path: &str) -> bool {
    if patterns.is_empty() {
        return false;
    }
    let mut ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    ends.any(|end| patterns.iter().any(|pattern| pattern.matches(&path[..end])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(extra: &str) -> Members {
        Members::of(&toml::from_str(&format!("topic = \"t\"\ntable = \"t\"\n{extra}")).expect("a source"))
    }

    fn field(members: &mut Members, path: &str) -> Option<Text> {
        match members.treatment(path) {
            Treatment::Field { column, .. } => Some(column.clone()),
            _ => None,
        }
    }

    #[test]
    fn a_path_is_found_by_itself_first_and_then_with_underscores_for_dots() {
        let mut members = members("rename = { \"a.b\" = \"exact\", x_y = \"by_flat\" }");
        assert_eq!(field(&mut members, "a.b").as_deref(), Some("exact"));
        assert_eq!(field(&mut members, "x.y").as_deref(), Some("by_flat"));
        assert_eq!(field(&mut members, "a.c").as_deref(), Some("a_c"));
        assert_eq!(field(&mut members, "DS18B20-1.Temperature").as_deref(), Some("DS18B20_1_Temperature"));
    }

    #[test]
    fn patterns_match_members_and_all_that_is_in_them() {
        let mut some = members("only = [\"temp*\", \"in.?\"]\nignore = [\"temp.raw\"]");
        for (path, is_in) in [
            ("temp", true),
            ("temp.a", true),
            ("temp.raw", false),
            ("temp.raw.x", false),
            ("in.a", true),
            ("in.ab", false),
        ] {
            assert_eq!(field(&mut some, path).is_some(), is_in, "{path}");
        }
        assert_eq!(some.branch("temp.raw"), Branch::Leave);
        assert_eq!(some.branch("in"), Branch::Enter);
    }

    #[test]
    fn what_says_when_and_of_whom_a_row_is_stays() {
        let mut members = members("ignore = [\"*\"]\nsymbols = [\"meta.id\"]\ntimestamp = { field = \"meta.ts\" }");
        assert_eq!(members.branch("meta"), Branch::Enter);
        assert!(matches!(members.treatment("meta.id"), Treatment::Symbol(column) if column == "meta_id"));
        assert!(matches!(members.treatment("meta.ts"), Treatment::Time(_)));
        assert!(matches!(members.treatment("meta.rssi"), Treatment::Leave));
        assert_eq!(members.branch("other"), Branch::Leave);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut members = members("rename = { last = \"z\" }\nignore = [\"*.raw\"]");
        for n in 0..2 * MAX_KNOWN {
            assert!(field(&mut members, &format!("m{n}")).is_some());
            members.branch(&format!("m{n}"));
        }
        assert_eq!(field(&mut members, "last").as_deref(), Some("z"));
        assert_eq!(field(&mut members, "more").as_deref(), Some("more"));
        assert!(members.known.len() <= MAX_KNOWN && members.branches.len() <= MAX_KNOWN);
        let dots = ".".repeat(1 << 20);
        assert!(matches!(members.treatment(&dots), Treatment::Unfit(..)) && members.branch(&dots) == Branch::Enter);
        let long = "n".repeat(MAX_KNOWN_BYTES + 1);
        assert!(matches!(members.treatment(&long), Treatment::Unfit(FaultKind::Name, _)));
    }

    #[test]
    fn scale_goes_by_the_member_and_not_by_the_column_that_it_becomes() {
        let mut members = members("rename = { raw = \"power\", power = \"nominal\" }\nscale = { power = 0.1 }");
        let mut is_scaled = |path| matches!(members.treatment(path), Treatment::Field { factor: Some(_), .. });
        assert_eq!(["raw", "power"].map(&mut is_scaled), [false, true]);
    }

    #[test]
    fn objects_are_told_from_columns_by_their_exact_spelling() {
        let mut members = members("fields = { temp = \"double\" }\ntimestamp = { field = \"ts-1\" }");
        assert_eq!((members.branch("Temp"), members.branch("temp")), (Branch::Enter, Branch::Unfit("typed field")));
        assert!(matches!(members.treatment("ts_1"), Treatment::Field { .. }));
        assert!(matches!(members.treatment("ts-1"), Treatment::Time(_)));
    }

    #[test]
    fn numbers_that_say_nothing_are_known_in_every_spelling() {
        let members = members("null_values = [\"-9999.0\", \" off \"]");
        for value in [Scalar::Int(-9_999), Scalar::Float(-9_999.0), Scalar::Text("-9999.0"), Scalar::Text("off")] {
            assert!(members.is_null(value), "{value:?}");
        }
        assert!(!members.is_null(Scalar::Int(9_999)) && !members.is_null(Scalar::Bool(false)));
    }
}
