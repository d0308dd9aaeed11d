//! `data_format = "json"`: numbers of an object, with nested names joined.

use crate::telegraf::{draft::Draft, gjson::GPath, glob, jq, keyed::NameIn, remark::Kind, section::Section};

/// Sets its keys.
pub fn apply(section: &mut Section, draft: &mut Draft) {
    section.without(&["json_strict"]);
    query(section, draft);
    let strings = section.texts("json_string_fields");
    let tags = section.texts_at("tag_keys");
    let time = section.text("json_time_key").filter(|key| !key.is_empty());
    if let Some(key) = &time {
        let (format, zone) = (section.text_at("json_time_format"), section.text_at("json_timezone"));
        draft.time = super::time(section, key.clone(), format, zone);
    }
    section.without(&["json_time_format", "json_timezone"]);
    for (place, name) in tags.iter().flat_map(|(place, names)| names.iter().map(move |name| (place, name))) {
        if glob::is_plain(name) {
            draft.symbols.push(name.clone());
        } else {
            let what =
                format!("symbols takes names, and {name:?} is a pattern; write out the names that it stands for");
            section.remark(Kind::NoCounterpart, place.clone(), "symbols", what);
        }
    }
    let name_key = section.text_at("json_name_key").filter(|(_, key)| !key.is_empty());
    tell_texts(section, draft, &strings, time.as_ref(), name_key.as_ref().map(|(_, key)| key));
    let Some((place, key)) = name_key else { return };
    match draft.name_by_program(&jq::flattened_text(&key), NameIn::Row) {
        Ok(()) => {
            if !glob::any(&strings, &key) && !draft.symbols.contains(&key) {
                let pattern = draft.pattern(&key);
                draft.leave_out(pattern);
            }
            let what = "a program puts the table's name around each row, since a member can't name the table by itself";
            section.remark(Kind::Note, place, "jq", what);
        }
        Err(what) => section.remark(Kind::NoCounterpart, place, "table", what),
    }
}

fn query(section: &mut Section, draft: &mut Draft) {
    let Some((place, query)) = section.text_at("json_query") else { return };
    if query.is_empty() {
        return;
    }
    match GPath::parse(&query) {
        Ok(path) if path.is_whole() => {}
        Ok(path) => {
            draft.rows = Some(path.as_rows());
            let what = "a document that has nothing there is set aside, where Telegraf says nothing";
            section.remark(Kind::Changed, place, "rows", what);
        }
        Err(what) => {
            let what = format!("{query:?} is no way of names to rows: {what}; write rows, or a jq program");
            section.remark(Kind::NoCounterpart, place, "rows", what);
        }
    }
}

/// Telegraf drops texts and booleans that no option names. forebay stores them; a program that
/// drops them is offered.
fn tell_texts(
    section: &mut Section,
    draft: &mut Draft,
    strings: &[String],
    time: Option<&String>,
    name_key: Option<&String>,
) {
    if strings.iter().any(|pattern| pattern == "*") {
        return;
    }
    let place = section.place_of("json_string_fields");
    let what = "Telegraf drops texts and booleans that neither json_string_fields nor tag_keys names; forebay stores \
                them. `ignore` leaves some out by their names";
    if name_key.is_some() {
        section.remark(Kind::Changed, place, "ignore", what);
        return;
    }
    section.remark(Kind::Changed, place, "jq", format!("{what}, and the program offered here all of them"));
    let kept: Vec<&String> = draft.symbols.iter().chain(strings).chain(time).collect();
    let program = format!(
        "if type == \"array\" then .[] else . end | delpaths([paths(type == \"string\" or type == \"boolean\"){}])",
        not_among(&kept, draft.rows.as_deref())
    );
    draft.suggestions.push(("jq", format!("jq = {}", toml::Value::from(program))));
}

/// The rest of a program that keeps members of these names.
fn not_among(kept: &[&String], rows: Option<&str>) -> String {
    if kept.is_empty() {
        return String::new();
    }
    let joined = "select(map(tostring) | join(\"_\")";
    if rows.is_none() && kept.iter().all(|name| glob::is_plain(name)) {
        let names: Vec<String> = kept.iter().map(|name| jq::text(name)).collect();
        return format!(" | {joined} | IN({}) | not)", names.join(", "));
    }
    let within = rows.map_or(String::new(), |rows| {
        let names = rows.trim_end_matches("[]").split('.');
        let name = |name: &str| format!("{}_", as_expression(name.trim_end_matches("[]")));
        names.map(name).collect::<Vec<_>>().join("([0-9]+_)?") + "([0-9]+_)?"
    });
    let pattern = kept.iter().map(|name| as_expression(name)).collect::<Vec<_>>().join("|");
    format!(" | {joined} | test({}) | not)", jq::text(&format!("^{within}({pattern})$")))
}

/// A pattern as a regular expression.
fn as_expression(pattern: &str) -> String {
    let (alternatives, _) = glob::translated(pattern);
    let one = |text: &String| {
        text.chars()
            .map(|c| match c {
                '*' => ".*".to_owned(),
                '?' => ".".to_owned(),
                c if c.is_ascii_punctuation() && c != '_' => format!("\\{c}"),
                c => c.to_string(),
            })
            .collect::<String>()
    };
    alternatives.iter().map(one).collect::<Vec<_>>().join("|")
}
