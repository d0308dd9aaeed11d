//! `processors.strings`: changed texts. Names that the configuration knows are changed here, values
//! by a jq program.

use crate::telegraf::{
    draft::{Draft, Format, TagAt},
    jq,
    remark::{Kind, Place},
    section::Section,
};

/// The functions in the order in which Telegraf applies them.
const FUNCTIONS: [&str; 12] = [
    "lowercase",
    "uppercase",
    "titlecase",
    "trim",
    "trim_left",
    "trim_right",
    "trim_prefix",
    "trim_suffix",
    "replace",
    "left",
    "base64decode",
    "valid_utf8",
];

/// Applies every function.
pub fn apply(section: &mut Section, draft: &mut Draft) {
    for name in FUNCTIONS {
        for mut change in section.tables(name) {
            let change = Change::of(name, &mut change);
            change.apply(draft);
        }
    }
}

struct Change {
    place: Place,
    function: &'static str,
    argument: String,
    new: String,
    width: Option<usize>,
    dest: String,
    measurement: String,
    tag: String,
    tag_key: String,
    field: String,
    field_key: String,
}

impl Change {
    fn of(function: &'static str, section: &mut Section) -> Self {
        let argument = match function {
            "trim" | "trim_left" | "trim_right" => "cutset",
            "trim_prefix" => "prefix",
            "trim_suffix" => "suffix",
            _ => "old",
        };
        let width = section.int_at("width").and_then(|(_, width)| usize::try_from(width).ok());
        let mut text = |key: &str| section.text(key).unwrap_or_default();
        let (argument, new, dest) = (text(argument), text("new"), text("dest"));
        let (measurement, tag, tag_key) = (text("measurement"), text("tag"), text("tag_key"));
        let (field, field_key) = (text("field"), text("field_key"));
        let place = section.place.clone();
        Self { place, function, argument, new, width, dest, measurement, tag, tag_key, field, field_key }
    }

    fn apply(&self, draft: &mut Draft) {
        self.field(draft);
        self.keys(draft);
        self.tag(draft);
        self.measurement(draft);
    }

    fn measurement(&self, draft: &mut Draft) {
        if self.measurement.is_empty() {
            return;
        }
        let changed = match draft.measurement() {
            Some(name) if self.measurement == "*" || self.measurement == name => self.changed(name),
            Some(_) => return,
            None => None,
        };
        match changed {
            Some(name) => draft.set_measurement(&name),
            None => draft.say(Kind::NoCounterpart, &self.place, "table", self.unchanged("the table's name")),
        }
    }

    fn keys(&self, draft: &mut Draft) {
        if !self.tag_key.is_empty() {
            for name in draft.tag_names().iter().filter(|name| self.tag_key == "*" || self.tag_key == **name) {
                if let Some(new) = self.changed(name).filter(|new| !new.is_empty()) {
                    draft.rename_tag(name, &new);
                }
            }
        }
        if self.field_key.is_empty() {
            return;
        }
        let names = if self.field_key == "*" { draft.field_names() } else { vec![self.field_key.clone()] };
        for name in names {
            if let Some(new) = self.changed(&name).filter(|new| !new.is_empty()) {
                draft.rename_field(&name, &new);
            }
        }
        if self.field_key == "*" && draft.is_open() {
            let what = "names that the configuration does not know stay as they are; rename gives them others";
            draft.say(Kind::NoCounterpart, &self.place, "rename", what);
        }
    }

    fn tag(&self, draft: &mut Draft) {
        if self.tag.is_empty() {
            return;
        }
        let names = if self.tag == "*" { draft.tag_names() } else { vec![self.tag.clone()] };
        for name in names {
            let into = if self.tag == "*" || self.dest.is_empty() { &name } else { &self.dest };
            match draft.tag(&name) {
                TagAt::Constant(value) => {
                    if let Some(value) = self.changed(&value) {
                        draft.tags.insert(into.clone(), value);
                    }
                }
                TagAt::Member(path) if draft.format == Format::Json && into == &name => self.by_program(draft, &path),
                TagAt::Unknown => {}
                _ => draft.say(Kind::NoCounterpart, &self.place, "topic", self.unchanged(&format!("the tag {name:?}"))),
            }
        }
    }

    fn field(&self, draft: &mut Draft) {
        if self.field.is_empty() {
            return;
        }
        if draft.format == Format::Json && self.field != "*" && self.dest.is_empty() {
            let path = draft.path(&self.field);
            self.by_program(draft, &path);
        } else {
            let what = self.unchanged(&format!("the field {:?}", self.field));
            draft.say(Kind::NoCounterpart, &self.place, "fields", what);
        }
    }

    fn unchanged(&self, what: &str) -> String {
        format!("{what} is stored as it comes: forebay has nothing for strings.{} of it", self.function)
    }

    /// Has a program change a member.
    fn by_program(&self, draft: &mut Draft, path: &str) {
        let is_at_row = draft.before_key.is_none() && draft.rows.is_none() && !path.starts_with("$.");
        let Some(function) = self.as_jq().filter(|_| is_at_row) else {
            draft.say(Kind::NoCounterpart, &self.place, "jq", self.unchanged(&format!("{path:?}")));
            return;
        };
        let name = jq::text(path);
        let change = if path.contains(['_', '.']) {
            // It may be a name with _, or the names of nested members.
            let is_it = format!(
                "select(($p | map(tostring) | join(\"_\")) == {name} or ($p | map(tostring) | join(\".\")) == {name})"
            );
            format!("reduce (paths(strings) as $p | {is_it} | $p) as $p (.; setpath($p; getpath($p) | {function}))")
        } else {
            format!("if (.[{name}] | type) == \"string\" then .[{name}] |= ({function}) else . end")
        };
        draft.jq = Some(match draft.jq.take() {
            Some(before) => format!("{before} | {change}"),
            None => format!("if type == \"array\" then .[] else . end | {change}"),
        });
    }

    /// What it makes of a text that is known; none where that is not done here.
    fn changed(&self, text: &str) -> Option<String> {
        let is_cut = |c: char| if self.argument.is_empty() { c.is_whitespace() } else { self.argument.contains(c) };
        Some(match self.function {
            "lowercase" => text.to_lowercase(),
            "uppercase" => text.to_uppercase(),
            "trim" => text.trim_matches(is_cut).to_owned(),
            "trim_left" => text.trim_start_matches(is_cut).to_owned(),
            "trim_right" => text.trim_end_matches(is_cut).to_owned(),
            "trim_prefix" => text.strip_prefix(&self.argument).unwrap_or(text).to_owned(),
            "trim_suffix" => text.strip_suffix(&self.argument).unwrap_or(text).to_owned(),
            "replace" if !self.argument.is_empty() => {
                let replaced = text.replace(&self.argument, &self.new);
                if replaced.is_empty() { text.to_owned() } else { replaced }
            }
            "left" => text.get(..self.width?).unwrap_or(text).to_owned(),
            _ => return None,
        })
    }

    /// The change of a value as jq writes it.
    fn as_jq(&self) -> Option<String> {
        let argument = jq::text(&self.argument);
        let set = || {
            let is_blank = self.argument.is_empty();
            if is_blank { "\\s".to_owned() } else { self.argument.chars().flat_map(|c| ['\\', c]).collect::<String>() }
        };
        let is_plain = self.argument.chars().all(|c| c.is_ascii_punctuation() || c == ' ');
        let trimmed = |form: &str| {
            is_plain.then(|| format!("sub({}; \"\")", jq::text(&form.replace("SET", &set().replace("\\ ", " ")))))
        };
        Some(match self.function {
            "lowercase" => "ascii_downcase".into(),
            "uppercase" => "ascii_upcase".into(),
            "trim_prefix" => format!("ltrimstr({argument})"),
            "trim_suffix" => format!("rtrimstr({argument})"),
            "replace" if !self.argument.is_empty() => {
                format!(
                    "(split({argument}) | join({})) as $new | if $new == \"\" then . else $new end",
                    jq::text(&self.new)
                )
            }
            "left" => format!(".[:{}]", self.width?),
            "trim_left" => trimmed("^[SET]+")?,
            "trim_right" => trimmed("[SET]+$")?,
            "trim" => format!("{} | {}", trimmed("^[SET]+")?, trimmed("[SET]+$")?),
            _ => return None,
        })
    }
}
