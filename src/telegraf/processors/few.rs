//! Processors that are a key or two: `override`, `scale`, `pivot`.

use crate::telegraf::{
    draft::{Draft, Format, TagAt},
    filters::Naming,
    glob,
    remark::Kind,
    section::Section,
};

/// `processors.override`: name and tags, which here replace tags that are there.
pub fn name(section: &mut Section, draft: &mut Draft) {
    let tags = section.pairs("tags");
    Naming::of(section).apply(draft);
    for (name, value) in tags {
        match draft.tag(&name) {
            TagAt::Unknown | TagAt::Constant(_) => {}
            _ => draft.drop_tag(&name),
        }
        draft.tags.insert(name, value);
    }
}

/// `processors.scale`.
pub fn scale(section: &mut Section, draft: &mut Draft) {
    for mut scaling in section.tables("scaling") {
        let place = scaling.place.clone();
        let mut number = |key: &str| scaling.number_at(key).map(|(_, number)| number);
        let (factor, offset) = (number("factor"), number("offset"));
        let range =
            (number("input_minimum"), number("input_maximum"), number("output_minimum"), number("output_maximum"));
        let linear = match range {
            (Some(from), Some(to), Some(low), Some(high)) if (to - from).abs() > f64::EPSILON => {
                let factor = (high - low) / (to - from);
                (factor, low - from * factor)
            }
            _ => (factor.unwrap_or(1.0), offset.unwrap_or(0.0)),
        };
        let names = scaling.texts("fields");
        if names.iter().any(|name| !glob::is_plain(name)) && draft.is_open() {
            let what = "scale takes names and no patterns; write out the names that they stand for";
            draft.say(Kind::NoCounterpart, &place, "scale", what);
        }
        let known = draft.field_names();
        let exact = names.iter().filter(|name| glob::is_plain(name));
        let fields: Vec<String> = if draft.is_open() {
            exact.cloned().collect()
        } else {
            known.into_iter().filter(|name| glob::any(&names, name)).collect()
        };
        for field in fields {
            let path = draft.path(&field);
            draft.scale.insert(path, linear);
        }
    }
}

/// `processors.pivot`: the value of a tag names the field.
pub fn pivot(section: &mut Section, draft: &mut Draft) {
    let [tag, value] = ["tag_key", "value_key"].map(|key| section.text(key).unwrap_or_default());
    let place = section.place.clone();
    match draft.tag(&tag) {
        TagAt::Level if draft.format == Format::Plain && draft.field_name() == value => {
            if let Some(kind) = draft.fields.remove(&value) {
                let what = format!("each value is a {kind} in Telegraf; here a payload tells by itself what it is");
                draft.say(Kind::Changed, &place, "field", what);
            }
            draft.pivot = Some(tag);
            // It tells the fields of one row apart, which stand on topics of their own.
            draft.topic_tag = None;
        }
        TagAt::Member(path) if draft.format == Format::Json => {
            draft.symbols.retain(|own| *own != path);
            draft.rename.remove(&path);
            let value = draft.path(&value);
            draft.fields.remove(&value);
            draft.named = Some((path, value));
        }
        TagAt::Unknown => {}
        _ => {
            let what = "forebay names a field by a level of the topic (format = \"plain\", field = \"{x}\") or by a member of JSON (name, value)";
            draft.say(Kind::NoCounterpart, &place, "field", what);
        }
    }
}
