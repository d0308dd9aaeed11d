//! What Telegraf lets through: metrics by name and tag, fields and tags by name; and the options
//! that change a metric's name and tags. Pure.

use super::{
    draft::{Draft, Format, TagAt},
    glob,
    remark::{Kind, Place},
    section::Section,
};

/// Patterns of values, by the tag that they are of.
type ByTag = Vec<(String, Vec<String>)>;

/// The filters of a plugin.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    name_pass: Option<(Place, Vec<String>)>,
    name_drop: Option<(Place, Vec<String>)>,
    tag_pass: Option<(Place, ByTag)>,
    tag_drop: Option<(Place, ByTag)>,
    metric_pass: Option<Place>,
    fields: Vec<(Place, Vec<String>, bool)>,
    tags: Vec<(Place, Vec<String>, bool)>,
}

/// Whether a plugin has to do with the rows of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passes {
    /// With all of them.
    All,
    /// With none, by this option.
    None(Place),
    /// That depends on each message.
    Unknown(Place),
}

impl Filters {
    /// Takes them out of a section.
    pub fn of(section: &mut Section) -> Self {
        let mut filters = Self {
            name_pass: section.texts_at("namepass"),
            name_drop: section.texts_at("namedrop"),
            tag_pass: by_tag(section, "tagpass"),
            tag_drop: by_tag(section, "tagdrop"),
            metric_pass: section.text_at("metricpass").map(|(place, _)| place),
            ..Self::default()
        };
        section.without(&[
            "namepass_separator",
            "namedrop_separator",
            "always_include_local_tags",
            "always_include_global_tags",
        ]);
        for (key, keeps) in [
            ("fieldinclude", true),
            ("fieldpass", true),
            ("pass", true),
            ("fieldexclude", false),
            ("fielddrop", false),
            ("drop", false),
        ] {
            filters.fields.extend(section.texts_at(key).map(|(place, names)| (place, names, keeps)));
        }
        for (key, keeps) in [("taginclude", true), ("tagexclude", false)] {
            filters.tags.extend(section.texts_at(key).map(|(place, names)| (place, names, keeps)));
        }
        filters
    }

    /// Whether a tag is left.
    pub fn keeps_tag(&self, name: &str) -> bool {
        self.tags.iter().all(|(_, patterns, keeps)| patterns.is_empty() || glob::any(patterns, name) == *keeps)
    }

    /// Whether the rows of a source pass.
    pub fn passes(&self, draft: &Draft) -> Passes {
        let mut unknown = self.metric_pass.clone();
        for (of_name, keeps) in [(&self.name_pass, true), (&self.name_drop, false)] {
            let Some((place, patterns)) = of_name.as_ref().filter(|(_, patterns)| !patterns.is_empty()) else {
                continue;
            };
            match draft.measurement() {
                Some(name) if glob::any(patterns, name) != keeps => return Passes::None(place.clone()),
                Some(_) => {}
                None if patterns.iter().any(|pattern| pattern == "*") => {
                    if !keeps {
                        return Passes::None(place.clone());
                    }
                }
                None => unknown = Some(place.clone()),
            }
        }
        for (of_tag, keeps) in [(&self.tag_pass, true), (&self.tag_drop, false)] {
            let Some((place, tags)) = of_tag else { continue };
            match matching(draft, tags) {
                Some(matches) if matches != keeps => return Passes::None(place.clone()),
                Some(_) => {}
                None => unknown = Some(place.clone()),
            }
        }
        unknown.map_or(Passes::All, Passes::Unknown)
    }

    /// Leaves out fields and tags.
    pub fn modify(&self, draft: &mut Draft) {
        for (place, patterns, keeps) in self.fields.iter().filter(|(_, patterns, _)| !patterns.is_empty()) {
            if *keeps {
                draft.keep_fields(patterns, place);
            } else {
                draft.drop_fields(patterns, place);
            }
        }
        for (place, patterns, keeps) in self.tags.iter().filter(|(_, patterns, _)| !patterns.is_empty()) {
            for name in draft.tag_names() {
                if glob::any(patterns, &name) != *keeps {
                    draft.drop_tag(&name);
                }
            }
            if draft.format == Format::Line {
                of_lines(draft, place, patterns, *keeps);
            }
        }
    }
}

/// Tags that lines bring, and no option names.
fn of_lines(draft: &mut Draft, place: &Place, patterns: &[String], keeps: bool) {
    if keeps {
        let what = "lines bring tags of their own, and forebay keeps them all; `ignore` leaves out some by their names";
        draft.say(Kind::NoCounterpart, place, "ignore", what);
        return;
    }
    for pattern in patterns {
        glob::translated(pattern).0.into_iter().for_each(|pattern| draft.leave_out(pattern));
    }
}

/// Whether any tag has one of the values; none where that depends on the message.
fn matching(draft: &Draft, tags: &[(String, Vec<String>)]) -> Option<bool> {
    let mut is_known = true;
    for (name, patterns) in tags {
        match draft.tag(name) {
            TagAt::Constant(value) if glob::any(patterns, &value) => return Some(true),
            TagAt::Constant(_) | TagAt::Unknown => {}
            TagAt::Level | TagAt::Member(_) | TagAt::Topic => is_known = false,
        }
    }
    is_known.then_some(false)
}

fn by_tag(section: &mut Section, key: &str) -> Option<(Place, ByTag)> {
    let place = section.place_of(key);
    let mut table = section.table(key)?;
    let tags = table.keys().into_iter().map(|name| (name.clone(), table.texts(&name))).collect();
    Some((place, tags))
}

/// `name_override`, `name_prefix`, `name_suffix` and `tags`.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    name: Option<String>,
    prefix: String,
    suffix: String,
    tags: Vec<(String, String)>,
}

impl Naming {
    /// Takes them out of a section.
    pub fn of(section: &mut Section) -> Self {
        Self {
            name: section.text("name_override").filter(|name| !name.is_empty()),
            prefix: section.text("name_prefix").unwrap_or_default(),
            suffix: section.text("name_suffix").unwrap_or_default(),
            tags: section.pairs("tags"),
        }
    }

    /// Changes name and tags of a source.
    pub fn apply(&self, draft: &mut Draft) {
        if let Some(name) = &self.name {
            draft.override_measurement(name);
        }
        let [prefix, suffix] = [&self.prefix, &self.suffix].map(|text| text.replace(['{', '}'], "_"));
        draft.table = format!("{prefix}{}{suffix}", draft.table);
        for (name, value) in &self.tags {
            if matches!(draft.tag(name), TagAt::Unknown)
                || draft.format == Format::Line && !draft.tags.contains_key(name)
            {
                draft.tags.insert(name.clone(), value.clone());
            }
        }
    }
}
