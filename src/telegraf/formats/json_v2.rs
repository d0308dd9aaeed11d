//! `data_format = "json_v2"`: fields, tags and objects by GJSON paths.

use crate::telegraf::{
    draft::{Draft, Only, Time},
    gjson::GPath,
    jq,
    keyed::NameIn,
    remark::{Kind, Place},
    section::Section,
};

/// Sets its keys.
pub fn apply(section: &mut Section, draft: &mut Draft) {
    let mut configs = section.tables("json_v2").into_iter();
    let Some(mut config) = configs.next() else {
        let place = section.place.clone();
        section.remark(
            Kind::NoCounterpart,
            place,
            "",
            "Telegraf refuses json_v2 without a section json_v2; all members are taken",
        );
        return;
    };
    one(&mut config, draft);
    section.remarks.extend(config.finish());
    for more in configs {
        let what = "one message makes rows by one source: this second json_v2 is left out. A jq program that gives the rows of both can take its place";
        section.remark(Kind::NoCounterpart, more.place, "", what);
    }
}

fn one(config: &mut Section, draft: &mut Draft) {
    if let Some(name) = config.text("measurement_name").filter(|name| !name.is_empty()) {
        draft.set_measurement(&name);
    }
    let outer = outer(config);
    let time = outer_time(config);
    let objects: Vec<Object> =
        config.tables("object").into_iter().filter_map(|section| Object::of(section, config)).collect();
    let flattens = objects.iter().any(|object| object.flattens);
    let way = match objects.as_slice() {
        [] => Way::inside(&outer, config),
        [object] if !flattens => {
            let rows = (!object.path.is_whole()).then(|| object.path.as_rows());
            draft.rows.clone_from(&rows);
            if rows.is_some() { Way::Out } else { Way::Same }
        }
        _ => {
            draft.jq = Some(program(&objects, &outer, time.as_ref(), flattens));
            Way::Program
        }
    };
    if let Way::Rows(rows) = &way {
        draft.rows = Some(rows.clone());
    }
    for object in objects {
        object.apply(draft);
    }
    put(outer, &way, draft);
    draft.time = time.map(|time| way.time(time)).or(draft.time.take());
    if let Some((place, path)) = config.text_at("measurement_name_path") {
        let named = GPath::parse(&path)
            .and_then(|path| draft.name_by_program(&path.as_jq(), NameIn::Document).map_err(str::to_owned));
        if let Err(what) = named {
            config.remark(Kind::NoCounterpart, place, "table", format!("{path:?}: {what}"));
        }
    }
}

/// A `field` or `tag` beside the objects.
#[derive(Debug, Clone)]
struct Outer {
    path: GPath,
    name: String,
    kind: Option<&'static str>,
    is_tag: bool,
}

fn outer(config: &mut Section) -> Vec<Outer> {
    let mut all = Vec::new();
    for (key, is_tag) in [("field", false), ("tag", true)] {
        for mut section in config.tables(key) {
            let (place, path) = section.text_at("path").unwrap_or_else(|| (section.place.clone(), String::new()));
            let kind = section.text("type").and_then(|word| super::kind(&word)).filter(|_| !is_tag);
            let rename = section.text("rename").filter(|name| !name.is_empty());
            section.without(&["optional"]);
            match GPath::parse(&path) {
                Ok(parsed) if !parsed.is_whole() => {
                    let name = rename.unwrap_or_else(|| parsed.last().to_owned()).replace(' ', "_");
                    all.push(Outer { path: parsed, name, kind, is_tag });
                }
                Ok(_) => section.remark(
                    Kind::NoCounterpart,
                    place,
                    "only",
                    "it leads to the whole document, which is no value",
                ),
                Err(what) => {
                    let what = format!(
                        "{path:?} is no way of names to a value: {what}; it is left out. A jq program can take its place"
                    );
                    section.remark(Kind::NoCounterpart, place, "only", what);
                }
            }
            config.remarks.extend(section.finish());
        }
    }
    all
}

fn outer_time(config: &mut Section) -> Option<(GPath, Time)> {
    let path = config.text_at("timestamp_path").filter(|(_, path)| !path.is_empty());
    let (format, zone) = (config.text_at("timestamp_format"), config.text_at("timestamp_timezone"));
    let (place, path) = path?;
    match GPath::parse(&path) {
        Ok(parsed) => {
            let time = super::time(config, String::new(), format, zone)?;
            Some((parsed, time))
        }
        Err(what) => {
            let what = format!("{path:?} is no way of names to a time: {what}; the time of receipt is taken");
            config.remark(Kind::NoCounterpart, place, "timestamp", what);
            None
        }
    }
}

/// How what stands beside the objects is reached from a row.
enum Way {
    /// The row is the document.
    Same,
    /// Rows stand in these arrays.
    Rows(String),
    /// Rows stand inside of the document.
    Out,
    /// A program puts it into the rows.
    Program,
}

impl Way {
    /// Of a document without objects: paths may go through an array, the elements of which are
    /// rows.
    fn inside(outer: &[Outer], config: &mut Section) -> Self {
        let mut rows: Vec<String> = outer.iter().filter_map(|one| one.path.stand().rows).collect();
        rows.dedup();
        let Some(first) = rows.first().cloned() else { return Self::Same };
        if rows.len() > 1 {
            let place = config.place.clone();
            let what = "the paths go through several arrays; rows are the elements of the first one. Telegraf gives \
                        each value of one with each of the other";
            config.remark(Kind::Changed, place, "rows", what);
        }
        Self::Rows(first)
    }

    /// The path of a member from a row.
    fn path(&self, path: &GPath, name: &str) -> String {
        let whole = || path.as_rows().replace("[]", "");
        match self {
            Self::Same => whole(),
            Self::Out => format!("$.{}", whole()),
            Self::Program => name.to_owned(),
            Self::Rows(rows) => {
                let stand = path.stand();
                if stand.rows.as_ref() == Some(rows) { stand.path } else { format!("$.{}", whole()) }
            }
        }
    }

    fn time(&self, (path, time): (GPath, Time)) -> Time {
        Time { field: self.path(&path, TIME), ..time }
    }
}

/// The member that a program puts the time into.
const TIME: &str = "_time";

/// Brings in what stands beside the objects.
fn put(outer: Vec<Outer>, way: &Way, draft: &mut Draft) {
    let is_alone = matches!(way, Way::Same | Way::Rows(_)) && draft.only.is_empty() && !draft.has_objects;
    for one in outer {
        let path = way.path(&one.path, &one.name);
        if draft.column(&path) != one.name {
            draft.rename.insert(path.clone(), one.name.clone());
        }
        if one.is_tag {
            draft.symbols.push(path);
            continue;
        }
        if let Some(kind) = one.kind {
            draft.fields.insert(path.clone(), kind);
        }
        if !is_alone && draft.only.is_empty() && matches!(way, Way::Out) {
            draft.only.push(Only { pattern: "*".into(), name: "*".into() });
        }
        if is_alone || !draft.only.is_empty() {
            draft.only.push(Only { pattern: path, name: one.name });
        }
    }
}

/// An `object`.
struct Object {
    path: GPath,
    flattens: bool,
    tags: Vec<String>,
    included: Vec<String>,
    excluded: Vec<String>,
    renames: Vec<(String, String)>,
    types: Vec<(String, String)>,
    inner: Vec<Outer>,
    time: Option<Time>,
}

impl Object {
    fn of(mut section: Section, config: &mut Section) -> Option<Self> {
        let (place, text) = section.text_at("path").unwrap_or_else(|| (section.place.clone(), String::new()));
        let path = match GPath::parse(&text) {
            Ok(path) => path,
            Err(what) => {
                let what = format!(
                    "{text:?} is no way of names to an object: {what}; it is left out. A jq program can take its place"
                );
                config.remark(Kind::NoCounterpart, place, "rows", what);
                return None;
            }
        };
        section.without(&["optional"]);
        let inner = outer(&mut section);
        let time = section.text("timestamp_key").filter(|key| !key.is_empty()).and_then(|key| {
            let (format, zone) = (section.text_at("timestamp_format"), section.text_at("timestamp_timezone"));
            super::time(&mut section, key, format, zone)
        });
        let prepend_place = section.place_of("disable_prepend_keys");
        let disables = section.bool("disable_prepend_keys").unwrap_or_default();
        let (tags, included, excluded) =
            (section.texts("tags"), section.texts("included_keys"), section.texts("excluded_keys"));
        let (renames, types) = (section.pairs("renames"), section.pairs("fields"));
        let keys =
            tags.iter().chain(&included).chain(&excluded).chain(renames.iter().chain(&types).map(|(key, _)| key));
        let flattens = disables && !keys.chain(time.iter().map(|time| &time.field)).any(|key| key.contains('_'));
        tell_names(&mut section, prepend_place, disables, flattens);
        let object = Self { path, flattens, tags, included, excluded, renames, types, inner, time };
        config.remarks.extend(section.finish());
        Some(object)
    }

    fn apply(self, draft: &mut Draft) {
        for tag in self.tags {
            if !draft.symbols.contains(&tag) {
                draft.symbols.push(tag);
            }
        }
        let mut only = self.included;
        for one in self.inner {
            let path = one.path.as_rows().replace("[]", "");
            if draft.column(&path) != one.name {
                draft.rename.insert(path.clone(), one.name);
            }
            match (one.is_tag, one.kind) {
                (true, _) => draft.symbols.push(path),
                (false, kind) => {
                    draft.fields.extend(kind.map(|kind| (path.clone(), kind)));
                    only.push(path);
                }
            }
        }
        let renames = self.renames;
        let typed = self.types.into_iter().filter_map(|(key, word)| Some((key, super::kind(&word)?)));
        let typed: Vec<_> = typed.filter(|(key, _)| !draft.symbols.contains(key)).collect();
        draft.fields.extend(typed);
        draft.rename.extend(renames);
        for key in only {
            let (pattern, name) = (draft.pattern(&key), draft.column(&key));
            draft.only.push(Only { pattern, name });
        }
        for key in self.excluded {
            let pattern = draft.pattern(&key);
            draft.leave_out(pattern);
        }
        if self.time.is_some() {
            draft.time = self.time;
        }
        draft.has_objects = true;
    }
}

fn tell_names(section: &mut Section, place: Place, disables: bool, flattens: bool) {
    if flattens {
        let what = "a program takes the names of the objects around them from nested members; where no member is nested, take it out";
        section.remark(Kind::Note, place, "jq", what);
    } else if disables {
        let what = "nested members keep the names of the objects around them, joined with _; give them others with \
                    rename = { a_b = \"b\" }";
        section.remark(Kind::Changed, place, "rename", what);
    }
}

/// The program that makes rows of several objects, or of one whose nested names are not joined.
fn program(objects: &[Object], outer: &[Outer], time: Option<&(GPath, Time)>, flattens: bool) -> String {
    let paths: Vec<String> = objects.iter().map(|object| object.path.as_jq()).collect();
    let mut program = format!("({}) | values | if type == \"array\" then .[] else . end", paths.join(", "));
    if flattens {
        program.push_str(
            " | [paths(type | IN(\"object\", \"array\") | not) as $p | {(if ($p[-1] | type) == \"number\" then \
             ($p[-2:] | map(tostring) | join(\"_\")) else $p[-1] | gsub(\" \"; \"_\") end): getpath($p)}] | add",
        );
    }
    let member = |name: &str, path: &GPath| format!("{}: ($top | {})", jq::text(name), path.as_jq());
    let mut members: Vec<String> = outer.iter().map(|one| member(&one.name, &one.path)).collect();
    members.extend(time.map(|(path, _)| member(TIME, path)));
    if members.is_empty() {
        return program;
    }
    format!(". as $top | {program} | . + ({{{}}} | with_entries(select(.value != null)))", members.join(", "))
}
