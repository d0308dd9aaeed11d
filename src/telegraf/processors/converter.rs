//! `processors.converter`: types, and what is tag, field, time and measurement.

use crate::telegraf::{
    draft::{Draft, Format, TagAt, Time},
    glob, jq,
    keyed::NameIn,
    layout,
    remark::{Kind, Place},
    section::Section,
};

/// Types in the order in which Telegraf looks for the first that matches.
const TYPES: [(&str, &str); 5] =
    [("float", "double"), ("integer", "long"), ("unsigned", "long"), ("boolean", "boolean"), ("string", "string")];

/// Converts tags, then fields.
pub fn apply(section: &mut Section, draft: &mut Draft) {
    if let Some(mut tags) = section.table("tags") {
        of_tags(&mut tags, draft);
        section.remarks.extend(tags.finish());
    }
    if let Some(mut fields) = section.table("fields") {
        of_fields(&mut fields, draft);
        section.remarks.extend(fields.finish());
    }
}

fn of_tags(section: &mut Section, draft: &mut Draft) {
    let format = section.text("timestamp_format");
    for (place, name) in named(section, "measurement", draft, false) {
        match draft.tag(&name) {
            TagAt::Constant(value) => {
                draft.override_measurement(&value);
                draft.tags.remove(&name);
            }
            TagAt::Level => {
                let is_set = name_by_level(draft, &name);
                if !is_set {
                    draft.say(Kind::NoCounterpart, &place, "table", "not all topics of the source have this level");
                }
            }
            TagAt::Member(path) => name_by_member(draft, &place, &path),
            TagAt::Topic => {
                let what = "a table's name has no slashes: write it of the topic's levels, as in table = \"{a}_{b}\"";
                draft.say(Kind::NoCounterpart, &place, "table", what);
            }
            TagAt::Unknown => {}
        }
    }
    for (key, kind) in TYPES {
        for (place, name) in named(section, key, draft, false) {
            match draft.tag(&name) {
                TagAt::Member(path) if draft.format != Format::Line => {
                    draft.symbols.retain(|own| *own != path);
                    draft.fields.insert(path.clone(), kind);
                    if !draft.only.is_empty() {
                        let pattern = draft.pattern(&path);
                        draft.only.push(crate::telegraf::draft::Only { pattern, name });
                    }
                }
                TagAt::Unknown => {}
                _ => {
                    let what = format!(
                        "a topic, a constant and the tag of a line give symbols and no fields: {name:?} stays one"
                    );
                    draft.say(Kind::Changed, &place, "topic", what);
                }
            }
        }
    }
    for (place, name) in named(section, "timestamp", draft, false) {
        match draft.tag(&name) {
            TagAt::Member(path) if draft.format != Format::Line => {
                draft.symbols.retain(|own| *own != path);
                time(draft, &place, path, format.as_deref());
            }
            TagAt::Unknown => {}
            _ => draft.say(Kind::NoCounterpart, &place, "timestamp", "a time has to be a member of the payload"),
        }
    }
}

fn name_by_level(draft: &mut Draft, tag: &str) -> bool {
    let has_level =
        |cell: &crate::telegraf::topics::Cell| cell.levels.iter().any(|level| level.tags.iter().any(|own| own == tag));
    if !draft.cells.iter().all(has_level) {
        return false;
    }
    for level in draft.cells.iter_mut().flat_map(|cell| &mut cell.levels) {
        level.is_measurement = level.tags.iter().any(|own| own == tag);
    }
    draft.override_measurement("");
    draft.table = crate::telegraf::draft::LEVEL.into();
    true
}

fn name_by_member(draft: &mut Draft, place: &Place, path: &str) {
    if let Err(what) = draft.name_by_program(&jq::flattened_text(&path.replace('.', "_")), NameIn::Row) {
        draft.say(Kind::NoCounterpart, place, "table", what);
    } else {
        draft.symbols.retain(|own| own != path);
        let pattern = draft.pattern(path);
        draft.leave_out(pattern);
    }
}

fn of_fields(section: &mut Section, draft: &mut Draft) {
    let format = section.text("timestamp_format");
    for (place, name) in named(section, "measurement", draft, true) {
        let path = draft.path(&name);
        name_by_member(draft, &place, &path);
    }
    for (place, name) in named(section, "tag", draft, true) {
        if draft.format == Format::Plain {
            let what = "a plain payload is a field and no symbol; it stays one";
            draft.say(Kind::NoCounterpart, &place, "fields", what);
        } else {
            draft.field_to_tag(&name);
        }
    }
    for (key, kind) in TYPES {
        for (place, name) in named(section, key, draft, true) {
            draft.set_type(&name, kind);
            if kind == "long" {
                let what = format!(
                    "Telegraf rounds; forebay sets aside what is no whole number for {name:?}, with the rest of the row stored"
                );
                draft.say(Kind::Changed, &place, "fields", what);
            }
        }
    }
    for (place, name) in named(section, "timestamp", draft, true) {
        let path = draft.path(&name);
        draft.fields.remove(&path);
        draft.only.retain(|only| only.name != name);
        time(draft, &place, path, format.as_deref());
    }
    if let Some((place, names)) = section.texts_at("base64_ieee_float32").filter(|(_, names)| !names.is_empty()) {
        let what = format!(
            "forebay has nothing for numbers in base64 ({}); a jq program takes the bytes apart with @base64d",
            names.join(", ")
        );
        draft.say(Kind::NoCounterpart, &place, "jq", what);
    }
}

fn time(draft: &mut Draft, place: &Place, field: String, format: Option<&str>) {
    if !matches!(draft.format, Format::Json | Format::Csv) {
        draft.say(Kind::NoCounterpart, place, "timestamp", "the time of such a payload can't be a field of it");
        return;
    }
    match format.map_or(Err("Telegraf refuses it without timestamp_format; the time of receipt is taken"), layout::of) {
        Ok(layout) => {
            if let Some(what) = layout.what {
                draft.say(Kind::Changed, place, "timestamp", what);
            }
            draft.time = Some(Time { field, unit: layout.unit, zone: None });
        }
        Err(what) => draft.say(Kind::NoCounterpart, place, "timestamp", what),
    }
}

/// The names that an option stands for. Of a pattern those that the configuration knows.
fn named(section: &mut Section, key: &str, draft: &mut Draft, of_fields: bool) -> Vec<(Place, String)> {
    let Some((place, patterns)) = section.texts_at(key) else { return Vec::new() };
    let known = if of_fields { draft.field_names() } else { draft.tag_names() };
    let mut names: Vec<String> = Vec::new();
    for pattern in patterns {
        if glob::is_plain(&pattern) {
            if !of_fields || draft.is_open() || known.contains(&pattern) {
                names.push(pattern);
            }
            continue;
        }
        names.extend(known.iter().filter(|name| glob::matches(&pattern, name)).cloned());
        if draft.is_open() {
            let what = format!(
                "forebay's keys take names, and {pattern:?} is a pattern; write out the names that it stands for"
            );
            draft.say(Kind::NoCounterpart, &place, if of_fields { "fields" } else { "symbols" }, what);
        }
    }
    names.into_iter().map(|name| (place.clone(), name)).collect()
}
