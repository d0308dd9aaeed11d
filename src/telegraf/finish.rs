//! From a draft to the keys of a source: names of placeholders, patterns, tables. Pure.

use super::{
    draft::{Draft, Format, LEVEL},
    inline::inline,
    remark::{Kind, Place},
    topics::{Cell, Takes},
};

/// A source whose topics have their placeholders.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What it is made of.
    pub draft: Draft,
    /// Its patterns.
    pub patterns: Vec<String>,
    /// The group of a shared subscription.
    pub shared: Option<String>,
}

/// Names the placeholders.
pub fn finish(mut draft: Draft) -> Finished {
    let mut patterns = Vec::new();
    let mut templates: Vec<String> = Vec::new();
    let cells = draft.cells.clone();
    for cell in &cells {
        let named = Named::of(cell, &draft);
        for (tag, name) in &named.others {
            draft.tags.insert(tag.clone(), format!("{{{name}}}"));
        }
        if let Some(name) = &named.measurement {
            draft.table = draft.table.replace(LEVEL, &format!("{{{name}}}"));
        }
        if let Some(tag) = &draft.pivot
            && let Some((_, name)) = named.tags.iter().find(|(own, _)| own == tag)
        {
            draft.field = Some(format!("{{{name}}}"));
        }
        tell_renamed(&mut draft, &named);
        patterns.push(named.pattern);
        templates.push(named.template);
    }
    templates.dedup();
    if draft.format == Format::Line && !draft.table.contains("{measurement}") {
        let place = draft.place.clone();
        let what = "under a table of another name each line's measurement is kept as the symbol measurement";
        draft.say(Kind::Changed, &place, "table", what);
    }
    tell_topic(&mut draft, &templates);
    let shared = cells.first().and_then(|cell| cell.shared.clone());
    Finished { draft, patterns, shared }
}

/// A cell whose levels have names.
struct Named {
    pattern: String,
    /// The topic, made of placeholders.
    template: String,
    /// Tags and the placeholders that have their levels.
    tags: Vec<(String, String)>,
    /// Tags that share a level with the one that names the placeholder.
    others: Vec<(String, String)>,
    measurement: Option<String>,
    /// Whether a level is kept that no option names.
    has_unnamed: bool,
}

impl Named {
    fn of(cell: &Cell, draft: &Draft) -> Self {
        let keeps_all = draft.topic_tag.is_some();
        let mut named = Self {
            pattern: String::new(),
            template: String::new(),
            tags: Vec::new(),
            others: Vec::new(),
            measurement: None,
            has_unnamed: false,
        };
        let mut used: Vec<String> = Vec::new();
        for (at, level) in cell.levels.iter().enumerate() {
            if at > 0 {
                named.pattern.push('/');
                named.template.push('/');
            }
            if let Takes::Name(name) = &level.takes {
                named.pattern.push_str(name);
                named.template.push_str(name);
                continue;
            }
            let is_rest = level.takes == Takes::Rest;
            let wanted = level.tags.first().map(|tag| identifier(tag));
            let wanted = wanted.or_else(|| level.is_measurement.then(|| of_measurement(draft.format).to_owned()));
            let of_place = || if is_rest { "rest".to_owned() } else { format!("level{}", at + 1) };
            let Some(wanted) = wanted.or_else(|| keeps_all.then(of_place)) else {
                named.pattern.push(if is_rest { '#' } else { '+' });
                continue;
            };
            named.has_unnamed |= level.tags.is_empty() && !level.is_measurement;
            let name = unused(wanted, &used);
            used.push(name.clone());
            named.pattern.extend(["{", &name, if is_rest { "...}" } else { "}" }]);
            named.template.extend(["{", &name, "}"]);
            if level.is_measurement {
                named.measurement = Some(name.clone());
            }
            for (at, tag) in level.tags.iter().enumerate() {
                named.tags.push((tag.clone(), name.clone()));
                if at > 0 {
                    named.others.push((tag.clone(), name.clone()));
                }
            }
        }
        named
    }
}

/// What the measurement's level is called. Lines have a `measurement` of their own.
fn of_measurement(format: Format) -> &'static str {
    if format == Format::Line { "topic_measurement" } else { "measurement" }
}

/// A tag's name as that of a placeholder.
fn identifier(tag: &str) -> String {
    let well_formed = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = tag.chars().take(100).map(well_formed).collect();
    let is_time = name.eq_ignore_ascii_case("timestamp");
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || is_time { format!("{name}_") } else { name }
}

fn unused(wanted: String, used: &[String]) -> String {
    let is_used = |name: &String| used.iter().any(|other| other.eq_ignore_ascii_case(name));
    let wanted = if wanted.starts_with(|c: char| c.is_ascii_digit()) { format!("_{wanted}") } else { wanted };
    if !is_used(&wanted) {
        return wanted;
    }
    // One of so many is free.
    let mut numbered = (2..used.len() + 3).map(|number| format!("{wanted}_{number}"));
    numbered.find(|name| !is_used(name)).unwrap_or(wanted)
}

fn tell_renamed(draft: &mut Draft, named: &Named) {
    let place = Place { path: format!("{}.topic_parsing", draft.place.path), ..draft.place.clone() };
    let first = named.tags.iter().filter(|pair| !named.others.contains(pair) && pair.0 != pair.1);
    for (tag, name) in first {
        draft.say(
            Kind::Changed,
            &place,
            "topic",
            format!("a placeholder has letters, digits and _: the tag {tag:?} is {name}"),
        );
    }
    if let Some(name) = named.measurement.as_ref().filter(|name| !named.tags.iter().any(|(_, own)| own == *name)) {
        draft.say(
            Kind::Changed,
            &place,
            "table",
            format!("the level that names the table is kept as the symbol {name} as well"),
        );
    }
}

/// The tag with the whole topic.
fn tell_topic(draft: &mut Draft, templates: &[String]) {
    let Some(tag) = draft.topic_tag.clone() else { return };
    let place = Place { path: format!("{}.topic_tag", draft.place.path), ..draft.place.clone() };
    let [template] = templates else { return };
    let template = template.clone();
    if draft.keeps_topic {
        draft.tags.insert(tag.clone(), template);
        let what = format!(
            "{tag} has the whole topic, as in Telegraf, so that the topics of the input stay series of their own. \
                            Where other symbols tell them apart, leave it out"
        );
        draft.say(Kind::Note, &place, "tags", what);
        return;
    }
    let what = format!(
        "Telegraf keeps the whole topic in the tag {tag}; here the levels that differ are symbols. The line below gives the tag as well"
    );
    draft.say(Kind::Changed, &place, "tags", what);
    let mut tags = draft.tags.clone();
    tags.insert(tag, template);
    draft.suggestions.push(("tags", format!("tags = {}", inline(&tags))));
}
