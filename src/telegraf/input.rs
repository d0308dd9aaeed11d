//! An input `mqtt_consumer` as sources, and all sources as a fragment.

use std::collections::HashSet;

use super::{
    broker::{self, Broker},
    draft::Draft,
    filters::{Filters, Naming, Passes},
    finish::{self, Finished},
    formats, printer,
    remark::{self, Kind, MAX_REMARKS, Place, Remark},
    section::Section,
    split,
    topics::{self, MAX_CELLS, Parsing},
};
use crate::{decode::Decoder, settings::Settings};

/// Longest name of a source that is made of a table's.
const MAX_LABEL_BYTES: usize = 48;
/// Most sources.
const MAX_SOURCES: usize = 1_000;

/// What all inputs have in common.
#[derive(Debug, Clone, Default)]
pub struct Global {
    tags: Vec<(String, String)>,
    hostname: Option<String>,
    omits_host: bool,
    place: Option<Place>,
}

impl Global {
    /// `[agent]`.
    pub fn agent(&mut self, mut section: Section) {
        self.hostname = section.text("hostname").filter(|name| !name.is_empty()).or(self.hostname.take());
        self.omits_host |= section.bool("omit_hostname").unwrap_or_default();
        self.place = Some(section.place);
    }

    /// `[global_tags]`.
    pub fn tags(&mut self, section: Section) {
        let mut section = section;
        for name in section.keys() {
            if let Some(value) = section.text(&name) {
                self.tags.push((name, value));
            }
        }
    }
}

/// An input's sources.
#[derive(Debug)]
pub struct Input {
    /// Where the input stands.
    pub place: Place,
    /// The input's sources.
    pub drafts: Vec<Draft>,
    /// The input's broker.
    pub broker: Broker,
    /// What is said of it that belongs to no source.
    pub remarks: Vec<Remark>,
}

/// Reads an input.
pub fn read(mut section: Section, global: &Global) -> Input {
    let place = section.place.clone();
    let broker = broker::of(&mut section);
    let mut body = Draft::new(place.clone());
    let alias = section.text("alias").filter(|alias| !alias.is_empty());
    body.label = alias.unwrap_or_default();
    body.qos = qos(&mut section);
    let filters = Filters::of(&mut section);
    let naming = Naming::of(&mut section);
    topic_tag(&mut section, &mut body, &filters);
    precision(&mut section);
    let is_read = formats::apply(&mut section, &mut body);
    let cells = cells(&mut section);
    let mut drafts = if is_read { split::split(&body, cells) } else { Vec::new() };
    drafts.retain_mut(|draft| passes(draft, &filters, &mut section));
    for draft in &mut drafts {
        naming.apply(draft);
        tags(draft, global, &place);
        filters.modify(draft);
    }
    let remarks = section.finish();
    match drafts.first_mut() {
        // A source tells them at the place that they concern.
        Some(first) => {
            first.remarks.splice(0..0, remarks);
            Input { place, drafts, broker, remarks: Vec::new() }
        }
        None => Input { place, drafts, broker, remarks },
    }
}

fn qos(section: &mut Section) -> Option<u8> {
    let Some((place, qos)) = section.int_at("qos") else {
        let place = section.place.clone();
        let what = "without qos Telegraf subscribes at QoS 0, and forebay at QoS 1: what it acknowledged is not lost";
        section.remark(Kind::Changed, place, "qos", what);
        return None;
    };
    if qos == 2 {
        let what = "forebay subscribes at QoS 0 or 1; with deduplication QoS 1 stores a reading once";
        section.remark(Kind::Changed, place, "qos", what);
    }
    (qos == 0).then_some(0)
}

fn topic_tag(section: &mut Section, body: &mut Draft, filters: &Filters) {
    if let Some(tag) = section.text("topic_tag") {
        body.topic_tag = (!tag.is_empty()).then_some(tag);
    }
    body.topic_tag = body.topic_tag.take().filter(|tag| filters.keeps_tag(tag));
}

fn precision(section: &mut Section) {
    if let Some((place, _)) = section.text_at("precision") {
        let what = "forebay keeps times as they come, to the microsecond";
        section.remark(Kind::NoCounterpart, place, "timestamp", what);
    }
}

fn cells(section: &mut Section) -> Vec<topics::Cell> {
    let (place, filters) = section.texts_at("topics").unwrap_or_else(|| (section.place.clone(), Vec::new()));
    if filters.is_empty() {
        section.remark(Kind::NoCounterpart, place.clone(), "", "there are no topics; nothing comes of it");
    }
    let mut parsings = Vec::new();
    let mut places = Vec::new();
    for mut one in section.tables("topic_parsing") {
        match Parsing::of(&mut one) {
            Ok(parsing) => {
                parsings.push(parsing);
                places.push(one.place.clone());
            }
            Err(what) => {
                let what = format!("Telegraf refuses this section ({what}); it is left out");
                section.remark(Kind::NoCounterpart, one.place.clone(), "topic", what);
            }
        }
        section.remarks.extend(one.finish());
    }
    let mut faults = Vec::new();
    let cells = topics::cells(&filters, &parsings, &mut faults);
    if cells.len() >= MAX_CELLS {
        let what = format!("no more than {MAX_CELLS} patterns are made of an input's topics; import others apart");
        section.remark(Kind::NoCounterpart, place, "topic", what);
    }
    for (number, what) in faults {
        if let Some(place) = places.get(number) {
            section.remark(Kind::NoCounterpart, place.clone(), "topic", what);
        }
    }
    cells
}

fn passes(draft: &mut Draft, filters: &Filters, section: &mut Section) -> bool {
    match filters.passes(draft) {
        Passes::All => true,
        Passes::None(place) => {
            let what = format!("it leaves out all rows of the table {:?}; no source is made for them", draft.table);
            section.remark(Kind::Note, place, "", what);
            false
        }
        Passes::Unknown(place) => {
            let what = "which messages pass depends on each of them; all do here. `exclude` leaves out topics";
            draft.say(Kind::NoCounterpart, &place, "topic", what);
            true
        }
    }
}

/// Tags of all inputs.
fn tags(draft: &mut Draft, global: &Global, place: &Place) {
    let mut taken: HashSet<String> = draft.tag_names().into_iter().collect();
    for (name, value) in &global.tags {
        if !value.is_empty() && taken.insert(name.clone()) {
            draft.tags.insert(name.clone(), value.clone());
        }
    }
    if global.omits_host || draft.tag_names().iter().any(|name| name == "host") {
        return;
    }
    let of_agent = global.place.as_ref().unwrap_or(place);
    if let Some(name) = &global.hostname {
        draft.tags.insert("host".into(), name.clone());
    } else {
        let place = Place { path: "agent.hostname".into(), ..of_agent.clone() };
        let what = "Telegraf adds the machine's name as the tag host; tags = { host = \"…\" } does it here";
        draft.say(Kind::Changed, &place, "tags", what);
    }
}

/// The fragment, and how many sources it has. What is said in it goes to `remarks` as well. It has
/// at most [`MAX_REMARKS`] of them as comments, and says how many more there are.
pub fn print(mut drafts: Vec<Draft>, broker: Option<&Broker>, remarks: &mut Vec<Remark>) -> (String, usize) {
    if let Some(first) = drafts.get(MAX_SOURCES) {
        let what = format!(
            "there would be {} sources; {} are printed. Import the other inputs apart",
            drafts.len(),
            MAX_SOURCES
        );
        remarks.push(Remark::new(Kind::NoCounterpart, first.place.clone(), what));
        drafts.truncate(MAX_SOURCES);
    }
    let mut comments = Comments { room: MAX_REMARKS, more: 0 };
    let mut text = String::from("# Sources that the inputs mqtt_consumer of a Telegraf configuration would be.\n");
    let (mut names, mut count) = (Vec::new(), 0);
    if let Some(broker) = broker {
        text.push_str(
            "# The broker belongs into forebay.toml. Let client_id be another than Telegraf's while both run.\n",
        );
        text.extend(broker.lines().iter().map(|line| format!("#{line}\n")));
    }
    remark::without_twins(remarks);
    let mut of_none = remarks.clone();
    comments.limit(&mut of_none);
    text.extend(of_none.iter().map(printer::comment));
    let mut shapes: Vec<String> = Vec::new();
    for mut draft in drafts {
        text.push('\n');
        remark::without_twins(&mut draft.remarks);
        if let Some(why) = &draft.nothing {
            let what = format!("no source is made of it: {why}");
            let remark = Remark::new(Kind::Note, draft.place.clone(), what);
            text.push_str(&printer::comment(&remark));
            remarks.append(&mut draft.remarks);
            remarks.push(remark);
            continue;
        }
        let name = name_of(&draft, &names);
        let mut source = finish::finish(draft);
        tell_shared_topics(&mut source, &mut shapes);
        remark::without_twins(&mut source.draft.remarks);
        remarks.extend_from_slice(&source.draft.remarks);
        comments.limit(&mut source.draft.remarks);
        let section = printer::section(&name, &source, true);
        match braces(&source.draft).or_else(|| fault(&section)) {
            None => {
                text.push_str(&section);
                count += 1;
                names.push(name);
            }
            Some(what) => {
                let place = source.draft.place.clone();
                let what = format!(
                    "forebay would refuse this source, so it is a comment; put it right and take the # away: {what}"
                );
                let remark = Remark::new(Kind::NoCounterpart, place, what);
                source.draft.remarks.push(remark.clone());
                remarks.push(remark);
                text.push_str(&printer::section(&name, &source, false));
            }
        }
    }
    if comments.more > 0 {
        text.push_str(&printer::wrapped(&format!(
            "and {} more remarks, which are not written here; import fewer inputs at once to see them",
            comments.more
        )));
    }
    (text, count)
}

/// How many remarks the fragment still has room for, and how many had none.
struct Comments {
    room: usize,
    more: usize,
}

impl Comments {
    /// Leaves the remarks that there is room for.
    fn limit(&mut self, remarks: &mut Vec<Remark>) {
        self.more += remark::weightiest(remarks, self.room);
        self.room -= remarks.len();
    }
}

/// One message goes to one source.
fn tell_shared_topics(source: &mut Finished, shapes: &mut Vec<String>) {
    let shape = |pattern: &String| crate::decode::pattern::Pattern::parse(pattern).ok().map(|pattern| pattern.filter());
    let own: Vec<String> = source.patterns.iter().filter_map(shape).collect();
    let place = source.draft.place.clone();
    if let Some(twice) = own.iter().find(|filter| shapes.contains(filter)) {
        let what = format!(
            "a message goes to one source, and another one above takes {twice:?} as well; put both together, or part their topics"
        );
        source.draft.say(Kind::NoCounterpart, &place, "topic", what);
    } else if let Some(over) =
        own.iter().find_map(|own| shapes.iter().find(|other| crate::decode::topics::overlap(own, other)))
    {
        let is_own = source.draft.cells.len() > 1;
        if !is_own {
            let what = format!(
                "of topics that {over:?} of a source above matches as well, the more specific pattern takes a message; in Telegraf each input does"
            );
            source.draft.say(Kind::Note, &place, "topic", what);
        }
    }
    shapes.extend(own);
}

/// A topic with braces would be taken for one with placeholders.
fn braces(draft: &Draft) -> Option<String> {
    let name = draft.levels().find_map(|level| match &level.takes {
        topics::Takes::Name(name) if name.contains(['{', '}']) => Some(name),
        _ => None,
    })?;
    Some(format!("topic: the level {name:?} has braces, which are placeholders here"))
}

/// Why forebay would refuse a source.
fn fault(section: &str) -> Option<String> {
    let settings: Settings = match toml::from_str(section) {
        Ok(settings) => settings,
        Err(error) => return Some(error.message().to_owned()),
    };
    let (name, source) = settings.source.iter().next()?;
    let errors = Decoder::check(name, source).err()?;
    let told = errors.iter().map(|error| format!("{}: {}", error.key, error.problem));
    Some(told.collect::<Vec<_>>().join("; "))
}

/// A name for a source.
fn name_of(draft: &Draft, used: &[String]) -> String {
    let of_table = draft.measurement().filter(|name| *name != "mqtt_consumer");
    let first = draft.levels().find_map(|level| match &level.takes {
        topics::Takes::Name(name) if !name.is_empty() => Some(name.as_str()),
        _ => None,
    });
    let label = if draft.label.is_empty() { of_table.or(first).unwrap_or("telegraf") } else { &draft.label };
    let well_formed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let label: String = label.chars().take(MAX_LABEL_BYTES).map(well_formed).collect();
    let label = if label.is_empty() { "telegraf".to_owned() } else { label };
    if !used.contains(&label) {
        return label;
    }
    // One of so many is free.
    let mut numbered = (2..used.len() + 3).map(|number| format!("{label}_{number}"));
    numbered.find(|name| !used.contains(name)).unwrap_or(label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{settings::Settings, telegraf::import};

    fn options() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec![
            "topics",
            "topic_tag",
            "name_override",
            "name_prefix",
            "data_format",
            "tag_keys",
            "json_string_fields",
            "json_name_key",
            "json_query",
            "json_time_key",
            "json_time_format",
            "json_timezone",
            "value_field_name",
            "data_type",
            "csv_column_names",
            "csv_tag_columns",
            "csv_delimiter",
            "fieldinclude",
            "fieldexclude",
            "taginclude",
            "tagexclude",
            "namepass",
        ]);
        let word = prop_oneof![
            "[a-c+#/{}_.*$\" \\\\]{0,8}",
            prop::sample::select(vec!["json", "value", "csv", "influx", "a/+/b", "a/#", "unix", "timestamp"])
                .prop_map(str::to_owned),
        ];
        let option = (key, prop::collection::vec(word, 1..3)).prop_map(|(key, words)| {
            let value = match words.as_slice() {
                [one] => toml::Value::from(one.clone()),
                several => toml::Value::from(several.to_vec()),
            };
            (key, value.to_string())
        });
        prop::collection::btree_map("[a-z]{1,2}", option, 0..8).prop_map(|options| {
            let mut seen = Vec::new();
            let mut text = String::new();
            for (key, value) in options.into_values() {
                if !seen.contains(&key) {
                    text.extend([key, " = ", &value, "\n"]);
                    seen.push(key);
                }
            }
            text
        })
    }

    proptest! {
        #[test]
        fn whatever_the_options_say_what_is_printed_is_sound(options in options(), parsing in "[a-c+#/_]{0,8}", tags in "[a-c_/#]{0,8}") {
            let text = format!(
                "[[inputs.mqtt_consumer]]\ntls_ca = \"x\"\n{options}[[inputs.mqtt_consumer.topic_parsing]]\ntopic = \"{parsing}\"\ntags = \"{tags}\"\n"
            );
            if let Ok(imported) = import(&[("f".into(), text)], &|_| None) {
                let settings: Settings = toml::from_str(&imported.sources).expect(&imported.sources);
                prop_assert_eq!(settings.source.len(), imported.count);
            }
        }
    }
}
